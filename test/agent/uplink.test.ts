import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { openDisk } from '../../agent/host/disk.ts';
import { type OpenedSpool, Spool } from '../../agent/spool/spool.ts';
import { collectorUrl, Uplink, type UplinkOptions } from '../../agent/uplink.ts';
import type { Change } from '../../shared/model/change.ts';
import { Peer } from './peer.ts';

const change = (text: string): Change => ({ at: 1, node: 'n1', kind: 'rule', subject: 'ip filter FORWARD', before: null, after: text });

function connect(collector: string, more: Partial<UplinkOptions> = {}): Uplink {
  return new Uplink({
    collector,
    begunAt: 0,
    identity: { node: 'n1', version: '1', bootId: 'b', stream: 'stream-1', startedAt: 1, capabilities: [] },
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

async function openSpool(directory: string, stream: string): Promise<OpenedSpool> {
  return Spool.open(await openDisk(directory), { run: { stream, startedAt: 1 }, node: 'n1', now: Date.now, onNotice: () => {} });
}

const identityOf = (stream: string) => ({ node: 'n1', version: '1', bootId: 'b', stream, startedAt: 1, capabilities: [] });

t.test('changes that nobody took outlive the agent', async (t) => {
  const directory = join(t.testdir({}), 'state');
  const peer = await Peer.start();
  await peer.close();
  const spool = await openSpool(directory, 'first');
  const ended = connect(peer.url, { spool, identity: identityOf('first') });
  put(ended, 'a', 'b');
  await spool.spool.close();
  await ended.close();
  t.match(readdirSync(directory), [/^spool-\d+\.log$/]);

  const again = await openSpool(directory, 'second');
  t.match(again.earlier, [{ stream: 'first' }]);
  const next = await Peer.start({ port: peer.port });
  const uplink = connect(next.url, { spool: again, identity: identityOf('second') });
  t.teardown(async () => {
    await uplink.close();
    await next.close();
  });
  put(uplink, 'c');
  await next.wait(() => (uplink.unacknowledged === 0 && next.changes.length === 3) || undefined);
  t.match(
    next.changes.map(({ stream, seq, after }) => [stream, seq, after]),
    [
      ['first', 1, 'a'],
      ['first', 2, 'b'],
      ['second', 1, 'c'],
    ],
  );
  await again.spool.close();
  t.strictSame(readdirSync(directory), [], 'nothing is left on disk');
  put(uplink, 'd');
  await next.wait(() => next.changes.length === 4 || undefined);
  t.strictSame(readdirSync(directory), [], 'nothing is written while connected');
});

t.test('far more changes than memory holds wait on disk and come in order', async (t) => {
  const directory = join(t.testdir({}), 'state');
  const peer = await Peer.start();
  await peer.close();
  const spool = await openSpool(directory, 'stream-1');
  const uplink = connect(peer.url, { spool });
  for (let batch = 0; batch < 60; batch++) {
    put(uplink, ...Array.from({ length: 50 }, (_, i) => `${batch * 50 + i}`));
    if (batch % 10 === 9) await spool.spool.close();
  }
  await spool.spool.close();
  t.ok(uplink.unacknowledged <= 1_000, `${uplink.unacknowledged} in memory`);
  const next = await Peer.start({ port: peer.port });
  t.teardown(async () => {
    await uplink.close();
    await next.close();
  });
  await next.wait(() => next.changes.length >= 3_000 || undefined, 10_000);
  t.strictSame(
    next.changes.map(({ seq }) => seq),
    Array.from({ length: 3_000 }, (_, i) => i + 1),
  );
  await next.wait(() => uplink.unacknowledged === 0 || undefined);
  await spool.spool.close();
  t.strictSame(readdirSync(directory), []);
});

t.test('a collector that has no room says when to come back', async (t) => {
  const { createServer } = await import('node:http');
  const asked: number[] = [];
  const server = createServer().on('upgrade', (_request, socket) => {
    asked.push(performance.now());
    // The one who is turned away may be gone before it has read why: its reset is no failure of this test.
    socket.on('error', () => socket.destroy());
    socket.end('HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  const uplink = connect(`ws://127.0.0.1:${port}`);
  t.teardown(async () => {
    await uplink.close();
    await new Promise((resolve) => server.close(resolve));
  });
  while (asked.length < 2) await new Promise((resolve) => setTimeout(resolve, 50));
  t.ok((asked[1] as number) - (asked[0] as number) >= 950, 'not before the time');
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
