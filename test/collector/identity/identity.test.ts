// Who may speak for a node and who may ask: real TLS, real enrolment, and what a hostile agent gets.
import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { request as httpsRequest } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { TLSSocket } from 'node:tls';
import t from 'tap';
import WebSocket from 'ws';
import { identityOf, renewalTime, renewed } from '../../../agent/host/identity.ts';
import { createApiToken } from '../../../collector/identity/access.ts';
import { Authority } from '../../../collector/identity/authority.ts';
import { createJoinToken } from '../../../collector/identity/enrolment.ts';
import { TlsListener } from '../../../collector/identity/listener.ts';
import type { Collector } from '../../../collector/main.ts';
import { openSqliteStore } from '../../../collector/store/sqlite.store.ts';
import type { AgentMessage, CollectorMessage } from '../../../shared/wire/messages.ts';
import { subprotocol } from '../../../shared/wire/messages.ts';
import { startCollector } from '../ingest/cluster.ts';

// Many commits and processes, which take their time on a busy machine.
t.setTimeout(180_000);

/** A collector with TLS and its secrets; tokens are made beside it, in its own store, before it starts. */
async function secured(directory: string, { ttlMs = 3_600_000 } = {}) {
  const data = join(directory, 'data');
  const { store } = await openSqliteStore(data);
  const authority = await Authority.open(data, Date.now());
  const join1 = await createJoinToken(store, authority, { node: 'node1', ttlMs, by: 'test', now: Date.now() });
  const join2 = await createJoinToken(store, authority, { node: 'node2', ttlMs, by: 'test', now: Date.now() });
  const again = await createJoinToken(store, authority, { node: 'node1', ttlMs, by: 'test', now: Date.now() });
  const tokens = {} as Record<'view' | 'operate' | 'admin', string>;
  for (const role of ['view', 'operate', 'admin'] as const)
    tokens[role] = (await createApiToken(store, { name: role, role, by: 'test', now: Date.now() })).token;
  await store.close();
  const collector = await startCollector(directory, { noAuth: false, tls: true });
  return { collector, ca: authority.pem, tokens, joins: { node1: join1.token, node2: join2.token, again: again.token } };
}

interface Answer {
  readonly status: number;
  readonly body: string;
  readonly headers: Readonly<Record<string, unknown>>;
}

function call(
  url: string,
  options: { readonly ca: string; readonly token?: string; readonly method?: string; readonly body?: object; readonly headers?: Record<string, string> },
): Promise<Answer> {
  const content = options.body === undefined ? undefined : JSON.stringify(options.body);
  const headers = {
    ...(options.token === undefined ? {} : { authorization: `Bearer ${options.token}` }),
    ...(content === undefined ? {} : { 'content-type': 'application/json' }),
    ...options.headers,
  };
  return new Promise((resolve, reject) => {
    const sent = httpsRequest(url, { method: options.method ?? 'GET', ca: options.ca, headers, agent: false }, (response) => {
      let body = '';
      response.on('data', (chunk) => {
        body += chunk;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body, headers: response.headers }));
    });
    sent.on('error', reject);
    sent.end(content);
  });
}

/** An agent that says what it likes. */
class Hostile {
  readonly socket: WebSocket;
  readonly received: CollectorMessage[] = [];
  readonly closed: Promise<number>;
  readonly refused: Promise<number>;
  readonly opened: Promise<void>;

  constructor(collector: Collector, tls: object, headers: Record<string, string> = {}) {
    this.socket = new WebSocket(`${collector.address.replace('https', 'wss')}/agent`, subprotocol, { ...tls, headers, perMessageDeflate: false });
    this.socket.on('message', (data: Buffer) => this.received.push(JSON.parse(data.toString())));
    this.socket.on('error', () => {});
    this.closed = new Promise((resolve) => this.socket.once('close', resolve));
    this.opened = new Promise((resolve) => this.socket.once('open', () => resolve()));
    this.refused = new Promise((resolve) => this.socket.once('unexpected-response', (_request, response) => resolve(response.statusCode ?? 0)));
  }

  send(message: AgentMessage): void {
    this.socket.send(JSON.stringify(message));
  }

  hello(node: string, stream = 'run-1'): void {
    this.send({ type: 'hello', node, version: '1', bootId: 'b', stream, acknowledged: 0, clock: Date.now(), startedAt: Date.now(), capabilities: [] });
  }

  async until(type: CollectorMessage['type']): Promise<CollectorMessage> {
    for (let tries = 0; tries < 500; tries++) {
      const found = this.received.find((message) => message.type === type);
      if (found !== undefined) return found;
      await sleep(20);
    }
    throw new Error(`no ${type} came: ${JSON.stringify(this.received)}`);
  }
}

t.test('enrolment: a pinned authority, a token for one node and one use, a key that stays', async (t) => {
  const directory = t.testdir({});
  const { collector, joins, ca, tokens } = await secured(directory);
  t.teardown(() => collector.close());
  const options = (node: string, joinToken?: string, name = node) => ({
    collectors: [new URL(collector.address)],
    node,
    directory: join(directory, 'agents', name),
    authorities: [],
    ...(joinToken === undefined ? {} : { joinToken }),
  });
  await t.rejects(identityOf(options('node1'), Date.now()), { code: 'ENROLMENT_REFUSED', message: /portreeve token create --node node1/ });
  await t.rejects(identityOf(options('node2', joins.node1), Date.now()), { code: 'ENROLMENT_REFUSED', message: /is for the node node1/ });
  const wrongPin = joins.node1.replace(/[0-9a-f]{4}$/, '0000');
  await t.rejects(identityOf(options('node1', wrongPin), Date.now()), { code: 'ENROLMENT_REFUSED', message: /not the collector that the join token is for/ });
  const secrets = await identityOf(options('node1', joins.node1), Date.now());
  t.match(secrets, { cert: /BEGIN CERTIFICATE/, key: /BEGIN PRIVATE KEY/ });
  t.strictSame((await identityOf(options('node1'), Date.now())).cert, secrets.cert, 'from then on it is there');
  const { validFrom, validTo } = new X509Certificate(secrets.cert);
  const [from, to] = [Date.parse(validFrom), Date.parse(validTo)];
  t.equal(renewalTime(secrets), from + ((to - from) * 2) / 3, 'it is renewed when two thirds are over');
  t.ok(to - from < 8 * 86_400_000, 'and holds for a week');
  await t.rejects(identityOf(options('node1', joins.node1, 'thief'), Date.now()), { message: /used before/ });
  await t.rejects(identityOf(options('node1', joins.again, 'other'), Date.now()), { message: /has enrolled before with another key/ });
  const newer = await renewed(options('node1'), secrets);
  t.not(newer.cert, secrets.cert);
  t.equal(newer.key, secrets.key);

  const agent = new Hostile(collector, newer);
  await agent.opened;
  agent.hello('node1');
  await agent.until('welcome');
  const revoked = await call(`${collector.address}/api/v1/nodes/node1/identity`, { ca, token: tokens.admin, method: 'DELETE' });
  t.equal(revoked.status, 204);
  t.equal(await agent.closed, 4400, 'the session of a revoked key ends');
  t.match(agent.received.at(-1), { code: 'IDENTITY_REVOKED' });
  t.equal(await new Hostile(collector, newer).refused, 403);
  await t.rejects(renewed(options('node1'), newer), { message: /revoked/ });
  const fresh = JSON.parse(
    (await call(`${collector.address}/api/v1/tokens`, { ca, token: tokens.operate, method: 'POST', body: { kind: 'join', node: 'node1', ttlMs: 60_000 } }))
      .body,
  );
  const replaced = await identityOf(options('node1', fresh.token), Date.now());
  t.not(replaced.key, newer.key, 'a revoked key is not made valid again: the agent makes a new one');
  t.equal(await new Hostile(collector, newer).refused, 403, 'and the old one stays shut out');
  t.strictSame((await identityOf(options('node1', fresh.token), Date.now())).cert, replaced.cert, 'a restart with the same token file enrols no more');
  const again = new Hostile(collector, replaced);
  await again.opened;
  again.socket.close();
  const audit = JSON.parse((await call(`${collector.address}/api/v1/audit`, { ca, token: tokens.admin })).body);
  t.match(
    audit.items.filter(({ action }: { action: string }) => action === 'revoke identity'),
    [{ who: 'token:admin', subject: 'node1', outcome: 'done' }],
  );
});

t.test('a session speaks for its own node and no other', async (t) => {
  const directory = t.testdir({});
  const { collector, joins, ca, tokens } = await secured(directory);
  t.teardown(() => collector.close());
  const identity = (node: 'node1' | 'node2') =>
    identityOf({ collectors: [new URL(collector.address)], node, directory: join(directory, node), authorities: [], joinToken: joins[node] }, Date.now());
  const [node1, node2] = [await identity('node1'), await identity('node2')];
  t.equal(await new Hostile(collector, { ca }).refused, 401, 'nobody');
  t.equal(await new Hostile(collector, { ca }, { authorization: 'Bearer x.y.z' }).refused, 401, 'a token where there is no Kubernetes');

  const liar = new Hostile(collector, node1);
  await liar.opened;
  liar.hello('node2');
  t.match(await liar.until('error'), { code: 'NODE_FOREIGN' });
  t.equal(await liar.closed, 4400);

  const honest = new Hostile(collector, node2);
  await honest.opened;
  honest.hello('node2');
  await honest.until('welcome');
  const smuggler = new Hostile(collector, node1);
  await smuggler.opened;
  smuggler.hello('node1');
  await smuggler.until('welcome');
  smuggler.send({
    type: 'changes',
    changes: [{ stream: 'run-1', seq: 1, at: 1, node: 'node2', kind: 'rule', subject: 'x', before: null, after: null }],
  });
  t.match(await smuggler.until('error'), { code: 'NODE_FOREIGN' });
  t.equal(honest.socket.readyState, WebSocket.OPEN, 'the honest agent notices nothing');
  const { body } = await call(`${collector.address}/api/v1/changes?kind=agent`, { ca, token: tokens.view });
  t.match(JSON.parse(body).items, [{ subject: 'identity of node1' }, { subject: 'identity of node1', after: /spoke for node2/ }]);
  t.equal(
    JSON.parse((await call(`${collector.address}/api/v1/changes?node=node2&kind=rule`, { ca, token: tokens.view })).body).items.length,
    0,
    'and nothing was stored',
  );
  honest.socket.close();
});

t.test('two agents with one key are noticed', async (t) => {
  const directory = t.testdir({});
  const { collector, joins, ca, tokens } = await secured(directory);
  t.teardown(() => collector.close());
  const node1 = await identityOf(
    { collectors: [new URL(collector.address)], node: 'node1', directory: join(directory, 'a'), authorities: [], joinToken: joins.node1 },
    Date.now(),
  );
  for (const stream of ['original', 'copy', 'original']) {
    const agent = new Hostile(collector, node1);
    await agent.opened;
    agent.hello('node1', stream);
    await agent.until('welcome');
    t.teardown(() => agent.socket.terminate());
  }
  await sleep(100);
  const { body } = await call(`${collector.address}/api/v1/changes?kind=agent`, { ca, token: tokens.view });
  t.match(JSON.parse(body).items, [{ node: 'node1', after: /two agents speak for node1 at once/ }]);
});

t.test('what each role may ask, and what every answer says to a browser', async (t) => {
  const { collector, ca, tokens } = await secured(t.testdir({}));
  t.teardown(() => collector.close());
  const status = async (path: string, options: Partial<Parameters<typeof call>[1]> = {}) =>
    (await call(`${collector.address}${path}`, { ca, ...options })).status;
  t.equal(await status('/healthz'), 200);
  t.equal(await status('/api/v1/nodes'), 401);
  t.equal(await status('/metrics'), 401);
  t.equal(await status('/api/v1/nodes', { token: tokens.view }), 200);
  t.equal(await status('/api/v1/nodes', { headers: { cookie: `portreeve_token=${tokens.view}` } }), 200, 'the cookie of the page');
  t.equal(await status('/metrics', { token: tokens.view }), 200);
  t.equal(await status('/api/v1/tokens', { token: tokens.operate }), 403);
  t.equal(await status('/api/v1/tokens', { token: tokens.admin }), 200);
  const join = { method: 'POST', body: { kind: 'join', node: 'n', ttlMs: 60_000 } };
  t.equal(await status('/api/v1/tokens', { ...join, token: tokens.view }), 403);
  t.equal(await status('/api/v1/tokens', { ...join, token: tokens.operate }), 200);
  t.equal(
    await status('/api/v1/tokens', { method: 'POST', body: { kind: 'api', name: 'x', role: 'admin' }, token: tokens.operate }),
    403,
    'nobody makes more than they have',
  );
  t.equal(await status('/api/v1/nodes', { token: tokens.view, headers: { origin: 'https://elsewhere.example' } }), 403);
  t.equal(await status('/api/v1/nodes', { token: tokens.view.replace(/.$/, 'x') }), 401);
  t.equal(await status('/api/v1/nodes', { token: 'pra_aaaaaaaa_' }), 401);
  const { headers } = await call(`${collector.address}/api/v1/nodes`, { ca, token: tokens.view });
  t.match(headers, {
    'content-security-policy': /default-src 'self'; script-src 'self';/,
    'x-content-type-options': 'nosniff',
    'strict-transport-security': /max-age/,
    'cache-control': 'no-store',
  });
  for (let i = 0; i < 25; i++) await status('/api/v1/nodes', { token: `guess-${i}` });
  t.equal(await status('/api/v1/nodes', { token: tokens.view }), 429, 'who guesses has to wait');
});

t.test('the first start makes one token, and none of it is in the log or the store', async (t) => {
  const directory = t.testdir({});
  const written: string[] = [];
  const { write } = process.stdout;
  process.stdout.write = ((text: string) => written.push(text) > 0) as typeof write;
  const collector = await startCollector(directory, { noAuth: false, tls: true }).finally(() => {
    process.stdout.write = write;
  });
  const token = /pra_\w{8}_[\w-]{43}/.exec(written.join(''))?.[0] as string;
  const ca = readFileSync(join(directory, 'data', 'ca.crt'), 'utf8');
  t.equal((await call(`${collector.address}/api/v1/tokens`, { ca, token })).status, 200);
  await collector.close();
  t.equal(readFileSync(join(directory, 'data', 'portreeve.db')).includes(token.slice(13)), false);
  written.length = 0;
  process.stdout.write = ((text: string) => written.push(text) > 0) as typeof write;
  const again = await startCollector(directory, { noAuth: false, tls: true }).finally(() => {
    process.stdout.write = write;
  });
  t.strictSame(written, []);
  await again.close();
});

t.test('what the operator brings: own certificate and key, exchanged while running', async (t) => {
  const directory = t.testdir({});
  const files = { certificate: join(directory, 'tls.crt'), key: join(directory, 'tls.key'), agentAuthority: join(directory, 'agents.crt') };
  const [first, second] = await Promise.all(['one', 'two'].map((name) => Authority.open(join(directory, name), Date.now())));
  if (first === undefined || second === undefined) throw new Error('two were made');
  const write = async (authority: Authority) => {
    const made = await authority.serverCertificate(['127.0.0.1'], Date.now());
    writeFileSync(files.certificate, made.certificate);
    await sleep(60);
    writeFileSync(files.key, made.key);
    writeFileSync(files.agentAuthority, authority.pem);
  };
  await write(first);
  const notices: string[] = [];
  const listener = await TlsListener.open({ authority: first, files, names: [], now: Date.now, renewEveryMs: 20, onNotice: (text) => notices.push(text) });
  const server = listener.server((request, response) => response.end(String((request.socket as TLSSocket).authorized)));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    listener.close();
    server.closeAllConnections();
    server.close();
  });
  const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  t.equal((await call(url, { ca: first.pem })).status, 200);
  await write(second);
  for (let tries = 0; !notices.includes('certificates were exchanged') && tries < 200; tries++) await sleep(20);
  t.equal((await call(url, { ca: second.pem })).status, 200, 'new connections get the new one');
  await t.rejects(call(url, { ca: first.pem }), 'and no more the old');
  writeFileSync(files.key, 'no key');
  for (let tries = 0; !notices.at(-1)?.includes('could not be exchanged') && tries < 200; tries++) await sleep(20);
  t.equal((await call(url, { ca: second.pem })).status, 200, 'a file that is of no use leaves all as it was');
});

t.test('certificate files of a collector', async (t) => {
  const directory = t.testdir({});
  const other = await Authority.open(join(directory, 'own'), Date.now());
  const made = await other.serverCertificate(['127.0.0.1'], Date.now());
  const [tlsCertificate, tlsKey] = [join(directory, 'tls.crt'), join(directory, 'tls.key')];
  writeFileSync(tlsCertificate, made.certificate);
  writeFileSync(tlsKey, made.key);
  const collector = await startCollector(directory, { noAuth: true, tlsCertificate, tlsKey });
  t.teardown(() => collector.close());
  t.equal((await call(`${collector.address}/healthz`, { ca: other.pem })).status, 200);
  await t.rejects(startCollector(directory, { tlsCertificate }), { code: 'USAGE', message: /go together/ });
  await t.rejects(startCollector(directory, { tlsCertificate: join(directory, 'none'), tlsKey }), { code: 'INPUT_UNREADABLE' });
});

t.test("client certificates of the operator's own authority speak for the node of their name, until they are revoked", async (t) => {
  const directory = t.testdir({});
  const data = join(directory, 'data');
  const { store } = await openSqliteStore(data);
  const admin = (await createApiToken(store, { name: 'admin', role: 'admin', by: 'test', now: Date.now() })).token;
  await store.close();
  const openssl = (...args: readonly string[]) => execFileSync('openssl', args, { cwd: directory, stdio: ['ignore', 'pipe', 'ignore'] });
  const authorityOf = (name: string) =>
    openssl(
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-days',
      '2',
      '-subj',
      `/CN=${name}`,
      '-keyout',
      `${name}.key`,
      '-out',
      `${name}.crt`,
    );
  const clientOf = (name: string, { authority, subject = `/CN=${name}` }: { readonly authority: string; readonly subject?: string }) => {
    openssl('req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', subject, '-keyout', `${name}.key`, '-out', `${name}.csr`);
    openssl(
      'x509',
      '-req',
      '-in',
      `${name}.csr`,
      '-CA',
      `${authority}.crt`,
      '-CAkey',
      `${authority}.key`,
      '-CAcreateserial',
      '-days',
      '1',
      '-out',
      `${name}.pem`,
    );
    return { cert: readFileSync(join(directory, `${name}.pem`), 'utf8'), key: readFileSync(join(directory, `${name}.key`), 'utf8') };
  };
  authorityOf('ours');
  authorityOf('theirs');
  const collector = await startCollector(directory, { noAuth: false, tls: true, agentAuthority: join(directory, 'ours.crt') });
  t.teardown(() => collector.close());
  const ca = readFileSync(join(data, 'ca.crt'), 'utf8');
  const node1 = clientOf('node1', { authority: 'ours' });
  const agent = new Hostile(collector, { ca, ...node1 });
  await agent.opened;
  agent.hello('node1');
  await agent.until('welcome');
  const liar = new Hostile(collector, { ca, ...clientOf('node3', { authority: 'ours' }) });
  await liar.opened;
  liar.hello('node1');
  t.match(await liar.until('error'), { code: 'NODE_FOREIGN' });
  t.equal(await new Hostile(collector, { ca, ...clientOf('node2', { authority: 'theirs' }) }).refused, 401, 'an authority that nobody named');
  const posing = clientOf('posing', { authority: 'ours', subject: '/CN=node1/O=Portreeve node' });
  t.equal(await new Hostile(collector, { ca, ...posing }).refused, 403, 'a certificate that poses as one of the collector itself');
  t.equal((await call(`${collector.address}/api/v1/nodes/node1/identity`, { ca, token: admin, method: 'DELETE' })).status, 204);
  t.equal(await agent.closed, 4400);
  t.equal(await new Hostile(collector, { ca, ...node1 }).refused, 403, 'a revoked key stays out, though its certificate holds');
});
