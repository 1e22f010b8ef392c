import { zstdCompressSync } from 'node:zlib';
import t from 'tap';
import { limits } from '../../../shared/limits.ts';
import { decodeFromAgent, decodeFromCollector, encode } from '../../../shared/wire/codec.ts';
import { textOfFact } from '../../../shared/wire/fact.text.ts';
import type { AgentMessage, Want } from '../../../shared/wire/messages.ts';

const error = (message: string): AgentMessage => ({ type: 'error', code: 'X', message });
const want = (peers: number): Want => ({ type: 'want', nodePorts: [], peers: Array.from({ length: peers }, (_, i) => `192.0.2.${i % 256}`), podNetworks: [] });

t.test('plain text to a peer that reads nothing else, and for what is small', async (t) => {
  t.type(encode(want(2_000)), 'string');
  t.type(encode(want(1), ['zstd']), 'string');
  t.strictSame(decodeFromCollector(encode(want(3))), { kind: 'message', message: want(3), size: JSON.stringify(want(3)).length });
});

t.test('what is large is compressed for a peer that reads it', async (t) => {
  const frame = encode(want(20_000), ['trace', 'zstd']) as Buffer;
  t.ok(Buffer.isBuffer(frame) && frame.length < 20_000, `${frame.length} bytes`);
  t.strictSame(
    decodeFromCollector(frame, 'binary'),
    { kind: 'message', message: want(20_000), size: JSON.stringify(want(20_000)).length },
    'the size is that of the text',
  );
});

t.test('limits: of a frame, and of a message before compression', async (t) => {
  const text = (bytes: number): AgentMessage => ({
    type: 'traced',
    id: 'x',
    result: 'y'.repeat(bytes - JSON.stringify({ type: 'traced', id: 'x', result: '' }).length),
  });
  t.type(encode(text(limits.frameBytesMax)), 'string');
  t.throws(() => encode(text(limits.frameBytesMax + 1)), { code: 'FRAME_TOO_LARGE' });
  t.ok(Buffer.isBuffer(encode(text(limits.messageBytesMax), ['zstd'])));
  t.throws(() => encode(text(limits.messageBytesMax + 1), ['zstd']), { code: 'FRAME_TOO_LARGE' });
  t.match(decodeFromAgent('x'.repeat(limits.frameBytesMax + 1)), { kind: 'malformed', error: { code: 'FRAME_TOO_LARGE' } });
});

t.test('a frame that stands for gigabytes is not unpacked', async (t) => {
  const bomb = zstdCompressSync(Buffer.alloc(256 * 1024 * 1024, 32));
  t.ok(bomb.length < limits.frameBytesMax);
  const before = process.memoryUsage().rss;
  t.match(decodeFromAgent(bomb, 'binary'), { kind: 'malformed', error: { code: 'FRAME_TOO_LARGE' } });
  t.ok(process.memoryUsage().rss - before < 64 * 1024 * 1024);
});

t.test('what is no frame', async (t) => {
  for (const [frame, form] of [
    [Buffer.from('{}'), 'binary'],
    [Buffer.alloc(0), 'binary'],
    [zstdCompressSync(JSON.stringify(error('x'))).subarray(0, 12), 'binary'],
    ['{"type":"__proto__"}', 'text'],
    ['{"type":"constructor"}', 'text'],
    [`${'['.repeat(100_000)}`, 'text'],
  ] as const)
    t.match(decodeFromAgent(frame, form), { kind: 'malformed' }, String(frame).slice(0, 20));
  t.match(decodeFromAgent(zstdCompressSync(JSON.stringify(error('x'))), 'binary'), { kind: 'message' });
});

t.test('a state is written as any message is, whether or not its facts were written out before', async (t) => {
  const fact = { kind: 'sysctl' as const, key: 'sysctl/net.ipv4.ip_forward', name: 'net.ipv4.ip_forward', value: '1' };
  const other = { ...fact, key: 'sysctl/ü"', name: 'ü"' };
  textOfFact(fact);
  for (const put of [[], [fact], [fact, other, fact]]) {
    const message = { type: 'state' as const, seq: 7, full: false, more: true, at: 5, put, delete: ['listener/x'] };
    t.strictSame(JSON.parse(encode(message) as string), message);
    t.strictSame(decodeFromAgent(encode(message)), { kind: 'message', message, size: JSON.stringify(message).length });
  }
});
