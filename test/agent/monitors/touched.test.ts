import t from 'tap';
import { readNftLine } from '../../../agent/monitors/nft.parse.ts';
import { addTouched, nothingTouched, type Touched, touch, touchedNames } from '../../../agent/monitors/touched.ts';

function gathered(...lines: readonly string[]): Touched {
  const touched = nothingTouched();
  for (const line of lines) touch(touched, readNftLine(line));
  return touched;
}
const objectOf = (touched: Touched, table: string, name: string) => touched.tables.get(table)?.objects.get(name);

const cases = [
  { name: 'a rule', lines: ['add rule ip filter A handle 1 drop'], expected: { kind: 'chain', gone: undefined, announced: false } },
  {
    name: 'a new chain',
    lines: ['create chain ip filter A', 'add rule ip filter A handle 1 drop'],
    expected: { kind: 'chain', gone: false, announced: false },
  },
  { name: 'a policy', lines: ['add chain ip filter A { type filter hook input priority filter; policy drop; }'], expected: { gone: false, announced: true } },
  {
    name: 'a chain that is deleted before its rules are told of',
    lines: ['delete chain ip filter A', 'delete rule ip filter A handle 1'],
    expected: { gone: true },
  },
  {
    name: 'a chain that is made anew',
    lines: ['delete chain ip filter A', 'create chain ip filter A', 'add rule ip filter A handle 2'],
    expected: { gone: false, announced: false },
  },
  { name: 'a chain that was announced and is gone', lines: ['add chain ip filter A', 'delete chain ip filter A'], expected: { gone: true, announced: false } },
  { name: 'a map and its elements', lines: ['add map ip filter A { }', 'elements ip filter A +1 -0'], expected: { kind: 'map', gone: false } },
  { name: 'elements alone', lines: ['elements ip filter A +1 -0'], expected: { kind: 'elements', gone: undefined } },
  { name: 'the same rules', lines: ['same rules ip filter A 3', 'same rules ip filter A 3'], expected: { same: 3 } },
  { name: 'the same rules of another number', lines: ['same rules ip filter A 3', 'same rules ip filter A 2'], expected: { same: undefined } },
  { name: 'the same rules, and one more', lines: ['same rules ip filter A 3', 'add rule ip filter A handle 9'], expected: { same: undefined } },
  { name: 'a rule more, and the same again', lines: ['add rule ip filter A handle 9', 'same rules ip filter A 3'], expected: { same: undefined } },
];
for (const { name, lines, expected } of cases) {
  t.test(name, async (t) => {
    t.match(objectOf(gathered(...lines), 'ip filter', 'A'), expected);
    const apart = nothingTouched();
    for (const line of lines) addTouched(apart, gathered(line));
    t.match(objectOf(apart, 'ip filter', 'A'), expected, 'in transactions of their own');
  });
}

t.test('tables, and what is not named', async (t) => {
  const touched = gathered('add table ip raw', 'add rule ip raw PREROUTING handle 1', 'add rule inet mine c handle 1');
  t.equal(touched.anything, false);
  t.equal(touched.tables.get('ip raw')?.whole, true);
  t.strictSame([...touchedNames(touched)].sort(), ['inet mine c', 'ip raw', 'ip raw PREROUTING']);
  t.equal(gathered('anything').anything, true);
});
