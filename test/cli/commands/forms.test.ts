// Every form of every list and answer of the collector, as a golden text; exit codes, contexts, and lists that go on.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { screenLines } from '../../../cli/commands/top.ts';
import { changeOf, nodePortFact, TestAgent } from '../../collector/ingest/client.ts';
import { endpoints, getJson, startCollector, until } from '../../collector/ingest/cluster.ts';
import { run, runUntil } from '../../support/command-line.ts';
import { golden } from '../../support/golden.ts';
import { freePort } from '../../support/programs.ts';

const healthy = [nodePortFact(30080, 'forward', endpoints)];
const faulty = [nodePortFact(30080, 'drop', endpoints)];
const rule = '-A FORWARD -p tcp -m tcp --dport 8080 -j DROP';

const collector = await startCollector(t.testdir());
const env = { PORTREEVE_SERVER: collector.address };
const agent = await TestAgent.start(collector.address);
const began = Date.now() - 10_000;
agent.sendChanges([
  changeOf(1, { at: began, before: '-P FORWARD ACCEPT', after: `-P FORWARD ACCEPT\n${rule}`, actor: { how: 'nft-generation', comm: 'iptables', pid: 4711 } }),
]);
agent.sendFacts(faulty);
await until(
  () => getJson(collector.address, 'findings'),
  ({ items }) => items.length > 0,
);
t.teardown(async () => {
  await agent.stop();
  await collector.close();
});

/** What differs from run to run. */
const steady = (text: string): string =>
  text
    .replaceAll(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z/g, 'TIME')
    .replaceAll(/\d\d:\d\d:\d\d(\s+UTC)/g, 'CLOCK$1')
    .replaceAll(/\b\d{13}(\.\d+)?\b/g, '0')
    .replaceAll(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}/g, 'UUID')
    .replaceAll(/("?(viewAgeMs|objectsAgeMs|clockOffsetMs|score)"?: )-?[\d.]+/g, '$10')
    .replaceAll(/\b\d+(\.\d+)?( s|s)\b/g, 'N$2')
    .replaceAll(/ +$/gm, '')
    .replaceAll(/(?<=\S) {2,}/g, '  ');

t.test('forms', async (t) => {
  const lists = ['nodes', 'nodeports', 'findings', 'changes', 'services', 'register', 'incidents'];
  await run(['incident', 'shop/web', '--text', 'the shop is down'], env);
  const lines = [
    ...lists.flatMap((list) => ['text', 'wide', 'name', 'yaml', 'json'].map((form) => `get ${list} -o ${form}`)),
    ...['text', 'wide', 'yaml', 'json'].flatMap((form) => [`explain node1 30080 -o ${form}`, `timeline node1 -o ${form}`, `incident shop/web -o ${form}`]),
    'explain node2 30080',
    'explain node1 30999',
    'get findings -n other',
    'get nodeports -n shop',
    'get findings --service shop/web --node node1 --cause C08 -o name',
    'get changes --text DROP -o name',
    'get changes --since 1s -o name',
    'top --once',
    'top --once -n other',
  ];
  const printed: string[] = [];
  for (const line of lines) {
    const { code, stdout, stderr } = await run(line.split(' '), env);
    printed.push(`$ portreeve ${line}`, steady(stdout + stderr).trimEnd(), `exit code ${code}`, '');
  }
  golden(t, join(import.meta.dirname, 'forms.golden.txt'), printed.join('\n'));
});

t.test('mistakes and refusals have their exit codes', async (t) => {
  t.match(await run(['get', 'pods'], env), { code: 2, stderr: /one of nodes, nodeports/ });
  t.match(await run(['get', 'nodes', '--cause', 'A01'], env), { code: 2, stderr: /--cause does not apply to get nodes/ });
  t.match(await run(['get', 'nodes', '--at', 'then'], env), { code: 2, stderr: /--at then: a time like/ });
  t.match(await run(['get', 'nodes', '--timeout', '5'], env), { code: 2, stderr: /500ms, 30s/ });
  t.match(await run(['get', 'nodes'], { PORTREEVE_SERVER: 'http://127.0.0.1:9' }), { code: 3, stderr: /no collector answers/ });
  t.match(await run(['get', 'nodes', '--watch', '--at', '1m'], env), { code: 2, stderr: /give one of them/ });
  t.match(await run(['explain', 'node1', '30080', '--at', '2020-01-01T00:00:00Z'], env), { code: 2, stderr: /nothing is on record/ });
  t.match(await run(['explain', 'node1', '30080', '--at', '1s', '-o', 'svg'], env), { code: 2, stderr: /leave out --at/ });
  t.match(await run(['incident'], env), { code: 2, stderr: /what was it that failed/ });
  t.match(await run(['incident', 'show', 'none'], env), { code: 2, stderr: /no incident/ });
  t.match(await run(['trace', '--node', 'node1', '--packet', 'src'], env), { code: 2, stderr: /fields are K=V/ });
  t.match(await run(['trace', '--node', 'node2', '--packet', 'dport=1'], env), { code: 2, stderr: /agent of node2 is not connected/ });
});

t.test('a time-out is one', async (t) => {
  const { createServer } = await import('node:net');
  const silent = createServer(() => undefined).listen(0, '127.0.0.1');
  await new Promise((resolve) => silent.once('listening', resolve));
  const { port } = silent.address() as { readonly port: number };
  t.match(await run(['get', 'nodes', '--timeout', '50ms'], { PORTREEVE_SERVER: `http://127.0.0.1:${port}` }), { code: 3, stderr: /no answer within 0.05 s/ });
  silent.close();
});

t.test('a packet from anywhere is walked by the live agent', async (t) => {
  const answer = run(['trace', '--node', 'node1', '--packet', 'src=203.0.113.9,dport=30080'], env);
  const { id, packet } = await agent.until('trace');
  t.strictSame(packet, { src: '203.0.113.9', dport: '30080' });
  const decidedBy = { by: 'rule', family: 'ip', table: 'filter', chain: 'FORWARD', rule: 1, text: rule, backend: 'iptables-nft' };
  agent.send({ type: 'traced', id, result: { verdict: 'drop', outcomes: [{ verdict: 'drop', dnat: endpoints[0], masquerade: false, weight: 1, decidedBy }] } });
  t.match(await answer, { code: 0, stdout: /^node1, src=203\.0\.113\.9,dport=30080: drop\n {2}everyone: .*by .*FORWARD/ });
});

t.test('lists that go on print what is new or other', async (t) => {
  const listing = runUntil(['get', 'findings', '--watch', '-o', 'name'], env, (text) => text.split('\n').length > 2);
  const watching = runUntil(['watch', '--events', 'finding-closed,finding-opened'], env, (text) => /finding-opened/.test(text));
  await new Promise((resolve) => setTimeout(resolve, 300));
  agent.sendFacts(healthy, { seq: 2, full: false });
  await until(
    () => getJson(collector.address, 'findings'),
    ({ items }) => items.length === 0,
  );
  await new Promise((resolve) => setTimeout(resolve, 400));
  agent.sendFacts(faulty, { seq: 3, full: false });
  t.match(await watching, { code: 0, stdout: /finding-closed .*\n[\s\S]*finding-opened/ });
  const { code, stdout } = await listing;
  t.equal(code, 0);
  t.match(stdout, /^(node1\S+C08)\n\1\n$/, 'what went and comes back is new');
});

t.test('a collector that comes back is listened to again', async (t) => {
  const directory = t.testdir();
  const listen = `127.0.0.1:${await freePort()}`;
  const first = await startCollector(directory, { listen });
  const watching = runUntil(['watch', '--events', 'node,reset'], { PORTREEVE_SERVER: first.address }, (text) =>
    /node1 {2}agent connected[\s\S]*node1 {2}agent connected/.test(text),
  );
  await new Promise((resolve) => setTimeout(resolve, 200));
  const one = await TestAgent.start(first.address);
  await first.close();
  await one.closed;
  const second = await startCollector(directory, { listen });
  t.teardown(() => second.close());
  const again = setInterval(
    () =>
      void TestAgent.start(second.address).then(
        (agent) => agent.stop(),
        () => undefined,
      ),
    500,
  );
  const { code, stdout } = await watching;
  clearInterval(again);
  t.equal(code, 0);
  t.match(stdout, /agent connected[\s\S]*reset[\s\S]*agent connected/, 'of another run: what was missed is not known');
  t.match(await run(['watch', '--timeout', '1s'], { PORTREEVE_SERVER: 'http://127.0.0.1:9' }), { code: 3 }, 'nobody at first is an end');
});

t.test('settings come from the flag, then the environment, then the context', async (t) => {
  const directory = t.testdir();
  const file = join(directory, 'config.yaml');
  writeFileSync(
    file,
    `current-context: lab\ncontexts:\n  lab: { server: "${collector.address}", namespace: shop, timeout: 5s }\n  other: { server: "http://127.0.0.1:9", namespace: other }\n`,
  );
  const from = { PORTREEVE_CONFIG: file };
  t.match(await run(['get', 'nodeports', '-o', 'name'], from), { code: 1, stdout: '30080/tcp\n' });
  t.match(await run(['get', 'nodeports', '--context', 'other'], from), { code: 3 });
  t.match(
    await run(['get', 'nodeports'], { ...from, PORTREEVE_CONTEXT: 'other', ...env }),
    { code: 0, stdout: 'no nodeports\n' },
    'the namespace of the context',
  );
  t.match(await run(['get', 'nodeports', '-A', '-o', 'name'], { ...from, PORTREEVE_CONTEXT: 'other', ...env }), { stdout: '30080/tcp\n' });
  t.match(await run(['get', 'nodes', '--context', 'none'], from), { code: 2, stderr: /known are lab, other/ });
  const printed = await run(['config', 'print', '--timeout', '1s'], { ...from, PORTREEVE_NAMESPACE: 'web' });
  t.equal(
    printed.stdout.replaceAll(collector.address, 'SERVER').replaceAll(file, 'FILE').replaceAll(/ {2,}/g, '  '),
    [
      'SETTING  VALUE  FROM',
      'context  lab  file FILE, current-context',
      'server  SERVER  file FILE, context lab',
      'token-file  -  not set',
      'ca-file  -  not set',
      'namespace  web  variable PORTREEVE_NAMESPACE',
      'timeout  1s  flag --timeout',
      '',
    ].join('\n'),
  );
  t.match(await run(['config', 'contexts'], from), { stdout: /\* +lab/ });
  t.match(await run(['config', 'path'], { XDG_CONFIG_HOME: '/x' }), { stdout: '/x/portreeve/config.yaml\n' });
  for (const [text, reason] of [
    ['contexts: [', /config\.yaml/],
    ['context: x', /context is not known/],
    ['contexts: { a: { sever: x } }', /sever is no setting/],
  ] as const) {
    writeFileSync(file, text);
    t.match(await run(['get', 'nodes'], from), { code: 2, stderr: reason });
  }
  t.match(await run(['get', 'nodes'], { PORTREEVE_CONFIG: join(directory, 'none') }), { code: 2, stderr: /is not there/ });
});

t.test('names are completed from the collector', async (t) => {
  const names = async (...words: string[]) => (await run(['__complete', '--', ...words], env)).stdout.trim().split('\n');
  t.strictSame(await names('explain', ''), ['node1', 'node2']);
  t.strictSame(await names('explain', 'node1', '3'), ['30080']);
  t.strictSame(await names('incident', 's'), ['shop/web']);
  t.strictSame(await names('get', 'findings', '-n', ''), ['shop']);
  t.strictSame(await names('get', 'f'), ['findings']);
  t.strictSame(await names('get', 'findings', '--cause', 'A01'), ['A01']);
  t.strictSame(await names('check', '-o', 's'), ['sarif']);
  t.strictSame(await names('exp'), ['explain']);
  t.ok((await names('explain', '--')).includes('--at'));
  t.equal(
    (await run(['__complete', '--', 'explain', ''], { PORTREEVE_SERVER: 'http://127.0.0.1:9' })).code,
    0,
    'without a collector there are no names, and no error',
  );
  t.match(await run(['__complete', '--cobra', '--', 'explain', 'node'], env), { stdout: 'node1\nnode2\n:4\n' });
});

t.test('the screen of top holds to its size', async (t) => {
  const { items: nodes } = await getJson(collector.address, 'nodes');
  const finding = {
    node: 'node1',
    port: 30080,
    protocol: 'tcp',
    service: 'shop/web',
    cause: 'C08',
    severity: 'error',
    since: 0,
    summary: 'x'.repeat(300),
    remedy: ['iptables -D FORWARD 1'],
  };
  const overview = {
    findings: Array.from({ length: 50 }, () => finding) as never,
    nodes,
    view: { objectsAgeMs: 1_000, stale: false, doubts: [] },
    now: 60_000,
  };
  const lines = screenLines(overview, { columns: 60, rows: 20, colour: false });
  t.ok(lines.length <= 20 && lines.every((line) => line.length <= 60));
  t.match(lines.at(-1), /50 findings in all/);
  t.match(screenLines({ ...overview, findings: [] }, { columns: 60, rows: 20, colour: true }).at(-1), 'all NodePorts answer as they should');
});
