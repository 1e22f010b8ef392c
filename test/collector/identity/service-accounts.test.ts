// Tokens of ServiceAccounts, asked of a real HTTP server that answers as the Kubernetes API does.
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { Access } from '../../../collector/identity/access.ts';
import { admit } from '../../../collector/identity/admission.ts';
import { decodeJwtExpiry } from '../../../collector/identity/jwt.ts';
import { ServiceAccounts } from '../../../collector/identity/service-accounts.ts';
import { reviewApi } from '../../../collector/kubernetes/reviews.ts';
import { openSqliteStore } from '../../../collector/store/sqlite.store.ts';

const now = 1_700_000_000_000;
const jwt = (claims: object): string => `h.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.s`;
const node = 'authentication.kubernetes.io/node-name';
const pod = 'authentication.kubernetes.io/pod-name';
const podUid = 'authentication.kubernetes.io/pod-uid';

const account = { username: 'system:serviceaccount:portreeve:agent', uid: 'u1', groups: ['system:serviceaccounts'] };
/** What the API says of each token. */
const holders: Readonly<Record<string, object>> = {
  bound: {
    authenticated: true,
    audiences: ['portreeve'],
    user: { ...account, extra: { [node]: ['node1'], 'authentication.kubernetes.io/node-uid': ['uid-1'] } },
  },
  'of-a-pod': { authenticated: true, audiences: ['portreeve'], user: { ...account, extra: { [pod]: ['agent-x'], [podUid]: ['p1'] } } },
  'of-a-former-pod': { authenticated: true, audiences: ['portreeve'], user: { ...account, extra: { [pod]: ['agent-x'], [podUid]: ['p0'] } } },
  'of-nobody': { authenticated: true, audiences: ['portreeve'], user: account },
  'for-others': { authenticated: true, audiences: ['https://kubernetes.default.svc'], user: { ...account, extra: { [node]: ['node1'] } } },
  [jwt({ exp: now / 1_000 + 60 })]: { authenticated: true, audiences: ['portreeve'], user: { ...account, extra: { [node]: ['node1'] } } },
  [jwt({ exp: now / 1_000 - 1 })]: { authenticated: true, audiences: ['portreeve'], user: { ...account, extra: { [node]: ['node1'] } } },
  viewer: { authenticated: true, audiences: ['portreeve'], user: { username: 'jane', uid: 'u2', groups: ['team-shop'] } },
  boss: { authenticated: true, audiences: ['portreeve'], user: { username: 'root', uid: 'u3', groups: ['system:masters'] } },
};

async function apiServer(t: Tap) {
  const asked: string[] = [];
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const { spec } = JSON.parse(Buffer.concat(chunks).toString() || '{}');
    asked.push(`${request.method} ${request.url}`);
    const send = (status: object, code = 201): void => void response.writeHead(code, { 'content-type': 'application/json' }).end(JSON.stringify(status));
    if (request.url?.endsWith('/tokenreviews')) return send({ status: holders[spec.token] ?? { authenticated: false, error: 'invalid' } });
    if (request.url?.endsWith('/subjectaccessreviews')) {
      const { verb, namespace } = spec.resourceAttributes;
      return send({ status: { allowed: spec.user === 'root' || (spec.user === 'jane' && verb === 'list' && namespace === 'shop') } });
    }
    if (request.url === '/api/v1/namespaces/portreeve/pods/agent-x') return send({ metadata: { uid: 'p1' }, spec: { nodeName: 'node7' } }, 200);
    return send({ message: 'no' }, 404);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const kubeconfig = join(t.testdir({}), 'config');
  const { port } = server.address() as AddressInfo;
  writeFileSync(
    kubeconfig,
    JSON.stringify({
      'current-context': 'c',
      contexts: [{ name: 'c', context: { cluster: 'c', user: 'u' } }],
      clusters: [{ name: 'c', cluster: { server: `http://127.0.0.1:${port}` } }],
      users: [{ name: 'u', user: {} }],
    }),
  );
  const api = await reviewApi({ kubeconfig });
  t.teardown(() => {
    api.close();
    server.closeAllConnections();
    server.close();
  });
  return { accounts: new ServiceAccounts(api), asked, server };
}
type Tap = typeof t;

t.test('the node comes from the token, or from the pod that it is bound to', async (t) => {
  const { accounts, asked } = await apiServer(t as unknown as Tap);
  t.match(await accounts.holderOf('bound', now), { node: 'node1', nodeUid: 'uid-1', username: account.username });
  t.match(await accounts.holderOf('of-a-pod', now), { node: 'node7' });
  t.equal((await accounts.holderOf('of-a-former-pod', now))?.node, undefined, 'a pod of the same name is another');
  t.equal((await accounts.holderOf('of-nobody', now))?.node, undefined);
  t.equal(await accounts.holderOf('for-others', now), undefined, 'another audience');
  t.equal(await accounts.holderOf('nonsense', now), undefined);
  t.match(await accounts.holderOf(jwt({ exp: now / 1_000 + 60 }), now), { expiresAt: now + 60_000 });
  t.equal(await accounts.holderOf(jwt({ exp: now / 1_000 - 1 }), now), undefined, 'expired, whatever a cache in between says');
  const before = asked.length;
  await accounts.holderOf('bound', now + 30_000);
  t.equal(asked.length, before, 'an answer holds for a minute');
  await accounts.holderOf('bound', now + 61_000);
  t.equal(asked.length, before + 1);
});

t.test('agents and clients by such tokens', async (t) => {
  const { accounts, server } = await apiServer(t as unknown as Tap);
  const { store } = await openSqliteStore(t.testdir({}));
  t.teardown(() => store.close());
  const options = { store, serviceAccounts: accounts, isOpen: false, trustsForeignAuthority: false };
  const agent = (token?: string) => admit({ headers: token === undefined ? {} : { authorization: `Bearer ${token}` }, socket: {} } as never, options, now);
  t.match(await agent('bound'), { kind: 'admitted', node: 'node1', by: 'service-account', nodeUid: 'uid-1' });
  t.match(await agent(jwt({ exp: now / 1_000 + 60 })), { kind: 'admitted', validUntil: now + 60_000 });
  t.match(await agent('of-nobody'), { kind: 'refused', status: 403, reason: /bound to no node/ });
  const agentOf = (accounts: readonly string[]) =>
    admit({ headers: { authorization: 'Bearer bound' }, socket: {} } as never, { ...options, agentAccounts: accounts }, now);
  for (const accounts of [['portreeve/*'], ['other/x', 'portreeve/agent']]) t.match(await agentOf(accounts), { kind: 'admitted' }, accounts.join());
  for (const accounts of [['portreeve/agen'], ['port/*'], ['portreeve/other'], []])
    t.match(await agentOf(accounts), { kind: 'refused', status: 403, reason: /is no ServiceAccount of agents/ }, accounts.join());
  t.match(await agent('nonsense'), { kind: 'refused', status: 401 });
  t.match(await agent(), { kind: 'refused', status: 401 });
  const access = new Access({ store, serviceAccounts: accounts, isOpen: false });
  const client = (token: string) => access.authenticate(`Bearer ${token}`, { address: '192.0.2.1', now });
  const viewer = await client('viewer');
  t.match(viewer, { kind: 'known', principal: { who: 'user:jane', role: 'view' } });
  if (viewer.kind === 'known') t.strictSame([await viewer.principal.sees('shop'), await viewer.principal.sees('bank')], [true, false]);
  const boss = await client('boss');
  t.match(boss, { kind: 'known', principal: { who: 'user:root', role: 'operate' } });
  if (boss.kind === 'known') t.equal(await boss.principal.sees('bank'), true);
  server.closeAllConnections();
  server.close();
  t.match(await agent('bound2'), { kind: 'refused', status: 503, reason: /cannot be asked/ });
  t.match(await client('other'), { kind: 'unknown', status: 503 });
});

t.test('when a token ends', async (t) => {
  t.equal(decodeJwtExpiry(jwt({ exp: 5 })), 5_000);
  for (const text of ['', 'x', 'a.b.c', jwt({}), jwt({ exp: 'soon' }), jwt([])]) t.equal(decodeJwtExpiry(text), undefined, text);
});
