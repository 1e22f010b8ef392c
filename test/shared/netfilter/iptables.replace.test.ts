// Changed chains taken into a table that was read before.
import { deepStrictEqual, equal } from 'node:assert/strict';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import t from 'tap';
import { type IptablesTable, parseIptables } from '../../../shared/netfilter/iptables.parse.ts';
import { replaceChains, replacedCount } from '../../../shared/netfilter/iptables.replace.ts';

const dump = '*nat\n:PREROUTING ACCEPT [0:0]\n:A - [0:0]\n:B - [0:0]\n-A PREROUTING -j A\n-A A -j B\n-A B -p tcp -j ACCEPT\nCOMMIT\n';
const table = (): IptablesTable => parseIptables(dump).tables[0] as IptablesTable;
const texts = ({ chains }: IptablesTable, name: string): string[] => {
  const chain = chains.get(name);
  return Array.from({ length: chain?.length ?? 0 }, (_, index) => chain?.text(index) ?? '');
};
const replace = (before: IptablesTable, listings: Readonly<Record<string, string | null>>) => replaceChains(before, new Map(Object.entries(listings)));

t.test('the chain has the new rules, in its place; everything else is shared', (t) => {
  const before = table();
  const kept = before.chains.get('B')?.rule(0);
  const { table: after, issues } = replace(before, { A: '-N A\n-A A -s 10.0.0.1/32 -c 7 8 -j B\n-A A -j RETURN\n' });
  t.strictSame(issues, []);
  t.strictSame(texts(after, 'A'), ['-A A -s 10.0.0.1/32 -j B', '-A A -j RETURN']);
  const rule = after.chains.get('A')?.rule(0);
  t.strictSame(
    rule?.steps.map(({ kind }) => kind),
    ['address', 'jump'],
    'its rules see the chains of the whole table',
  );
  t.strictSame(rule?.counter, { packets: 7n, bytes: 8n });
  t.strictSame([...after.chains.keys()], ['PREROUTING', 'A', 'B']);
  t.equal(after.chains.get('B'), before.chains.get('B'));
  t.equal(after.chains.get('B')?.rule(0), kept, 'a decoded rule stays decoded');
  t.strictSame(texts(before, 'A'), ['-A A -j B'], 'the table before is as it was');
  t.strictSame([before.chains.ruleCount, after.chains.ruleCount], [3, 4]);
  t.end();
});

t.test('a table whose chains were replaced keeps none of its earlier versions', async (t) => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const versions: WeakRef<object>[] = [];
  let now = table();
  // Each version keeps a chain of the one before, whose rules are decoded when they are asked for.
  for (let round = 0; round < 10; round++) {
    now = replace(now, { [`NEW${round}`]: `-N NEW${round}\n-A NEW${round} -j A\n`, A: `-N A\n-A A -s 10.0.0.${round} -j B\n` }).table;
    versions.push(new WeakRef(now.chains.get('A') as object));
  }
  await new Promise((resolve) => setImmediate(resolve));
  collect();
  t.strictSame(
    versions.map((version) => version.deref() !== undefined),
    [...Array.from({ length: 9 }, () => false), true],
  );
  t.match(now.chains.get('NEW0')?.rule(0).steps, [{ kind: 'jump', chain: 'A' }], 'an early one still knows what was a chain then');
  t.end();
});

t.test('a policy with its counter', (t) => {
  const { table: after } = replace(table(), { PREROUTING: '-P PREROUTING DROP -c 12 345\n' });
  t.match(after.chains.get('PREROUTING'), { base: { hook: 'prerouting', policy: 'drop' }, counter: { packets: 12n, bytes: 345n }, length: 0 });
  t.match(after.baseChains, [{ name: 'PREROUTING', base: { policy: 'drop' } }]);
  t.end();
});

t.test('chains that refer to each other, a new one and one that is gone, in one step', (t) => {
  const { table: after, issues } = replace(table(), { A: '-N A\n-A A -j NEW\n', NEW: '-N NEW\n-A NEW -j A\n', B: null });
  t.strictSame(issues, []);
  t.strictSame([...after.chains.keys()], ['PREROUTING', 'A', 'NEW']);
  t.equal(after.chains.get('B'), undefined);
  t.equal(after.chains.has('B'), false);
  t.strictSame([after.chains.size, after.chains.ruleCount], [3, 3]);
  t.equal(after.chains.get('A')?.rule(0).steps[0]?.kind, 'jump');
  t.equal(replacedCount(after), 3);
  const back = replace(after, { B: '-N B\n' }).table;
  t.strictSame(
    [...back.chains].map(([name, { length }]) => [name, length]),
    [
      ['PREROUTING', 1],
      ['A', 1],
      ['B', 0],
      ['NEW', 1],
    ],
  );
  t.end();
});

t.test('a base chain that goes and comes back', (t) => {
  const gone = replace(table(), { PREROUTING: null }).table;
  t.strictSame(gone.baseChains, []);
  t.match(replace(gone, { PREROUTING: '-P PREROUTING ACCEPT\n' }).table.baseChains, [{ name: 'PREROUTING' }]);
  t.end();
});

t.test('what is no listing of a chain is an issue, and the table has its old chain', (t) => {
  const { table: after, issues } = replace(table(), { A: 'iptables: No chain/target/match by that name.\n' });
  t.match(issues, [{ reason: /not a line/ }, { reason: /does not declare/ }]);
  t.strictSame(texts(after, 'A'), ['-A A -j B']);
  t.end();
});

t.test('any edits of chains, one after another or at once, give the table that a dump of the result gives', (t) => {
  const name = fc.constantFrom('A', 'B', 'C', 'D');
  const rules = fc.array(fc.constantFrom('-j RETURN', '-p tcp -j A', '-s 10.0.0.1/32 -g C', '-m comment --comment "x -c 1 2" -j D'), { maxLength: 4 });
  const edit = fc.tuple(name, fc.option(rules));
  fc.assert(
    fc.property(fc.array(edit, { maxLength: 12 }), fc.boolean(), (edits, atOnce) => {
      const listing = (chain: string, lines: readonly string[]) => `-N ${chain}\n${lines.map((line) => `-A ${chain} ${line}\n`).join('')}`;
      const model = new Map<string, readonly string[] | null>([
        ['A', ['-j B']],
        ['B', ['-p tcp -j ACCEPT']],
      ]);
      let edited = table();
      for (const [chain, lines] of edits) {
        model.set(chain, lines);
        if (!atOnce) edited = replaceChains(edited, new Map([[chain, lines === null ? null : listing(chain, lines)]])).table;
      }
      const last = new Map(edits);
      if (atOnce) edited = replaceChains(edited, new Map([...last].map(([chain, lines]) => [chain, lines === null ? null : listing(chain, lines)]))).table;
      const expected = [...model].flatMap(([chain, lines]) => (lines === null ? [] : [[chain, lines.map((line) => `-A ${chain} ${line}`)] as const]));
      const sorted = (pairs: Iterable<readonly [string, readonly string[]]>) => [...pairs].sort(([a], [b]) => (a < b ? -1 : 1));
      deepStrictEqual(
        sorted([...edited.chains.keys()].filter((chain) => chain !== 'PREROUTING').map((chain) => [chain, texts(edited, chain)])),
        sorted(expected),
      );
      equal(edited.chains.size, expected.length + 1);
      equal(edited.chains.ruleCount, 1 + expected.reduce((sum, [, lines]) => sum + lines.length, 0));
    }),
    { numRuns: 200 },
  );
  t.end();
});
