import { execFile } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { type CheckedNode, checkNode } from '../../cli/commands/check.run.ts';
import { main } from '../../cli/main.ts';
import { readObjects } from '../../collector/kubernetes/objects.ts';
import { nodePortFactKey } from '../../shared/model/fact.ts';
import type { Finding } from '../../shared/model/finding.ts';
import { captureFiles, fixtures, numberedCaptures, trafficOf } from '../support/captures.ts';
import { golden } from '../support/golden.ts';

const objectNames = ['services.json', 'endpointslices.json', 'nodes.json', 'pods.json'];

function checkedCapture(name: string): CheckedNode {
  const files = captureFiles(name);
  const { objects } = readObjects(objectNames.map((file) => ({ name: file, text: (files.get(file) as Buffer).toString('utf8') })));
  const checked = checkNode({ files, objects, now: 0 });
  if (checked === undefined) throw new Error(`${name} does not say which node it is of`);
  return checked;
}

function nodePortKeyOf({ protocol, family, port }: Finding): string | undefined {
  return protocol === '' || family === 0 ? undefined : nodePortFactKey({ protocol, family, port });
}

const line = ({ severity, cause, port, protocol, family, symptom, confidence, service }: Finding): string =>
  `${severity.padEnd(7)} ${cause} ${port}/${protocol} IPv${family} ${symptom} ${confidence} ${service}`;

t.test('every capture of the lab: the findings, and what real connections met', (t) => {
  const found = numberedCaptures.map((name) => {
    const checked = checkedCapture(name);
    for (const { label, port, outcome } of connections(name, checked)) {
      const findings = checked.findings.filter((finding) => nodePortKeyOf(finding) === port && finding.cause !== 'D09' && finding.cause !== 'D20');
      if (outcome === 'ok') t.same(findings.filter(({ severity }) => severity === 'error').map(line), [], `${name} ${label}: answered, so no error`);
      else t.equal(findings[0]?.symptom, outcome, `${name} ${label}: ${outcome}, and a finding says so`);
    }
    return [
      name,
      ...checked.findings.map((finding) => `  ${line(finding)}`),
      ...checked.findings.flatMap(({ remedy }) => remedy.map((command) => `    ${command}`)),
    ].join('\n');
  });
  golden(t, join(import.meta.dirname, 'check.golden.txt'), `${found.join('\n\n')}\n`);
  t.end();
});

// Connections from outside to NodePorts on the node's own address; the captures hold others (secondary addresses, load balancers, ports of no Service).
function connections(name: string, { expectations }: CheckedNode) {
  return trafficOf(name)
    .filter(({ from }) => from.startsWith('ext'))
    .flatMap(({ label, proto, to, outcome }) => {
      const found = /^(?:172\.31\.0\.11|\[fd00:31:0:1::11\]):(\d+)$/.exec(to);
      const port = nodePortFactKey({ protocol: proto, family: to.startsWith('[') ? 6 : 4, port: Number(found?.[1]) });
      return expectations.some(({ key }) => key === port) ? [{ label, port, outcome }] : [];
    });
}

t.test('A14 is said where the health check of the load balancer did not get through, and only there', (t) => {
  for (const name of numberedCaptures) {
    const recorded = trafficOf(name).filter(({ label }) => label === 'healthCheckNodePort@node1');
    for (const { outcome } of recorded) {
      const found = checkedCapture(name).findings.filter(({ cause }) => cause === 'A14');
      if (outcome === 'ok') t.same(found, [], `${name}: it was answered`);
      else if (outcome !== 'refused') t.match(found, [{ symptom: outcome, service: 'shop/public' }], `${name}: ${outcome}`);
    }
  }
  t.end();
});

const sound = [
  '01-healthy-iptables-nft',
  '02-healthy-nftables',
  '03-healthy-iptables-legacy',
  '14-input-drop-is-harmless',
  '16-k3s-like-healthy',
  '19-old-release-healthy',
  '20-old-release-1.23-sockets',
];
for (const name of sound) {
  t.test(`${name} has no finding but that its source ranges guard the load balancer alone`, (t) => {
    t.same(checkedCapture(name).findings.map(line), ['info    A13 30087/tcp IPv4 ok certain shop/public:http']);
    t.end();
  });
}

interface Run {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

async function run(...words: readonly string[]): Promise<Run> {
  let [out, err] = ['', ''];
  const sink = (add: (text: string) => void) =>
    ({
      write: (text: string) => {
        add(text);
        return true;
      },
    }) as unknown as NodeJS.WritableStream;
  const io = {
    stdout: sink((text) => {
      out += text;
    }),
    stderr: sink((text) => {
      err += text;
    }),
    env: {},
    signal: new AbortController().signal,
    colour: false,
  };
  return { code: await main(['check', ...words], io), out, err };
}

t.test('forms of output and exit codes', async (t) => {
  const faulty = ['--capture', join(fixtures, '09-forward-drop-target-port')];
  const json = await run(...faulty, '-o', 'json');
  t.equal(json.code, 1);
  t.match(JSON.parse(json.out), {
    findings: [
      {
        cause: 'C08',
        node: 'node1',
        service: 'shop/web:http',
        port: 30080,
        protocol: 'tcp',
        family: 4,
        severity: 'error',
        evidence: [{ witness: 'rules' }],
        remedy: ['iptables-legacy -D FORWARD -p tcp -m tcp --dport 8080 -j DROP'],
      },
    ],
  });
  t.match(await run(...faulty, '-o', 'yaml'), { code: 1, out: /^findings:\n {2}- id: node1\/nodeport\/tcp\/4\/30080\/C08\n/ });
  t.match(await run(...faulty), { code: 1, out: /^node1: 8 NodePorts compared, 4 findings\n\nerror {4}C08 {2}shop\/web/ });
  t.match(await run(...faulty, '-o', 'wide'), { out: /\n {4}- Decided by rule 1 of filter FORWARD/ });
  t.match(
    await run('--capture', join(fixtures, '13-host-process-on-nodeport')),
    { code: 0, out: /nothing is wrong\n\ninfo {5}D09/ },
    'what is only for information is no finding',
  );
});

t.test('objects from a directory of their own, in one file', async (t) => {
  const cluster = t.testdir();
  const items = objectNames.flatMap(
    (name) => (JSON.parse((captureFiles('04-selector-mismatch-iptables').get(name) as Buffer).toString('utf8')) as { items: unknown[] }).items,
  );
  writeFileSync(join(cluster, 'all.json'), JSON.stringify({ kind: 'List', apiVersion: 'v1', items }));
  t.match(await run('--capture', join(fixtures, '04-selector-mismatch-iptables'), '--cluster', cluster), { code: 1, out: /error {4}A02 {2}shop\/reports/ });
});

t.test('input that cannot be used: exit code 2 and what to do', async (t) => {
  const empty = t.testdir({ capture: { 'iptables-save.txt': '*filter\nCOMMIT\n' }, nothing: {} });
  t.match(await run(), { code: 2, err: /--capture is missing/ });
  t.match(await run('--capture', join(empty, 'absent')), { code: 2, err: /cannot read .*absent/ });
  t.match(await run('--capture', join(empty, 'nothing')), { code: 2, err: /holds no file of a capture/ });
  t.match(await run('--capture', join(empty, 'capture')), { code: 2, err: /holds no cluster objects: add --cluster/ });
  mkdirSync(join(empty, 'cluster'));
  writeFileSync(join(empty, 'cluster', 'node.yaml'), 'kind: Node\nmetadata: { name: node9 }\n');
  t.match(await run('--capture', join(empty, 'capture'), '--cluster', join(empty, 'cluster')), { code: 2, err: /add --node NAME/ });
  t.match(await run('--capture', join(empty, 'capture'), '--cluster', join(empty, 'cluster'), '--node', 'node9'), { code: 0, out: /^node9: 0 NodePorts/ });
});

t.test('the command as a process ends by itself', (t) => {
  execFile(
    process.execPath,
    [join(import.meta.dirname, '../../cli/main.ts'), 'check', '--capture', join(fixtures, '12-nft-forward-reject'), '-o', 'json'],
    (error, stdout) => {
      t.equal(error?.code, 1);
      t.equal((JSON.parse(stdout) as { findings: unknown[] }).findings.length, 9);
      t.end();
    },
  );
});
