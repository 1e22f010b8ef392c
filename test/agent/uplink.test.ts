import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { Spool } from '../../agent/host/spool.ts';
import { collectorUrl, Uplink, type UplinkOptions } from '../../agent/uplink.ts';
import type { Change } from '../../shared/model/change.ts';
import { Peer } from './peer.ts';

const change = (text: string): Change => ({ at: 1, node: 'n1', kind: 'rule', subject: 'ip filter FORWARD', before: null, after: text });

function connect(collector: string, more: Partial<UplinkOptions> = {}): Uplink {
  return new Uplink({
    collector,
    identity: { node: 'n1', version: '1', bootId: 'b', stream: 'stream-1', capabilities: [] },
    onWant: () => {},
    onTrace: () => ({ error: 'no' }),
    onNotice: () => {},
    ...more,
  });
}

const put = (uplink: Uplink, ...texts: readonly string[]): void => uplink.take({ kind: 'changes', changes: texts.map(change) });

t.test('plain ws: only to this machine', async (t) => {
  for (const url of ['ws://127.0.0.1:7300', 'ws://localhost:7300/', 'ws://[::1]:7300', 'wss://collector.example:7300'])
    t.equal(collectorUrl(url).pathname, '/agent', url);
  for (const url of ['ws://192.0.2.1:7300', 'ws://127.0.0.1.example.org', 'ws://localhost.example.org', 'ws://[::2]:1'])
    t.throws(() => collectorUrl(url), { code: 'LISTEN_NEEDS_LOOPBACK' }, url);
  for (const url of ['http://127.0.0.1', '127.0.0.1:7300', '']) t.throws(() => collectorUrl(url), { code: 'USAGE' }, url);
});

t.test('changes made while the collector is away come in order, once each', async (t) => {
  const first = await Peer.start();
  const uplink = connect(first.url);
  t.teardown(() => uplink.close());
  put(uplink, 'a', 'b');
  await first.wait(() => first.changes.length === 2 || undefined);
  await first.close();
  put(uplink, 'c', 'd');
  const second = await Peer.start({ port: first.port }, first.stored);
  t.teardown(() => second.close());
  await second.wait(() => second.changes.length === 2 || undefined, 2_500);
  t.strictSame(
    [...first.changes, ...second.changes].map(({ seq, after }) => [seq, after]),
    [
      [1, 'a'],
      [2, 'b'],
      [3, 'c'],
      [4, 'd'],
    ],
  );
  t.match(second.hellos, [{ stream: 'stream-1', acknowledged: 2 }]);
});

t.test('what was stored and not acknowledged is not sent again', async (t) => {
  const first = await Peer.start({ acknowledges: false });
  const uplink = connect(first.url);
  t.teardown(() => uplink.close());
  put(uplink, 'a', 'b', 'c');
  await first.wait(() => first.changes.length === 3 || undefined);
  t.equal(uplink.unacknowledged, 3);
  await first.close();
  const second = await Peer.start({ port: first.port }, first.stored);
  t.teardown(() => second.close());
  await second.wait(() => second.hellos.length > 0 || undefined, 2_500);
  put(uplink, 'd');
  await second.wait(() => second.changes.length > 0 || undefined);
  t.strictSame(
    second.changes.map(({ seq }) => seq),
    [4],
  );
  await second.wait(() => uplink.unacknowledged === 0 || undefined);
});

t.test('changes that nobody took outlive the agent', async (t) => {
  const directory = join(t.testdir({}), 'state');
  const file = join(directory, 'changes.ndjson');
  const peer = await Peer.start();
  await peer.close();
  const first = new Spool(directory);
  const killed = connect(peer.url, { spool: { spool: first, left: first.load() } });
  put(killed, 'a', 'b');
  t.equal(readFileSync(file, 'utf8').split('\n').length, 3, 'written as they came');
  appendFileSync(file, '{"cut');
  await killed.close();

  const second = new Spool(directory);
  const left = second.load();
  t.match(left, [
    { seq: 1, after: 'a' },
    { seq: 2, after: 'b' },
  ]);
  const next = await Peer.start({ port: peer.port });
  const uplink = connect(next.url, { spool: { spool: second, left } });
  t.teardown(async () => {
    await uplink.close();
    await next.close();
  });
  put(uplink, 'c');
  await next.wait(() => (uplink.unacknowledged === 0 && next.changes.length > 0) || undefined);
  t.match(
    next.changes.map(({ seq, after }) => [seq, after]),
    [
      [1, 'a'],
      [2, 'b'],
      [3, 'c'],
    ],
  );
  t.notOk(existsSync(file), 'nothing is left on disk');
  put(uplink, 'd');
  await next.wait(() => next.changes.length === 4 || undefined);
  t.notOk(existsSync(file), 'nothing is written while connected');
});

t.test('connections that are cut again and again lose nothing', async (t) => {
  const peer = await Peer.start();
  const uplink = connect(peer.url);
  t.teardown(async () => {
    await uplink.close();
    await peer.close();
  });
  for (let i = 1; i <= 5; i++) {
    put(uplink, `${i} a`, `${i} b`);
    await peer.wait(() => peer.hellos.length >= i || undefined);
    peer.cut();
  }
  await peer.wait(() => peer.changes.length >= 10 || undefined, 10_000);
  t.strictSame(
    peer.changes.map(({ seq }) => seq),
    Array.from({ length: 10 }, (_, i) => i + 1),
  );
});

t.test('a full state after each connection', async (t) => {
  const peer = await Peer.start();
  const uplink = connect(peer.url);
  t.teardown(async () => {
    await uplink.close();
    await peer.close();
  });
  uplink.take({ kind: 'facts', facts: new Map([['sysctl/a', { kind: 'sysctl', key: 'sysctl/a', name: 'a', value: '1' }]]), at: 1 });
  await peer.wait(() => peer.facts.get('sysctl/a'));
  peer.facts.clear();
  peer.cut();
  t.match(await peer.wait(() => peer.facts.get('sysctl/a'), 3_000), { value: '1' });
  t.match(
    peer.messages.filter(({ type }) => type === 'state'),
    [{ full: true }, { full: true }],
  );
});

t.test('a collector that does not answer heartbeats is left', async (t) => {
  const peer = await Peer.start({ onHello: (_hello, socket) => socket.pause() });
  const notices: string[] = [];
  const uplink = connect(peer.url, { heartbeatMs: 50, onNotice: (text, details) => notices.push(`${text} ${details.reason ?? ''}`) });
  t.teardown(async () => {
    await uplink.close();
    await peer.close();
  });
  await peer.wait(() => peer.hellos.length >= 2 || undefined, 4_000);
  t.ok(notices.includes('cutting the connection a heartbeat was not answered'), notices.join('\n'));
});

const garbage = [
  'not json',
  '[]',
  '{"type":"no-such"}',
  '{"type":"ack","changes":-1,"state":0}',
  '{"type":"ack","changes":99,"state":0}',
  `{"type":"want","nodePorts":[],"peers":["${'1'.repeat(46)}"],"podNetworks":[]}`,
];
for (const frame of garbage) {
  t.test(`a frame that is wrong: ${frame.slice(0, 50)}`, async (t) => {
    const peer = await Peer.start();
    const uplink = connect(peer.url);
    t.teardown(async () => {
      await uplink.close();
      await peer.close();
    });
    await peer.wait(() => peer.hellos.length > 0 || undefined);
    peer.sendRaw(frame);
    await peer.wait(() => peer.messages.find((message) => message.type === 'error' && message.code === 'FRAME_INVALID'));
    await peer.wait(() => peer.hellos.length > 1 || undefined, 3_000);
    put(uplink, 'after');
    await peer.wait(() => peer.changes.length === 1 || undefined);
  });
}

t.test('a frame over the limit', async (t) => {
  const peer = await Peer.start();
  const uplink = connect(peer.url);
  t.teardown(async () => {
    await uplink.close();
    await peer.close();
  });
  await peer.wait(() => peer.hellos.length > 0 || undefined);
  peer.sendRaw(`"${'x'.repeat(1024 * 1024)}"`);
  await peer.wait(() => peer.hellos.length > 1 || undefined, 3_000);
});

t.test('the token is read at each connection', async (t) => {
  const tokens: (string | undefined)[] = [];
  const file = join(t.testdir({ token: 'first\n' }), 'token');
  const peer = await Peer.start();
  peer.onRequest((authorization) => tokens.push(authorization));
  const uplink = connect(peer.url, { tokenFile: file });
  t.teardown(async () => {
    await uplink.close();
    await peer.close();
  });
  await peer.wait(() => peer.hellos.length > 0 || undefined);
  writeFileSync(file, 'second');
  peer.cut();
  await peer.wait(() => peer.hellos.length > 1 || undefined);
  t.strictSame(tokens, ['Bearer first', 'Bearer second']);
});

t.test('closing while nobody listens', async (t) => {
  const peer = await Peer.start();
  await peer.close();
  const uplink = connect(peer.url);
  await new Promise((resolve) => setTimeout(resolve, 100));
  await uplink.close();
  t.pass('close has returned');
});
