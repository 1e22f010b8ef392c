// The API over HTTP against a running collector: a fault from its first report to its end, the answers' form, and their errors.
import { writeFile } from 'node:fs/promises';
import { get } from 'node:http';
import { join } from 'node:path';
import t from 'tap';
import { type Collector, runCollector } from '../../../collector/main.ts';
import type { Fact } from '../../../shared/model/fact.ts';
import { walkMermaid } from '../../../shared/netfilter/walk.mermaid.ts';
import { walkSvg } from '../../../shared/netfilter/walk.svg.ts';
import { graphed, serviceNode, traced } from '../../support/drawn.ts';
import { golden } from '../../support/golden.ts';
import { changeOf, nodePortFact, TestAgent } from '../ingest/client.ts';
import { endpoints, getJson, objectsOf, startCollector, until, writeObjects } from '../ingest/cluster.ts';

const healthy: readonly Fact[] = [nodePortFact(30080, 'forward', endpoints)];
const faulty: readonly Fact[] = [nodePortFact(30080, 'drop', endpoints)];
const openFindings = (collector: Collector) => getJson(collector.address, 'findings');

t.test('a fault opens a finding with its trigger, and ends with it', async (t) => {
  const collector = await startCollector(t.testdir());
  t.teardown(() => collector.close());
  const agent = await TestAgent.start(collector.address);
  agent.sendFacts(healthy);
  const well = await until(
    () => getJson(collector.address, 'nodeports/30080'),
    ({ items }) => items[0].nodes[0].state === 'ok',
  );
  t.match(
    well.items[0].nodes,
    [
      { node: 'node1', state: 'ok' },
      { node: 'node2', state: 'unknown' },
    ],
    'a node without an agent is not called healthy',
  );
  const rule = '-A FORWARD -p tcp -m tcp --dport 8080 -j DROP';
  agent.sendChanges([
    changeOf(1, {
      at: Date.now() - 1_000,
      before: '-P FORWARD ACCEPT',
      after: `-P FORWARD ACCEPT\n${rule}`,
      actor: { how: 'nft-generation', comm: 'iptables', pid: 4711 },
    }),
  ]);
  agent.sendFacts(faulty, { seq: 2, full: false });
  const { items } = await until(
    () => openFindings(collector),
    (answer) => answer.items.length > 0,
  );
  t.match(items, [{ node: 'node1', port: 30080, severity: 'error', cause: /^C\d\d$/, closedAt: null, trigger: { after: new RegExp(rule) } }]);
  t.match(await getJson(collector.address, 'explain?node=node1&port=30080'), {
    kind: 'Explanation',
    connected: true,
    explanation: { kind: 'faulty', protocol: 'tcp' },
    text: /--dport 8080 -j DROP/,
  });
  t.match((await getJson(collector.address, 'services')).items, [
    { namespace: 'shop', name: 'web', endpoints: { ready: 2, total: 2 }, findings: { error: 1 } },
  ]);
  t.match(
    await (await fetch(`${collector.address}/metrics`)).text(),
    /portreeve_findings\{cause="C\d\d",severity="error"\} 1\n[\s\S]*portreeve_changes_total 1\n/,
  );
  agent.sendFacts(healthy, { seq: 3, full: false });
  await until(
    () => openFindings(collector),
    (answer) => answer.items.length === 0,
  );
  const history = await until(
    () => getJson(collector.address, 'findings?state=all'),
    (answer) => answer.items[0]?.closedAt !== null,
  );
  t.match(history.items, [{ port: 30080, closedAt: Number }]);
  const timeline = await getJson(collector.address, 'timeline?node=node1');
  t.strictSame(timeline.items.map(({ event }: { event: string }) => event).sort(), ['change', 'finding-closed', 'finding-opened']);
  await agent.stop();
});

t.test('a finding outlives a restart of the collector, and is not opened twice', async (t) => {
  const directory = t.testdir();
  const first = await startCollector(directory);
  const agent = await TestAgent.start(first.address);
  agent.sendFacts(faulty);
  const opened = await until(
    () => openFindings(first),
    ({ items }) => items.length > 0,
  );
  await first.close();
  await agent.closed;
  const second = await startCollector(directory);
  t.teardown(() => second.close());
  t.match((await openFindings(second)).items, [{ id: opened.items[0].id }], 'still open, though nobody has reported yet');
  const again = await TestAgent.start(second.address);
  again.sendFacts(faulty);
  await until(
    () => getJson(second.address, 'nodes/node1'),
    ({ nodePorts }) => nodePorts.fault === 1,
  );
  t.equal((await getJson(second.address, 'findings?state=all')).items.length, 1);
  await again.stop();
});

t.test('a difference younger than the grace period is pending', async (t) => {
  const collector = await startCollector(t.testdir(), { graceMs: 60_000 });
  t.teardown(() => collector.close());
  const agent = await TestAgent.start(collector.address);
  agent.sendFacts(faulty);
  const { items } = await until(
    () => getJson(collector.address, 'nodeports'),
    (answer) => answer.items[0].nodes[0].state === 'pending',
  );
  t.equal(items[0].nodes[0].state, 'pending');
  t.strictSame((await openFindings(collector)).items, []);
  t.match(await getJson(collector.address, 'explain?node=node1&port=30080'), { explanation: { kind: 'faulty' } }, 'whoever asks is told at once');
  await agent.stop();
});

t.test('an agent that went away leaves what it said, with a word of caution', async (t) => {
  const collector = await startCollector(t.testdir());
  t.teardown(() => collector.close());
  t.match(await getJson(collector.address, 'explain?node=node1&port=30080'), { explanation: { kind: 'unknown' }, caution: /No agent on node1/ });
  const agent = await TestAgent.start(collector.address);
  agent.sendFacts(healthy);
  await agent.until('ack', (ack) => ack.state === 1);
  await agent.stop();
  const answer = await until(
    () => getJson(collector.address, 'explain?node=node1&port=30080'),
    ({ connected }) => connected === false,
  );
  t.match(answer, { explanation: { kind: 'unknown' }, caution: /not connected; this is what it said \d+ s ago/ });
});

t.test('an edited Service is a change, and asks the agents anew', async (t) => {
  const directory = t.testdir();
  const collector = await startCollector(directory);
  t.teardown(() => collector.close());
  const agent = await TestAgent.start(collector.address);
  await writeObjects(join(directory, 'cluster'), { 'services.json': objectsOf({ nodePort: 30999 })['services.json'] as object });
  await agent.until('want', ({ nodePorts }) => nodePorts[0]?.port === 30999);
  const { items } = await until(
    () => getJson(collector.address, 'changes?kind=service'),
    (answer) => answer.items.length > 0,
  );
  t.match(items, [{ node: '', subject: 'Service shop/web', actor: { how: 'file', comm: 'services.json' } }]);
  await writeFile(join(directory, 'cluster', 'services.json'), '{');
  const metrics = await until(
    async () => (await fetch(`${collector.address}/metrics`)).text(),
    (text) => text.includes('portreeve_object_issues 1'),
  );
  t.match(metrics, 'portreeve_object_issues 1\n');
  await agent.stop();
});

t.test('changes come page by page', async (t) => {
  const collector = await startCollector(t.testdir());
  t.teardown(() => collector.close());
  const agent = await TestAgent.start(collector.address);
  agent.sendChanges(Array.from({ length: 5 }, (_, index) => changeOf(index + 1)));
  await agent.until('ack', (ack) => ack.changes === 5);
  const first = await getJson(collector.address, 'changes?limit=3&node=node1');
  const second = await getJson(collector.address, `changes?limit=3&node=node1&cursor=${first.next}`);
  t.strictSame(
    [...first.items, ...second.items].map(({ seq }) => seq),
    [5, 4, 3, 2, 1],
  );
  t.equal(second.next, undefined);
  await agent.stop();
});

t.test('a packet is walked by the agent', async (t) => {
  const collector = await startCollector(t.testdir());
  t.teardown(() => collector.close());
  const trace = async (body: object) =>
    (await fetch(`${collector.address}/api/v1/trace`, { method: 'POST', body: JSON.stringify(body), headers: { 'content-type': 'application/json' } })).json();
  t.match(await trace({ node: 'node1', packet: {} }), { status: 503, detail: 'the agent of node1 is not connected' });
  const agent = await TestAgent.start(collector.address);
  const answer = trace({ node: 'node1', packet: { dport: '30080' } });
  const { id, packet } = await agent.until('trace');
  t.strictSame(packet, { dport: '30080' });
  agent.send({ type: 'traced', id, result: { steps: [1] } });
  const { view, ...answered } = (await answer) as { readonly view: object };
  t.strictSame(answered, { apiVersion: 'portreeve/v1', kind: 'Trace', node: 'node1', result: { steps: [1] } });
  t.match(view, { objectsAgeMs: Number, stale: false, doubts: [] }, 'every answer says how old the view of the cluster is');
  const refused = trace({ node: 'node1', packet: {} });
  const second = await agent.until('trace', (message) => message.id !== id);
  agent.send({ type: 'traced', id: second.id, error: 'dport is missing' });
  t.match(await refused, { status: 502, detail: 'dport is missing' });
  await agent.stop();
});

t.test('a walk is drawn', async (t) => {
  const collector = await startCollector(t.testdir());
  t.teardown(() => collector.close());
  const agent = await TestAgent.start(collector.address);
  agent.sendFacts(healthy);
  await agent.until('ack', (ack) => ack.state === 1);
  const drop = serviceNode({ endpoints: 2, filter: ['-A FORWARD -p tcp -m tcp --dport 8000:8001 -j DROP'] });
  const graph = graphed(traced(drop, 'src=198.51.100.7,dport=30080'));
  const answers = async (query: string, result: object) => {
    const known = agent.received.length;
    const answer = getJson(collector.address, query);
    const { id, packet } = await agent.until('trace', (message) => agent.received.indexOf(message) >= known);
    agent.send({ type: 'traced', id, result });
    return { ...(await answer), packet };
  };
  const explain = 'explain?node=node1&port=30080&drawing=';
  const svg = await answers(`${explain}svg`, { graph });
  t.match(svg, {
    kind: 'Explanation',
    explanation: { kind: 'healthy', address: '172.31.0.11' },
    packet: { vantage: 'external', dst: '172.31.0.11', dport: '30080', proto: 'tcp' },
  });
  t.equal(svg.drawing, walkSvg(graph));
  t.match(await answers(`${explain}mermaid`, { graph }), { drawing: walkMermaid(graph) });
  t.same((await answers(`${explain}graph`, { graph })).drawing, graph);
  t.match(await answers(`${explain}svg`, { verdict: 'drop' }), {
    explanation: { kind: 'healthy' },
    drawing: undefined,
    drawingProblem: /without a drawing that this collector understands/,
  });
  const [first] = graph.edges;
  t.match(await answers(`${explain}svg`, { graph: { ...graph, edges: [...graph.edges, { ...first, to: 'n99' }] } }), { drawingProblem: /without a drawing/ });
  t.match(await getJson(collector.address, `${explain}png`), { status: 400 });
  const body = JSON.stringify({ node: 'node1', packet: { dport: '30080' }, drawing: 'mermaid' });
  const known = agent.received.length;
  const posted = fetch(`${collector.address}/api/v1/trace`, { method: 'POST', body, headers: { 'content-type': 'application/json' } });
  const { id } = await agent.until('trace', (message) => agent.received.indexOf(message) >= known);
  agent.send({ type: 'traced', id, result: { graph } });
  t.match(await (await posted).json(), { kind: 'Trace', result: { graph: { more: 0 } }, drawing: walkMermaid(graph) });
  await agent.stop();
  t.match(
    await until(
      () => getJson(collector.address, `${explain}svg`),
      ({ connected }) => connected === false,
    ),
    { drawingProblem: 'the agent of node1 is not connected' },
  );
});

t.test('live events', async (t) => {
  const collector = await startCollector(t.testdir());
  t.teardown(() => collector.close());
  let text = '';
  const request = get(`${collector.address}/api/v1/live?events=node,change,finding-opened`, (response) =>
    response.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    }),
  );
  request.on('error', () => undefined);
  await until(
    async () => text,
    (seen) => seen.includes('retry'),
  );
  const agent = await TestAgent.start(collector.address);
  agent.sendChanges([changeOf(1)]);
  agent.sendFacts(faulty);
  await until(
    async () => text,
    (seen) => seen.includes('finding-opened'),
  );
  const events = [...text.matchAll(/^event: (\S+)\ndata: (.*)\n\n/gm)].map(([, event, data]) => [event, JSON.parse(data as string)]);
  t.match(events, [
    ['node', { node: 'node1', connected: true }],
    ['change', { seq: 1, subject: 'ip filter FORWARD' }],
    ['finding-opened', { finding: { port: 30080 } }],
  ]);
  request.destroy();
  await agent.stop();
});

t.test('lists and errors have their forms', async (t) => {
  const collector = await startCollector(t.testdir());
  t.teardown(() => collector.close());
  const cases = [
    'nodes',
    'nodeports',
    'nodeports/30080',
    'services',
    'findings',
    'changes',
    'timeline',
    'nodes/none',
    'nodeports/1',
    'nodeports/0',
    'nodeports/x',
    'none',
    'changes?limit=0',
    'changes?limit=1001',
    'changes?cursor=x',
    'findings?state=maybe',
    'explain',
    'explain?node=node1&port=30080&protocol=icmp',
    'explain?node=none&port=30080',
  ];
  const lines: string[] = [];
  for (const path of cases) {
    const response = await fetch(`${collector.address}/api/v1/${path}`);
    lines.push(
      `GET ${path}`,
      `${response.status} ${response.headers.get('content-type')}`,
      JSON.stringify(await response.json(), (key, value: unknown) => (key === 'objectsAgeMs' ? 0 : value)),
      '',
    );
  }
  golden(t, join(import.meta.dirname, 'answers.golden.txt'), lines.join('\n'));
});

t.test('health, the OpenAPI document, and names that are not ours', async (t) => {
  const collector = await startCollector(t.testdir());
  t.teardown(() => collector.close());
  const text = async (path: string) => (await fetch(`${collector.address}${path}`)).text();
  t.equal(await text('/healthz'), 'ok\n');
  t.equal(await text('/readyz'), 'ok\n');
  const document = JSON.parse(await text('/openapi.json'));
  t.match(document.paths['/api/v1/changes'].get.parameters.find(({ name }: { name: string }) => name === 'limit').schema, {
    type: 'integer',
    minimum: 1,
    maximum: 1000,
    default: 100,
  });
  const foreign = await new Promise<number | undefined>((resolve) =>
    get(`${collector.address}/api/v1/nodes`, { headers: { host: 'rebound.example' } }, (response) => resolve(response.statusCode)),
  );
  t.equal(foreign, 403, 'a name that was bound to a loopback address by somebody else');
});

t.test('what this version cannot do is refused in a sentence', async (t) => {
  const directory = t.testdir({ cluster: {} });
  const start = (options: object) =>
    runCollector({ listen: '127.0.0.1:0', data: join(directory, 'data'), cluster: join(directory, 'cluster'), logLevel: 'silent', ...options });
  await t.rejects(start({ listen: '0.0.0.0:0', noAuth: true }), { code: 'LISTEN_NEEDS_LOOPBACK' });
  await t.rejects(start({ listen: '7300' }), { code: 'USAGE', message: /HOST:PORT/ });
  await t.rejects(start({ databaseUrl: 'mysql://db' }), { code: 'STORE_FAILED', message: /postgres:\/\/USER/ });
  await t.rejects(start({ cluster: join(directory, 'none') }), { code: 'INPUT_UNREADABLE' });
  const stop = new AbortController();
  const collector = await runCollector(
    { listen: '[::1]:0', data: join(directory, 'data'), cluster: join(directory, 'cluster'), logLevel: 'silent', noAuth: true },
    stop.signal,
  );
  await t.rejects(start({ listen: new URL(collector.address).host, data: join(directory, 'other') }), { code: 'USAGE', message: /EADDRINUSE/ });
  const before = Date.now();
  stop.abort();
  await collector.closed;
  t.ok(Date.now() - before < 2_000, 'the signal ends it');
});
