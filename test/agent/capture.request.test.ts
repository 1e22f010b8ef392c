// Captures on request: one at a time, not again at once, and not larger than what can be sent.
import { randomBytes } from 'node:crypto';
import { gunzipSync } from 'node:zlib';
import t from 'tap';
import { CaptureRequests } from '../../agent/capture.request.ts';
import type { ReadCapture } from '../../agent/capture.ts';
import { filesOfArchive } from '../../shared/archive.ts';
import { limits } from '../../shared/limits.ts';

const read = (content: Buffer): ReadCapture => ({
  files: new Map([['ss.txt', content]]),
  manifest: { node: 'n1', time: '2026-01-01T00:00:00.000Z', versions: {}, commands: {}, sources: [] },
});

t.test('packed', async (t) => {
  const made = await new CaptureRequests(async () => read(Buffer.from('tcp LISTEN\n'))).make();
  t.strictSame('archive' in made && filesOfArchive(gunzipSync(made.archive))?.get('ss.txt')?.toString(), 'tcp LISTEN\n');
});

t.test('one at a time, and not again at once', async (t) => {
  let now = 0;
  const { promise, resolve } = Promise.withResolvers<ReadCapture>();
  const requests = new CaptureRequests(
    () => promise,
    () => now,
  );
  const first = requests.make();
  t.match(await requests.make(), { error: /is making a capture for somebody else/ });
  resolve(read(Buffer.alloc(1)));
  t.match(await first, { archive: Buffer });
  now = limits.captureEveryMs - 1;
  t.match(await requests.make(), { error: /has just made a capture: ask again in 1 s/ });
  now = limits.captureEveryMs;
  t.match(await requests.make(), { archive: Buffer });
});

t.test('what cannot be read or sent', async (t) => {
  t.match(await new CaptureRequests(() => Promise.reject(new Error('no memory'))).make(), { error: 'no memory' });
  t.match(await new CaptureRequests(async () => read(randomBytes(limits.captureBytesMax))).make(), { error: /run "portreeve capture --out DIR" on the node/ });
});
