// What a hostile agent can do: each attempt is refused by a named error or a limit, and honest agents are served throughout.
import { once } from 'node:events';
import type { Server } from 'node:http';
import { connect, createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { constants, zstdCompressSync } from 'node:zlib';
import t, { type Test } from 'tap';
import WebSocket from 'ws';
import { admit } from '../../collector/identity/admission.ts';
import { Connections } from '../../collector/identity/connections.ts';
import { plainServer } from '../../collector/identity/listener.ts';
import { audience, ServiceAccounts } from '../../collector/identity/service-accounts.ts';
import { Ingest } from '../../collector/ingest/ingest.ts';
import type { Node } from '../../collector/kubernetes/objects.ts';
import { soleOwner } from '../../collector/replicas/ownership.ts';
import { ownStream } from '../../collector/state/own-stream.ts';
import { CollectorState } from '../../collector/state/state.ts';
import { openSqliteStore } from '../../collector/store/sqlite.store.ts';
import type { AuditRecord } from '../../collector/store/store.ts';
import { limits } from '../../shared/limits.ts';
import { subprotocol } from '../../shared/wire/messages.ts';
import { changeOf } from '../collector/ingest/client.ts';
import { listen } from '../collector/ingest/listen.ts';

t.setTimeout(300_000);
const jwtOf = (claims: object): string => `h.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.s`;
const jwt = (name: string, expiresInMs = 3_600_000, aud = audience): string => jwtOf({ exp: (Date.now() + expiresInMs) / 1_000, aud, name });

/** As the Kubernetes API answers about a token: the claims are believed, and a token for others is not authenticated for this audience. */
const reviews = {
  reviewToken: async (body: object) => {
    const { token } = (body as { spec: { token: string } }).spec;
    const { aud, name, nodeUid } = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString());
    const extra = {
      'authentication.kubernetes.io/node-name': [name],
      ...(nodeUid === undefined ? {} : { 'authentication.kubernetes.io/node-uid': [nodeUid] }),
    };
    return { status: { authenticated: true, audiences: [aud], user: { username: 'system:serviceaccount:portreeve:agent', uid: 'u', groups: [], extra } } };
  },
  reviewAccess: async () => ({}),
  pod: async () => ({}),
};

/** The ingest of a collector with its store, behind a real server. */
async function collectorOf(t: Test) {
  const { store } = await openSqliteStore(t.testdir({}));
  const state = new CollectorState({ graceMs: 0 });
  const audited: Omit<AuditRecord, 'at'>[] = [];
  const warned: string[] = [];
  const server: Server = plainServer((_request, response) => void response.end('ok'));
  const connections = new Connections();
  connections.watch(server);
  const accounts = { store, serviceAccounts: new ServiceAccounts(reviews), isOpen: false, trustsForeignAuthority: false };
  const ingest = new Ingest(server, {
    state,
    store,
    connections,
    log: { info: () => {}, warn: (_details: object, text: string) => void warned.push(text), error: () => {} },
    record: ownStream(store, state, soleOwner),
    ownership: soleOwner,
    audit: (record) => audited.push(record),
    admit: (request) => admit(request, accounts, Date.now()),
  });
  const port = await listen(t, { server, ingest, state, store });
  return { port, store, state, audited, warned, connections, server };
}

class Agent {
  readonly socket: WebSocket;
  readonly received: { type: string; code?: string; changes?: number }[] = [];
  readonly closed: Promise<number>;
  readonly refused: Promise<{ status: number; code: string }>;

  constructor(port: number, token: string) {
    this.socket = new WebSocket(`ws://127.0.0.1:${port}/agent`, subprotocol, { headers: { authorization: `Bearer ${token}` }, perMessageDeflate: false });
    this.socket.on('error', () => {});
    this.socket.on('message', (content: Buffer) => this.received.push(JSON.parse(content.toString())));
    this.closed = new Promise((resolve) => this.socket.once('close', resolve));
    this.refused = new Promise((resolve) =>
      this.socket.once('unexpected-response', (_request, response) => {
        let body = '';
        response.on('data', (chunk) => (body += chunk)).on('end', () => resolve({ status: response.statusCode ?? 0, code: JSON.parse(body).code }));
      }),
    );
  }

  static async greeted(port: number, node: string, token = jwt(node)): Promise<Agent> {
    const agent = new Agent(port, token);
    await once(agent.socket, 'open');
    agent.hello(node);
    await agent.until((message) => message.type === 'welcome');
    return agent;
  }

  send(message: unknown): void {
    this.socket.send(JSON.stringify(message));
  }

  hello(node: string, more: object = {}): void {
    this.send({
      type: 'hello',
      node,
      version: '1',
      bootId: 'b',
      stream: 'run-1',
      acknowledged: 0,
      clock: Date.now(),
      startedAt: Date.now(),
      capabilities: [],
      ...more,
    });
  }

  async until(fits: (message: { type: string; code?: string; changes?: number }) => boolean, timeoutMs = 20_000): Promise<{ type: string; code?: string }> {
    const end = performance.now() + timeoutMs;
    for (;;) {
      const found = this.received.find(fits);
      if (found !== undefined) return found;
      if (performance.now() > end) throw new Error(`it did not come: ${JSON.stringify(this.received.slice(-5))}`);
      await sleep(5);
    }
  }
}

/** An honest agent that tells a change again and again, each after the one before was acknowledged. */
class Honest {
  readonly #agent: Agent;
  readonly #node: string;
  #seq = 0;
  #going = true;
  readonly #done: Promise<void>;

  private constructor(agent: Agent, node: string) {
    this.#agent = agent;
    this.#node = node;
    this.#done = this.#tell();
  }

  static async start(port: number, node: string): Promise<Honest> {
    return new Honest(await Agent.greeted(port, node), node);
  }

  async #tell(): Promise<void> {
    while (this.#going) {
      const seq = ++this.#seq;
      this.#agent.send({ type: 'changes', after: seq - 1, changes: [changeOf(seq, { node: this.#node })] });
      await this.#agent.until((message) => message.type === 'ack' && message.changes === seq);
      this.#agent.received.length = 0;
    }
  }

  /** Resolves with how many changes were acknowledged; rejects when one was not, within 20 s. */
  async stop(): Promise<number> {
    this.#going = false;
    await this.#done;
    this.#agent.socket.close();
    return this.#seq;
  }
}

const fact = (more: object) => ({ kind: 'sysctl', key: 'sysctl/a', name: 'a', value: '1', ...more });
const stateOf = (put: readonly object[]) => ({ type: 'state', seq: 1, full: true, more: false, at: 1, put, delete: [] });
const nested = (depth: number): string => `{"type":"traced","id":"x","result":${'['.repeat(depth)}${']'.repeat(depth)}}`;
const bomb = (bytes: number): Buffer => zstdCompressSync(Buffer.alloc(bytes, 32));
const windowed = (): Buffer =>
  zstdCompressSync(Buffer.alloc(2 ** 25, 32), { params: { [constants.ZSTD_c_windowLog]: 25, [constants.ZSTD_c_enableLongDistanceMatching]: 1 } });

/** What an agent that was let in for node1 tries, and by which error it ends. */
const attempts: Readonly<Record<string, { readonly act: (agent: Agent) => void; readonly ends: string | number }>> = {
  'another node in the change': { act: (agent) => agent.send({ type: 'changes', changes: [changeOf(1, { node: 'honest' })] }), ends: 'NODE_FOREIGN' },
  'a second hello': { act: (agent) => agent.hello('node1'), ends: 'FRAME_INVALID' },
  'a replayed frame': {
    act: (agent) => {
      for (let i = 0; i < 2; i++) agent.send({ type: 'changes', after: 0, changes: [changeOf(1, { node: 'node1' })] });
    },
    ends: 'FRAME_INVALID',
  },
  'a replayed state': {
    act: (agent) => {
      for (let i = 0; i < 2; i++) agent.send(stateOf([fact({})]));
    },
    ends: 'FRAME_INVALID',
  },
  'an oversized frame': { act: (agent) => agent.socket.send('x'.repeat(limits.frameBytesMax + 1)), ends: 1009 },
  'a nested message': { act: (agent) => agent.socket.send(nested(100_000)), ends: 'FRAME_INVALID' },
  'a message one deeper than the limit': { act: (agent) => agent.socket.send(nested(limits.messageDepthMax)), ends: 'FRAME_INVALID' },
  'a compressed bomb': { act: (agent) => agent.socket.send(bomb(1024 ** 3 / 4)), ends: 'FRAME_TOO_LARGE' },
  'a compressed frame with a huge window': { act: (agent) => agent.socket.send(windowed()), ends: 'FRAME_INVALID' },
  'a compressed frame cut in half': { act: (agent) => agent.socket.send(bomb(1_000_000).subarray(0, 20)), ends: 'FRAME_INVALID' },
  'one message in fragments without end': {
    act: ({ socket }) => {
      for (let i = 0; i < 20_000; i++) socket.send('x', { fin: false });
    },
    ends: 1008,
  },
  'a time that nobody can tell': {
    act: (agent) => agent.send({ type: 'changes', changes: [changeOf(1, { node: 'node1', at: 1e300 })] }),
    ends: 'FRAME_INVALID',
  },
  'a fact with a prototype for a kind': { act: (agent) => agent.send({ type: '__proto__' }), ends: 'FRAME_INVALID' },
  'streams without end': {
    act: (agent) => {
      for (let i = 0; i <= limits.streamsOfSessionMax; i++) agent.send({ type: 'changes', changes: [changeOf(1, { node: 'node1', stream: `s${i}` })] });
    },
    ends: 'FRAME_INVALID',
  },
  'pings without end': {
    act: ({ socket }) => {
      for (let i = 0; i < 1_000; i++) socket.ping('x'.repeat(100));
    },
    ends: 'PINGS_TOO_MANY',
  },
};

t.test('each attempt ends that connection by a named error, and honest agents are served meanwhile', async (t) => {
  const { port, store } = await collectorOf(t);
  const honest = await Honest.start(port, 'honest');
  for (const [name, { act, ends }] of Object.entries(attempts)) {
    const agent = await Agent.greeted(port, 'node1');
    act(agent);
    if (typeof ends === 'string') t.match(await agent.until(({ type }) => type === 'error'), { code: ends }, name);
    t.equal(await agent.closed, typeof ends === 'number' ? ends : 4400, `${name}: closed`);
  }
  const served = await honest.stop();
  t.equal(
    (await store.changes({ node: 'honest', limit: 100_000 })).items.length,
    served,
    'all that was acknowledged is stored, and nothing that others said of it',
  );
  t.comment(`${Object.keys(attempts).length} attempts; ${served} changes of an honest agent meanwhile`);
});

t.test('keys of prototypes are keys like others', async (t) => {
  const { port, state } = await collectorOf(t);
  const agent = await Agent.greeted(port, '__proto__');
  const put = ['__proto__', 'constructor', 'toString'].map((key) =>
    JSON.stringify(fact({ key, name: key })).replace(/}$/, ',"__proto__":{"polluted":true},"constructor":1}'),
  );
  agent.socket.send(JSON.stringify(stateOf([])).replace('"put":[]', `"put":[${put.join(',')}]`));
  await agent.until(({ type }) => type === 'ack');
  t.equal(({} as { polluted?: boolean }).polluted, undefined);
  t.strictSame([...(state.node('__proto__')?.facts.keys() ?? [])], ['__proto__', 'constructor', 'toString']);
  agent.socket.close();
});

t.test('tokens: of another node, for another audience, expired, expiring on an open socket', async (t) => {
  const { port, audited } = await collectorOf(t);
  t.strictSame(await new Agent(port, jwt('node1', 60_000, 'https://kubernetes.default.svc')).refused, { status: 401, code: 'CREDENTIAL_REFUSED' });
  t.strictSame(await new Agent(port, jwt('node1', -1_000)).refused, { status: 401, code: 'CREDENTIAL_REFUSED' });
  const thief = new Agent(port, jwt('node2'));
  await once(thief.socket, 'open');
  thief.hello('node1');
  t.match(await thief.until(({ type }) => type === 'error'), { code: 'NODE_FOREIGN' });
  const short = await Agent.greeted(port, 'node1', jwt('node1', 1_500));
  t.match(await short.until(({ type }) => type === 'error'), { code: 'CREDENTIAL_EXPIRED' });
  t.equal(await short.closed, 4400);
  for (let i = 0; i < 60; i++) await new Agent(port, jwt('node1', -1_000)).refused;
  t.ok(audited.length < 40, `who knocks without end fills no audit log: ${audited.length} records`);
});

function open(port: number, count: number): Promise<Socket[]> {
  return Promise.all(
    Array.from(
      { length: count },
      () =>
        new Promise<Socket>((resolve) => {
          const socket = connect(port, '127.0.0.1');
          socket.on('error', () => resolve(socket)).once('connect', () => resolve(socket));
        }),
    ),
  );
}

t.test('half-open connections, trickling headers and connections without a hello keep nobody out', async (t) => {
  const { port, connections, server } = await collectorOf(t);
  const honest = await Honest.start(port, 'honest');
  const sockets: Socket[] = [];
  for (let i = 0; i < 10; i++) {
    sockets.push(...(await open(port, 1_000)));
    for (const socket of sockets.slice(-500)) if (socket.writable) socket.write('GET /agent HTTP/1.1\r\nX: ');
  }
  t.ok(connections.cut > 0, `${connections.cut} of 10,000 were cut to make room`);
  const open1 = await new Promise<number>((resolve) => server.getConnections((_error, count) => resolve(count)));
  t.ok(open1 <= limits.unknownConnectionsOfAddressMax + 10, `${open1} are open`);
  const late = await Agent.greeted(port, 'late');
  for (const socket of sockets) socket.destroy();
  const silent: Agent[] = [];
  for (let i = 0; i < 40; i++) silent.push(new Agent(port, jwt('silent')));
  // Which of them came first, the order of their admission decides.
  const refused = Promise.any(silent.map((each) => each.until((message) => message.type === 'error' && message.code === 'CONNECTIONS_TOO_MANY')));
  t.match(await refused, { code: 'CONNECTIONS_TOO_MANY' });
  t.ok((await honest.stop()) > 0);
  late.socket.close();
  for (const { socket } of silent) socket.terminate();
});

t.test('an agent that floods waits its turn', async (t) => {
  const { port } = await collectorOf(t);
  const honest = await Honest.start(port, 'honest');
  const flood = await Agent.greeted(port, 'flood');
  const put = Array.from({ length: limits.stateFactsMax }, (_, i) => fact({ key: `sysctl/${i}`, value: 'x'.repeat(1_500) }));
  const frames = Array.from({ length: 18 }, (_, i) => JSON.stringify({ ...stateOf(put), seq: i + 1 }));
  for (const frame of frames) flood.socket.send(frame);
  await flood.until(({ type, ...ack }) => type === 'ack' && (ack as { state?: number }).state === frames.length, 120_000);
  t.ok((await honest.stop()) > 0, 'both are served');
  flood.socket.close();
});

t.test('changes without end are stored piece by piece, and all that is acknowledged is stored', async (t) => {
  const { port, store } = await collectorOf(t);
  const honest = await Honest.start(port, 'honest');
  const flood = await Agent.greeted(port, 'flood');
  const batches = Math.ceil((1.2 * limits.sessionBurstMs) / (limits.sessionMsPerChange * limits.changesBatchMax));
  const last = batches * limits.changesBatchMax;
  for (let at = 0; at < last; at += limits.changesBatchMax) {
    const changes = Array.from({ length: limits.changesBatchMax }, (_, i) => changeOf(at + i + 1, { node: 'flood' }));
    flood.send({ type: 'changes', after: at, changes });
  }
  await flood.until(({ type, changes }) => type === 'ack' && changes === last, 120_000);
  t.equal(await store.lastSeq('flood', 'run-1'), last);
  let stored = 0;
  for (let cursor: string | undefined = ''; cursor !== undefined; ) {
    const page: Awaited<ReturnType<typeof store.changes>> = await store.changes({ node: 'flood', limit: 1_000, ...(cursor === '' ? {} : { cursor }) });
    stored += page.items.length;
    cursor = page.next;
  }
  t.equal(stored, last, 'each once');
  t.ok((await honest.stop()) > 0, 'both are served');
  flood.socket.close();
});

const nodeOf = (name: string, more: Partial<Node> = {}): Node => ({
  name,
  uid: `uid of ${name}`,
  addresses: [],
  podCIDRs: [],
  labels: {},
  unschedulable: false,
  ready: true,
  taints: [],
  ...more,
});

t.test('an agent that never reads is cut off when too much waits for it', async (t) => {
  const { port, state, warned } = await collectorOf(t);
  const honest = await Honest.start(port, 'honest');
  const deaf = await Agent.greeted(port, 'deaf');
  deaf.socket.pause();
  // What it is asked to judge changes with the cluster's networks, and is as large as a frame allows.
  const networks = (round: number): string[] =>
    Array.from({ length: 15_000 }, (_, i) => `2001:db8:${round.toString(16)}:${i.toString(16)}:1111:2222:3333:0/112`);
  let rounds = 0;
  for (; rounds < 60 && !warned.some((text) => text.includes('does not read')); rounds++) {
    state.setObjects({ ...state.objects, nodes: new Map([['other', nodeOf('other', { podCIDRs: networks(rounds) })]]) });
    await sleep(20);
  }
  t.ok(warned.includes('an agent does not read what it is sent: the connection is cut'), `after ${rounds} frames`);
  deaf.socket.resume();
  t.equal(await deaf.closed, 1006, 'cut');
  t.ok((await honest.stop()) > 0, 'who reads is served');
});

t.test('an agent whose segments hold one byte each is served like others, and keeps nobody waiting', async (t) => {
  const { port } = await collectorOf(t);
  const honest = await Honest.start(port, 'honest');
  let segments = 0;
  const splitting = createServer({ noDelay: true }, (client) => {
    const onward = connect({ port, host: '127.0.0.1', noDelay: true });
    client.on('error', () => {}).on('close', () => onward.destroy());
    onward.on('error', () => {}).on('close', () => client.destroy());
    onward.pipe(client);
    client.on('data', (content) => {
      segments += content.length;
      for (const byte of content) onward.write(Buffer.of(byte));
    });
  });
  splitting.listen(0, '127.0.0.1');
  await once(splitting, 'listening');
  t.teardown(() => splitting.close());
  const slow = await Agent.greeted((splitting.address() as { port: number }).port, 'slow');
  slow.send({ type: 'changes', after: 0, changes: Array.from({ length: limits.changesBatchMax }, (_, i) => changeOf(i + 1, { node: 'slow' })) });
  await slow.until(({ type, changes }) => type === 'ack' && changes === limits.changesBatchMax, 60_000);
  t.ok(segments > 10_000, `${segments} segments`);
  t.ok((await honest.stop()) > 0, 'others are served meanwhile');
  slow.socket.close();
});

t.test('a token that names a node by its UID speaks for no other node of that name', async (t) => {
  const { port, state, audited } = await collectorOf(t);
  const token = (nodeUid: string): string => jwtOf({ exp: Date.now() / 1_000 + 3_600, aud: audience, name: 'node1', nodeUid });
  const before = await Agent.greeted(port, 'node1', token('whatever'));
  t.pass('where the cluster does not show the node, its name has to do');
  before.socket.close();
  state.setObjects({ ...state.objects, nodes: new Map([['node1', nodeOf('node1', { uid: 'new' })]]) });
  const old = new Agent(port, token('old'));
  await once(old.socket, 'open');
  // What it says of itself proves nothing.
  old.hello('node1', { nodeUid: 'new' });
  t.match(await old.until(({ type }) => type === 'error'), { code: 'NODE_FOREIGN' });
  t.equal(await old.closed, 4400);
  t.ok(
    audited.some(({ who, outcome }) => who === 'node:node1' && outcome === 'refused'),
    'audited',
  );
  const own = await Agent.greeted(port, 'node1', token('new'));
  t.pass('the node of that UID is welcome');
  own.socket.close();
});
