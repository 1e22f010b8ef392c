// The collector, get and explain as processes: what they print, their exit codes, and that SIGTERM ends the collector.
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import t from 'tap';
import { archiveOf } from '../../../shared/archive.ts';
import { walkSvg } from '../../../shared/netfilter/walk.svg.ts';
import { captureCapability } from '../../../shared/wire/messages.ts';
import { graphed, serviceNode, traced } from '../../support/drawn.ts';
import { isInstalled } from '../../support/programs.ts';
import { nodePortFact, TestAgent } from '../ingest/client.ts';
import { endpoints, getJson, objectsOf, until, writeObjects } from '../ingest/cluster.ts';

const main = join(import.meta.dirname, '../../../cli/main.ts');

function start(...words: string[]): { readonly child: ChildProcess; readonly output: () => string; readonly ended: Promise<number | null> } {
  const child = spawn(process.execPath, [main, ...words], { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, PORTREEVE_SERVER: '', NO_COLOR: '1' } });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
  return { child, output: () => output, ended: new Promise((resolve) => child.once('close', (code) => resolve(code))) };
}

async function run(...words: string[]): Promise<{ readonly code: number | null; readonly output: string }> {
  const { ended, output } = start(...words);
  return { code: await ended, output: output() };
}

async function viaKubectl(...words: string[]): Promise<{ readonly code: number | null; readonly output: string }> {
  const path = `${join(import.meta.dirname, '../../../cli')}:${process.env['PATH']}`;
  const child = spawn('kubectl', ['portreeve', ...words], { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, PATH: path, NO_COLOR: '1' } });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
  return { code: await new Promise((resolve) => child.once('close', resolve)), output };
}

t.test('from a start to SIGTERM', async (t) => {
  const directory = t.testdir();
  await writeObjects(join(directory, 'cluster'), objectsOf());
  const collector = start(
    'collector',
    '--listen',
    '127.0.0.1:0',
    '--data',
    join(directory, 'data'),
    '--cluster',
    join(directory, 'cluster'),
    '--no-auth',
    '--grace',
    '0',
  );
  t.teardown(() => collector.child.kill('SIGKILL'));
  const printed = await until(
    async () => /collector listens on (\S+)/.exec(collector.output()),
    (found) => found !== null,
  );
  const address = printed?.[1] ?? '';
  const server = ['--server', address];

  t.match(await run('get', 'findings', ...server), { code: 0, output: 'no findings\n' });
  const agent = await TestAgent.start(address);
  agent.sendFacts([nodePortFact(30080, 'drop', endpoints)]);
  await until(
    () => getJson(address, 'findings'),
    ({ items }) => items.length > 0,
  );

  const [nodes, nodeports, wide, findings, services, yaml, explained, json] = await Promise.all([
    run('get', 'nodes', ...server),
    run('get', 'nodeports', ...server),
    run('get', 'nodeports', '-o', 'wide', ...server),
    run('get', 'findings', '--node', 'node1', ...server),
    run('get', 'services', ...server),
    run('get', 'nodeports', '-o', 'yaml', ...server),
    run('explain', 'node1', '30080', ...server),
    run('explain', 'node1', '30080/tcp', '-o', 'json', ...server),
  ]);
  t.match(nodes, { code: 1, output: /^NODE +AGENT +SINCE.*\nnode1 +connected.*\nnode2 +never/ });
  t.match(nodeports, { code: 1, output: /^NODEPORT .*\n30080\/tcp +shop\/web:http +fault +0\/2 +node1,node2 +C\d\d\n$/ });
  t.match(wide.output, /node1\/4:fault\(timeout\) node2\/4:unknown/);
  t.match(findings, { code: 1, output: /node1 +30080\/tcp +shop\/web:http +C\d\d +error/ });
  t.match(services, { code: 1, output: /shop\/web +NodePort +30080\/tcp +2\/2 +Cluster +1/ });
  t.match(yaml.output, /^apiVersion: portreeve\/v1\nkind: NodePortList\nview:\n(?: .*\n)+items:\n {2}- port: 30080\n/);
  t.match(explained, { code: 1, output: /shop\/web.*30080\/tcp.*node1[\s\S]*--dport 8080 -j DROP/ });
  t.match(JSON.parse(json.output), { kind: 'Explanation', explanation: { kind: 'faulty', node: 'node1', port: 30080 } });

  const graph = graphed(traced(serviceNode({ endpoints: 2, filter: ['FORWARD DROP'] }), 'src=198.51.100.7,dport=30080'));
  const drawing = run('explain', 'node1', '30080', '-o', 'svg', ...server);
  agent.send({ type: 'traced', id: (await agent.until('trace')).id, result: { graph } });
  t.match(await drawing, { code: 1, output: walkSvg(graph) });
  const problem = run('explain', 'node2', '30080', '-o', 'mermaid', ...server);
  t.match(await problem, { code: 2, output: /^portreeve: the walk cannot be drawn: the address of node2 that clients ask is not known\n$/ });

  const out = join(directory, 'captured');
  const captured = run('capture', '--from', 'node1', '--out', out, ...server);
  t.match(await captured, { code: 2, output: /this agent makes no captures: it is older than this collector/ });
  const able = await TestAgent.start(address, { node: 'node2', capabilities: [captureCapability] });
  const manifest = { node: 'node2', commands: { 'ss.txt': 'ss' }, sources: [{ name: 'ufw', outcome: 'failed', reason: 'closed\u001b[2J' }] };
  const files = { 'ss.txt': 'tcp LISTEN\n', 'capture.json': JSON.stringify(manifest) };
  const archive = gzipSync(archiveOf(new Map(Object.entries(files).map(([name, text]) => [name, Buffer.from(text)])), 0));
  const answered = run('capture', '--from', 'node2', '--out', out, ...server);
  const { id } = await able.until('capture');
  for (const [part, bytes] of [archive.subarray(0, 50), archive.subarray(50)].entries())
    able.send({ type: 'captured', id, part, last: part === 1, content: bytes.toString('base64') });
  t.match(await answered, { code: 0, output: /ufw could not be read: closed\S*\n.*captured: 2 files of node node2\n$/ });
  t.notOk((await answered).output.includes('\u001b'), 'what a node says cannot move the cursor');
  t.equal(readFileSync(join(out, 'ss.txt'), 'utf8'), 'tcp LISTEN\n');
  t.match((await getJson(address, 'audit')).items.slice(0, 2), [
    { action: 'capture', subject: 'node2', outcome: 'done' },
    { action: 'capture', subject: 'node1', outcome: 'refused' },
  ]);
  await able.stop();

  if (isInstalled('kubectl'))
    t.match(await viaKubectl('explain', 'node1', '30080', ...server), { code: 1, output: explained.output }, 'kubectl portreeve says the same');
  else t.comment('kubectl is not installed: its plugin is not tried');

  const before = Date.now();
  collector.child.kill('SIGTERM');
  await agent.closed;
  t.equal(await collector.ended, 0);
  t.ok(Date.now() - before < 2_000, `ended within ${Date.now() - before} ms`);
  t.match(await run('get', 'nodes', ...server), { code: 3, output: /no collector answers at .*ECONNREFUSED/ });
});

for (const { words, says } of [
  { words: ['get'], says: /one of nodes, nodeports, findings, changes, services, incidents, register, gaps, coverage, replicas is wanted/ },
  { words: ['get', 'pods'], says: /get pods: one of/ },
  { words: ['get', 'nodes', '--kind', 'rule'], says: /--kind does not apply to get nodes/ },
  { words: ['get', 'changes', '--limit', '0'], says: /--limit 0/ },
  { words: ['explain', 'node1'], says: /NODE and PORT/ },
  { words: ['explain', 'node1', '99999'], says: /NODE and PORT/ },
  { words: ['explain', 'node1', '80/icmp'], says: /NODE and PORT/ },
  { words: ['get', 'nodes', '--server', 'ftp://x'], says: /--server ftp:\/\/x/ },
  { words: ['collector'], says: /--data is missing/ },
  { words: ['collector', '--data', '/nonexistent/x', '--listen', '10.0.0.1:7300', '--no-auth'], says: /10\.0\.0\.1 .*loopback/ },
]) {
  t.test(`portreeve ${words.join(' ')} is a usage error`, async (t) => {
    t.match(await run(...words), { code: 2, output: says });
  });
}
