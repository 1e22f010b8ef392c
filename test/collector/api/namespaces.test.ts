// Who may list the Services of some namespaces only sees those, in every answer, page and cursor; and nothing is done for who may not see what comes of it.
import fastify from 'fastify';
import t from 'tap';
import { answersOf } from '../../../collector/api/answers.ts';
import { fleetResources } from '../../../collector/api/fleet-resources.ts';
import { freshnessOf } from '../../../collector/api/freshness.ts';
import { LiveStreams } from '../../../collector/api/live.ts';
import { models } from '../../../collector/api/models.ts';
import { sendError } from '../../../collector/api/problem.ts';
import { addResources } from '../../../collector/api/resources.ts';
import { addAccessCheck, RequestRate } from '../../../collector/api/security.ts';
import { Telemetry } from '../../../collector/api/telemetry.ts';
import { VerdictBook } from '../../../collector/api/verdict-book.ts';
import { Access } from '../../../collector/identity/access.ts';
import { ServiceAccounts } from '../../../collector/identity/service-accounts.ts';
import { readObjects } from '../../../collector/kubernetes/objects.ts';
import { CollectorState } from '../../../collector/state/state.ts';
import { openSqliteStore } from '../../../collector/store/sqlite.store.ts';
import type { Finding } from '../../../shared/model/finding.ts';

const service = (namespace: string, name: string, nodePort: number) => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { namespace, name },
  spec: {
    type: 'NodePort',
    clusterIP: `10.96.0.${nodePort - 30_000}`,
    selector: { app: name },
    ports: [{ port: 80, targetPort: 8080, nodePort, protocol: 'TCP' }],
  },
});
const node = {
  apiVersion: 'v1',
  kind: 'Node',
  metadata: { name: 'node1' },
  status: { addresses: [{ type: 'InternalIP', address: '192.0.2.11' }], conditions: [{ type: 'Ready', status: 'True' }] },
};
const list = {
  apiVersion: 'v1',
  kind: 'List',
  items: [node, service('bank', 'vault', 30_080), service('shop', 'web', 30_081), service('zoo', 'lions', 30_082)],
};
const findingOf = (name: string, port: number): Finding => ({
  id: `node1/nodeport/tcp/4/${port}/C08`,
  cause: 'C08',
  title: 'a rule drops',
  severity: 'error',
  confidence: 'certain',
  node: 'node1',
  service: name,
  port,
  protocol: 'tcp',
  family: 4,
  symptom: 'timeout',
  summary: `${name} times out`,
  evidence: [],
  remedy: [],
});

/** The cluster lets Jane list the Services of `shop`, and Joe update all, but list none. */
const reviews = new ServiceAccounts({
  reviewToken: async (body) => {
    const { token } = (body as { spec: { token: string } }).spec;
    return { status: { authenticated: true, audiences: ['portreeve'], user: { username: token, uid: token, groups: [] } } };
  },
  reviewAccess: async (body) => {
    const { user, resourceAttributes } = (body as { spec: { user: string; resourceAttributes: { verb: string; namespace: string } } }).spec;
    const { verb, namespace } = resourceAttributes;
    return { status: { allowed: user === 'root' || (user === 'jane' && verb === 'list' && namespace === 'shop') || (user === 'joe' && verb === 'update') } };
  },
  pod: async () => undefined,
});

async function started(t: Pick<typeof import('tap').t, 'testdir' | 'teardown'>) {
  const { store } = await openSqliteStore(t.testdir({}));
  const openedAt = Date.now() - 60_000;
  const open = [findingOf('bank/vault:', 30_080), findingOf('shop/web:', 30_081)].map((finding) => ({ finding, openedAt, closedAt: null }));
  await store.upsertFindings(open);
  const state = new CollectorState({ open, graceMs: 3_600_000 });
  const read = readObjects([{ name: 'all.json', text: JSON.stringify(list) }]);
  const objects = { ...read.objects, readAt: Date.now() };
  state.setObjects(objects);
  const book = new VerdictBook({ state, store, onError: (error) => t.teardown(() => Promise.reject(error)) });
  const telemetry = new Telemetry(state);
  const live = new LiveStreams({ state, book, freshness: () => freshnessOf([], Date.now()) });
  const app = fastify({ ajv: { customOptions: { strict: false } } });
  app.setSerializerCompiler(() => JSON.stringify);
  app.setErrorHandler((error, _request, reply) => sendError(reply, error));
  for (const [name, schema] of Object.entries(models)) app.addSchema({ ...schema, $id: name });
  addAccessCheck(app, new Access({ store, serviceAccounts: reviews, isOpen: false }), new RequestRate());
  addResources(app, {
    answers: answersOf({ state, store, session: () => undefined, view: () => [], book, telemetry, audit: () => {} }),
    more: fleetResources({ state, store, replicas: () => [] }),
    live,
    view: () => [],
    namespaces: () => new Set([...objects.services.values()].map(({ namespace }) => namespace)),
  });
  t.teardown(async () => {
    live.closeAll();
    telemetry.close();
    await book.close();
    state.close();
    await app.close();
    await store.close();
  });
  const ask = async (who: string, url: string, body?: object) => {
    const headers = { authorization: `Bearer ${who}` };
    const { statusCode, body: text } = await app.inject({ url, headers, ...(body === undefined ? {} : { method: 'POST', payload: body }) });
    return { status: statusCode, text, answer: text === '' ? {} : text.startsWith('{') ? JSON.parse(text) : text };
  };
  return { ask, store, book };
}

t.test('lists hold the namespaces that may be seen, whatever the page', async (t) => {
  const { ask, book } = await started(t);
  await book.written();
  const at = Date.now();
  for (const url of [
    '/services',
    '/nodeports',
    '/findings',
    '/findings?state=all',
    '/register',
    `/nodeports?at=${at}`,
    `/findings?at=${at}`,
    '/nodeports/30080',
    '/nodeports/30081',
  ]) {
    const { status, text } = await ask('jane', url);
    t.equal(status, 200, url);
    t.notMatch(text, /bank|vault|zoo|lions/, url);
    if (!url.endsWith('30080')) t.match(text, /shop\/web|"name":"web"/, url);
  }
  t.notMatch((await ask('jane', '/register?format=csv')).text, /bank|zoo/);
  for (const url of ['/services', '/nodeports', '/findings']) {
    const { answer } = await ask('jane', `${url}?limit=1`);
    t.equal(answer.items.length, 1, `${url}: the first page is full, though others come before`);
    t.equal(answer.next, undefined, `${url}: and no cursor tells of what comes after`);
    t.equal((await ask('root', `${url}?limit=1`)).answer.items.length, 1);
    t.type((await ask('root', `${url}?limit=1`)).answer.next, 'string');
  }
});

t.test('what tells of all namespaces is for those who may see all', async (t) => {
  const { ask, store } = await started(t);
  const all = [
    '/nodes',
    '/nodes/node1',
    '/matrix',
    `/matrix?at=${Date.now()}`,
    '/changes',
    '/timeline',
    '/incidents',
    '/incidents/x',
    '/live',
    '/explain?node=node1&port=30081',
  ];
  for (const url of [...all, '/gaps', '/coverage', '/replicas']) {
    const { status, text } = await ask('jane', url);
    t.equal(status, 403, url);
    t.notMatch(text, /bank|vault/, url);
  }
  const reported = await ask('joe', '/incidents', { service: 'bank/vault' });
  t.equal(reported.status, 403);
  t.equal((await store.incidents({ limit: 9 })).items.length, 0, 'what may not be seen is not done either');
  t.equal((await ask('root', '/incidents', { service: 'bank/vault' })).status, 200);
});
