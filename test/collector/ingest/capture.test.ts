// The parts of a capture: in order, within the limit, or not at all.
import t from 'tap';
import { Parts } from '../../../collector/ingest/capture.ts';
import { limits } from '../../../shared/limits.ts';
import type { Captured } from '../../../shared/wire/messages.ts';

const part = (number: number, content: Buffer, last = false): Captured => ({
  type: 'captured',
  id: 'c',
  part: number,
  last,
  content: content.toString('base64'),
});
function collected(...messages: readonly Captured[]): Buffer | string | undefined {
  let made: Buffer | string | undefined;
  const parts = new Parts((given) => {
    made ??= given;
  });
  for (const message of messages) parts.take(message);
  return made;
}

t.test('the whole', async (t) => {
  t.strictSame(collected(part(0, Buffer.from('ab')), part(1, Buffer.from('c'), true)), Buffer.from('abc'));
  t.equal(collected(part(0, Buffer.from('ab'))), undefined, 'not whole yet');
});

t.test('why there is none', async (t) => {
  t.equal(collected({ type: 'captured', id: 'c', part: 0, last: true, error: 'it is too large' }), 'it is too large');
  t.equal(collected(part(1, Buffer.from('c'), true)), 'part 1 of the capture came where part 0 was due');
});

t.test('limit − 1, limit, limit + 1', async (t) => {
  const half = Buffer.alloc(limits.captureBytesMax / 2);
  for (const more of [-1, 0, 1]) {
    const made = collected(part(0, half), part(1, Buffer.alloc(half.length + more), true));
    t.equal(more > 0 ? made : (made as Buffer).length, more > 0 ? `the capture has more than ${limits.captureBytesMax} bytes` : limits.captureBytesMax + more);
  }
});
