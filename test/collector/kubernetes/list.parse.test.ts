// A list cut into its items gives what JSON.parse of the whole would give, wherever the chunks end.
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { LineSplitter } from '../../../collector/kubernetes/lines.parse.ts';
import { ListSplitter } from '../../../collector/kubernetes/list.parse.ts';

const chunksOf = (text: string, sizes: readonly number[]): Buffer[] => {
  const bytes = Buffer.from(text);
  const chunks: Buffer[] = [];
  for (let at = 0, index = 0; at < bytes.length; index++) {
    const size = sizes.length === 0 ? bytes.length : (sizes[index % sizes.length] as number);
    chunks.push(bytes.subarray(at, at + size));
    at += size;
  }
  return chunks;
};

function split(text: string, sizes: readonly number[] = []) {
  const splitter = new ListSplitter(1_000_000);
  const items = chunksOf(text, sizes).flatMap((chunk) => splitter.push(chunk));
  return { items: items.map((item) => JSON.parse(item) as unknown), envelope: splitter.end() };
}

const value = fc.letrec((tie) => ({
  any: fc.oneof(
    { maxDepth: 4 },
    fc.string({ unit: 'binary' }),
    fc.constantFrom('items', '"', '\\', '\\"', '[', '}', 'ü€𝒳', '":['),
    fc.integer(),
    fc.constantFrom(null, true, {}, []),
    fc.array(tie('any'), { maxLength: 3 }),
    fc.dictionary(fc.constantFrom('items', 'metadata', 'a"b', 'x', 'kind'), tie('any'), { maxKeys: 3 }),
  ),
})).any;
const item = fc.dictionary(fc.constantFrom('items', 'metadata', 'spec', 'q"', '\\'), value, { maxKeys: 4 });

t.test('any items, any order of fields, any cuts', (t) => {
  fc.assert(
    fc.property(
      fc.record({
        items: fc.array(item, { maxLength: 5 }),
        extra: fc.dictionary(fc.constantFrom('x', 'extra', 'apiVersion'), value, { maxKeys: 2 }),
        sizes: fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 4 }),
        last: fc.boolean(),
      }),
      ({ items, extra, sizes, last }) => {
        const metadata = { resourceVersion: '77', continue: 'next', labels: { items: ['no'] } };
        const list = last ? { kind: 'PodList', metadata, ...extra, items } : { items, ...extra, metadata, kind: 'PodList' };
        const found = split(JSON.stringify(list), sizes);
        assert.deepEqual(found.items, JSON.parse(JSON.stringify(items)));
        return found.envelope.kind === 'PodList' && found.envelope.resourceVersion === '77' && found.envelope.next === 'next';
      },
    ),
    { numRuns: 300 },
  );
  t.end();
});

const cases: readonly { readonly name: string; readonly text: string; readonly items: number; readonly kind: string }[] = [
  { name: 'an empty list', text: '{"kind":"PodList","metadata":{"resourceVersion":"5"},"items":[]}', items: 0, kind: 'PodList' },
  { name: 'items that are null', text: '{"kind":"PodList","items":null}', items: 0, kind: 'PodList' },
  { name: 'no items', text: '{"kind":"Status","status":"Failure"}', items: 0, kind: 'Status' },
  { name: 'white space', text: ' {\n "items" : [ {"a": 1} ,\n{"b":[2]} ] , "kind" : "PodList" }\n', items: 2, kind: 'PodList' },
  { name: 'elements that are no objects are left out', text: '{"items":[1,"x",null,{"a":1}],"kind":"PodList"}', items: 1, kind: 'PodList' },
  { name: 'items elsewhere are not those', text: '{"metadata":{"items":[{"a":1}]},"kind":"PodList","items":[{"b":1}]}', items: 1, kind: 'PodList' },
];
for (const { name, text, items, kind } of cases) {
  t.test(name, (t) => {
    for (const sizes of [[], [1], [3, 2]]) {
      const found = split(text, sizes);
      t.equal(found.items.length, items);
      t.equal(found.envelope.kind, kind);
    }
    t.end();
  });
}

t.test('what is cut off, or no list at all, is refused', (t) => {
  const text = '{"kind":"PodList","metadata":{},"items":[{"a":1},{"b":2}]}';
  for (let length = 1; length < text.length; length++) t.throws(() => split(text.slice(0, length)), `${length} bytes`);
  t.throws(() => split('<html>'.repeat(10)), 'a page of a proxy');
  t.throws(() => split(`{"kind":"${'x'.repeat(2_000_000)}"}`), /no list/);
  t.end();
});

t.test('an object may be as long as the limit, and no longer', (t) => {
  const list = (bytes: number): string => `{"items":[{"a":"${'x'.repeat(bytes - 8)}"}],"kind":"PodList"}`;
  const push = (bytes: number): number => {
    const splitter = new ListSplitter(1_000);
    return chunksOf(list(bytes), [100]).flatMap((chunk) => splitter.push(chunk)).length;
  };
  t.equal(push(1_000), 1);
  t.throws(() => push(1_200), /more than 1000 bytes/);
  t.end();
});

t.test('lines, wherever the chunks end', (t) => {
  fc.assert(
    fc.property(fc.array(fc.stringMatching(/^[^\n\r\s]+$/), { maxLength: 6 }), fc.array(fc.integer({ min: 1, max: 9 }), { maxLength: 3 }), (lines, sizes) => {
      const splitter = new LineSplitter(10_000);
      const found = chunksOf(`${lines.join('\n')}\n\nhalf a li`, sizes).flatMap((chunk) => splitter.push(chunk));
      assert.deepEqual(found, lines);
    }),
  );
  const splitter = new LineSplitter(10);
  t.strictSame(splitter.push(Buffer.from('0123456789')), []);
  t.throws(() => splitter.push(Buffer.from('x')), /more than 10 bytes/);
  t.end();
});
