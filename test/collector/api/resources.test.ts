// Paging, tags, time travel, events after a pause, incidents, alerts and the register, over HTTP against a running collector.
import { get } from 'node:http';
import t from 'tap';
import type { Collector } from '../../../collector/main.ts';
import { changeOf, nodePortFact, TestAgent } from '../ingest/client.ts';
import { endpoints, getJson, startCollector, until } from '../ingest/cluster.ts';

const healthy = [nodePortFact(30080, 'forward', endpoints)];
const faulty = [nodePortFact(30080, 'drop', endpoints)];
const rule = '-A FORWARD -p tcp -m tcp --dport 8080 -j DROP';
const closing = (seq: number, at: number) =>
  changeOf(seq, { at, before: '-P FORWARD ACCEPT', after: `-P FORWARD ACCEPT\n${rule}`, actor: { how: 'nft-generation', comm: 'iptables', pid: 4711 } });

async function post(collector: Collector, path: string, body: unknown) {
  const response = await fetch(`${collector.address}/api/v1/${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers freely.
  return { status: response.status, body: (await response.json()) as any };
}

const codesOf = async (collector: Collector, query = '') =>
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers freely.
  Object.fromEntries((await getJson(collector.address, `matrix${query}`)).rows.map((row: any) => [row.node, row.codes]));

t.test('the past is answered as it was believed', async (t) => {
  const collector = await startCollector(t.testdir());
  t.teardown(() => collector.close());
  const agent = await TestAgent.start(collector.address);
  const pause = () => new Promise((resolve) => setTimeout(resolve, 30));
  agent.sendFacts(healthy);
  await until(
    () => codesOf(collector),
    ({ node1 }) => node1 === 'o',
  );
  await pause();
  const well = Date.now();
  await pause();
  agent.sendChanges([closing(1, Date.now())]);
  agent.sendFacts(faulty, { seq: 2, full: false });
  await until(
    () => codesOf(collector),
    ({ node1 }) => node1 === 't',
  );
  await pause();
  const broken = Date.now();
  await pause();
  agent.sendFacts(healthy, { seq: 3, full: false });
  await until(
    () => codesOf(collector),
    ({ node1 }) => node1 === 'o',
  );
  const then = (at: number) => `?at=${at}`;
  await until(
    () => codesOf(collector, then(broken)),
    ({ node1 }) => node1 === 't',
  );
  await until(
    () => getJson(collector.address, 'findings?state=closed'),
    ({ items }) => items.length === 1,
  );
  t.strictSame(await codesOf(collector, then(well)), { node1: 'o', node2: '?' });
  t.strictSame(await codesOf(collector, then(broken)), { node1: 't', node2: '?' });
  t.strictSame(await codesOf(collector), { node1: 'o', node2: '?' });
  t.match(await getJson(collector.address, `nodeports/30080${then(broken)}`), {
    at: broken,
    items: [
      {
        state: 'fault',
        service: 'shop/web:http',
        nodes: [
          { node: 'node1', symptom: 'timeout', causes: [/^C/] },
          { node: 'node2', state: 'unknown' },
        ],
      },
    ],
  });
  t.match(await getJson(collector.address, `nodes/node1${then(broken)}`), {
    name: 'node1',
    agent: 'connected',
    nodePorts: { fault: 1 },
    open: [{ cause: /^C/ }],
  });
  t.match(await getJson(collector.address, `nodes${then(well)}&faulty=true`), { items: [] });
  t.equal((await getJson(collector.address, `findings${then(well)}`)).items.length, 0);
  t.match(await getJson(collector.address, `findings${then(broken)}`), { items: [{ port: 30080, closedAt: Number }] });
  t.match(await getJson(collector.address, `explain${then(broken)}&node=node1&port=30080`), {
    explanation: { kind: 'faulty', cause: { cause: /^C/ }, fix: [/iptables/] },
    caution: /believed at/,
    before: [{ change: { after: new RegExp(rule) } }],
  });
  t.match(await getJson(collector.address, `explain${then(well)}&node=node1&port=30080`), { explanation: { kind: 'healthy', findings: [] } });
  t.match(await getJson(collector.address, `nodeports?at=${new Date(broken).toISOString()}`), { items: [{ state: 'fault' }] }, 'times may be written out');
  t.match(await getJson(collector.address, `nodes?at=${Date.now() + 3_600_000}`), { status: 400, detail: /yet to come/ });
  t.match(await getJson(collector.address, 'nodes?at=yesterday'), { status: 400, detail: /2026-01-31T14:03:22Z/ });
  t.equal((await getJson(collector.address, `changes?at=${well}`)).items.length, 0);
  await agent.stop();
});

t.test('what was believed outlives a restart', async (t) => {
  const directory = t.testdir();
  const first = await startCollector(directory);
  const agent = await TestAgent.start(first.address);
  agent.sendFacts(faulty);
  await until(
    () => codesOf(first),
    ({ node1 }) => node1 === 't',
  );
  await new Promise((resolve) => setTimeout(resolve, 20));
  const then = Date.now();
  await first.close();
  await agent.closed;
  const second = await startCollector(directory);
  t.teardown(() => second.close());
  t.match(await codesOf(second), { node1: 't' }, 'the finding is open, though nobody has reported yet');
  t.match(await codesOf(second, `?at=${then}`), { node1: 't' });
});

t.test('lists page by page, and filters', async (t) => {
  const collector = await startCollector(t.testdir());
  t.teardown(() => collector.close());
  const first = await getJson(collector.address, 'nodes?limit=1');
  const second = await getJson(collector.address, `nodes?limit=1&cursor=${first.next}`);
  t.match([first.items, second.items], [[{ name: 'node1' }], [{ name: 'node2' }]]);
  t.equal(second.next, undefined);
  t.match(await getJson(collector.address, 'nodes?cursor=x'), { status: 400, detail: /cursor/ });
  t.match(await getJson(collector.address, 'nodes?name=de2'), { items: [{ name: 'node2' }] });
  t.strictSame((await getJson(collector.address, 'nodes?agent=connected')).items, []);
  t.equal((await getJson(collector.address, 'nodeports?namespace=shop&node=node2')).items[0].nodes.length, 1);
  t.strictSame((await getJson(collector.address, 'nodeports?namespace=sho')).items, []);
  t.strictSame((await getJson(collector.address, 'services?namespace=other')).items, []);
});

t.test('an answer that says the same is not sent twice', async (t) => {
  const collector = await startCollector(t.testdir());
  t.teardown(() => collector.close());
  const ask = (headers: Record<string, string> = {}) => fetch(`${collector.address}/api/v1/nodeports`, { headers });
  const tag = (await ask()).headers.get('etag') ?? '';
  t.match(tag, /^W\/"[\w-]{22}"$/);
  await new Promise((resolve) => setTimeout(resolve, 5));
  const again = await ask({ 'if-none-match': tag });
  t.equal(again.status, 304, 'only the age of the view is another');
  t.equal(await again.text(), '');
  const agent = await TestAgent.start(collector.address);
  agent.sendFacts(healthy);
  const status = await until(
    async () => (await ask({ 'if-none-match': tag })).status,
    (each) => each === 200,
  );
  t.equal(status, 200);
  await agent.stop();
});

/** Reads events until `fits`; then hangs up. */
async function events(collector: Collector, query: string, fits: (text: string) => boolean): Promise<string> {
  let text = '';
  const request = get(`${collector.address}/api/v1/live${query}`, (response) =>
    response.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    }),
  );
  request.on('error', () => undefined);
  await until(async () => text, fits);
  request.destroy();
  return text;
}

t.test('who comes back is told what was missed, and who was away for too long that something was', async (t) => {
  const collector = await startCollector(t.testdir());
  t.teardown(() => collector.close());
  const agent = await TestAgent.start(collector.address);
  const reading = events(collector, '?events=change', (seen) => seen.includes('event: change'));
  await new Promise((resolve) => setTimeout(resolve, 100));
  agent.sendChanges([changeOf(1)]);
  const id = /^id: (\S+)\nevent: change/m.exec(await reading)?.[1] ?? '';
  t.match(id, /^[0-9a-f]{8}-\d+$/);
  agent.sendChanges([changeOf(2), changeOf(3)]);
  await agent.until('ack', (ack) => ack.changes === 3);
  const missed = await events(collector, `?events=change&after=${id}`, (seen) => seen.includes('"seq":3'));
  t.strictSame(
    [...missed.matchAll(/"seq":(\d)/g)].map(([, seq]) => seq),
    ['2', '3'],
  );
  t.match(await events(collector, '?events=change&after=00000000-1', (seen) => seen.includes('reset')), /event: reset/, 'of another run');
  t.match(await getJson(collector.address, 'live?events=nothing'), { status: 400, detail: /finding-opened/ });
  const rows = events(collector, '?events=nodeports&node=node1', (seen) => seen.includes('"codes":"t"'));
  await new Promise((resolve) => setTimeout(resolve, 100));
  agent.sendFacts(faulty);
  t.match(await rows, /event: nodeports\ndata: \{"at":\d+,"columnsId":"\w+","node":"node1","agent":"connected","codes":"t"\}/);
  await agent.stop();
});

t.test('an incident is answered with its causes, and kept', async (t) => {
  const directory = t.testdir();
  const collector = await startCollector(directory);
  const agent = await TestAgent.start(collector.address);
  agent.sendChanges([closing(1, Date.now() - 5_000)]);
  agent.sendFacts(faulty);
  await until(
    () => codesOf(collector),
    ({ node1 }) => node1 === 't',
  );
  const { status, body } = await post(collector, 'incidents', { service: 'web', source: '203.0.113.9', text: 'shop is down' });
  t.equal(status, 200);
  t.match(body, {
    kind: 'Incident',
    service: 'shop/web',
    origin: 'report',
    createdBy: 'anyone',
    causes: [{ cause: /^C/, node: 'node1', confidence: 'certain', remedy: [/iptables/], change: { after: new RegExp(rule) } }],
  });
  t.ok(body.causes[0].score >= 0.9);
  t.match((await post(collector, 'incidents', { port: 30080, at: new Date(Date.now() - 1_000).toISOString() })).body, { service: 'shop/web', protocol: 'tcp' });
  for (const [asked, detail] of [
    [{}, /what was it that failed/],
    [{ service: 'none' }, /NAMESPACE\/NAME/],
    [{ node: 'none' }, /no node/],
    [{ port: 30080, at: Date.now() + 3_600_000 }, /yet to come/],
    [{ port: 70000 }, /port/],
  ] as const)
    t.match(await post(collector, 'incidents', asked), { status: 400, body: { detail } });
  await agent.stop();
  await collector.close();
  const again = await startCollector(directory);
  t.teardown(() => again.close());
  t.match(await getJson(again.address, `incidents/${body.id}`), { id: body.id, causes: [{ cause: /^C/ }] });
  t.equal((await getJson(again.address, 'incidents?service=shop/web')).items.length, 2);
  t.match(await getJson(again.address, 'incidents/none'), { status: 404 });
});

t.test('an alert is one incident from its start to its end', async (t) => {
  const collector = await startCollector(t.testdir());
  t.teardown(() => collector.close());
  const agent = await TestAgent.start(collector.address);
  agent.sendFacts(faulty);
  await until(
    () => codesOf(collector),
    ({ node1 }) => node1 === 't',
  );
  const startsAt = new Date().toISOString();
  const alert = {
    labels: { alertname: 'ProbeFailed', instance: 'http://172.31.0.11:30080/health', job: 'blackbox' },
    annotations: { summary: 'the shop does not answer' },
    startsAt,
    fingerprint: 'f00',
  };
  const firing = {
    version: '4',
    groupKey: '{}',
    status: 'firing',
    receiver: 'portreeve',
    alerts: [{ ...alert, status: 'firing', endsAt: '0001-01-01T00:00:00Z' }],
  };
  const { status, body } = await post(collector, 'alerts', firing);
  t.equal(status, 200);
  t.match(body.items, [
    {
      service: 'shop/web',
      node: 'node1',
      port: 30080,
      origin: 'alertmanager',
      text: 'ProbeFailed: the shop does not answer',
      endedAt: null,
      causes: [{ cause: /^C/ }],
    },
  ]);
  await post(collector, 'alerts', firing);
  const endsAt = new Date().toISOString();
  const resolved = { ...firing, status: 'resolved', alerts: [{ ...alert, status: 'resolved', endsAt }] };
  t.match((await post(collector, 'alerts', resolved)).body.items, [{ id: body.items[0].id, endedAt: Date.parse(endsAt), causes: [{ cause: /^C/ }] }]);
  t.equal((await getJson(collector.address, 'incidents')).items.length, 1, 'told three times, kept once');
  t.strictSame((await getJson(collector.address, 'incidents?state=open')).items, []);
  t.match(await post(collector, 'alerts', { version: '3', alerts: [] }), { status: 400 });
  await agent.stop();
});

t.test('the register, for programs and spreadsheets', async (t) => {
  const collector = await startCollector(t.testdir());
  t.teardown(() => collector.close());
  t.match(await getJson(collector.address, 'register'), { kind: 'NodePortRegister', items: [{ port: 30080, service: 'shop/web', portName: 'http' }] });
  const csv = await fetch(`${collector.address}/api/v1/register`, { headers: { accept: 'text/csv' } });
  t.match(csv.headers.get('content-type'), 'text/csv');
  t.equal(
    await csv.text(),
    'port,protocol,service,portName,targetPort,externalTrafficPolicy,kind,owner,purpose\r\n30080,tcp,shop/web,http,8080,Cluster,nodePort,,\r\n',
  );
});

t.test('the page of the API has no script and names every operation', async (t) => {
  const collector = await startCollector(t.testdir());
  t.teardown(() => collector.close());
  const page = await fetch(`${collector.address}/docs`);
  const text = await page.text();
  t.match(page.headers.get('content-security-policy'), /script-src 'self'/);
  t.notMatch(text, /<script|style=|https?:\/\//);
  const document = (await (await fetch(`${collector.address}/openapi.json`)).json()) as { paths: Record<string, object>; components: { schemas: object } };
  for (const path of Object.keys(document.paths)) t.ok(text.includes(path), path);
  for (const name of Object.keys(document.components.schemas)) t.ok(text.includes(`id="model-${name}"`), name);
  t.equal((await fetch(`${collector.address}/docs/style.css`)).status, 200);
});
