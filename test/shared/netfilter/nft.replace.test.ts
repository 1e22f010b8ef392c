// Changed chains and sets taken into a native table that was read before. Listings are those of nft 1.0.6.
import t from 'tap';
import { parseNft } from '../../../shared/netfilter/nft.parse.ts';
import { replaceNftObjects } from '../../../shared/netfilter/nft.replace.ts';
import type { Table } from '../../../shared/netfilter/ruleset.ts';

const listing = (...objects: readonly object[]): string => JSON.stringify({ nftables: [{ metainfo: { version: '1.0.6' } }, ...objects] });
const place = { family: 'ip', table: 'k' };
const chain = (name: string, more: object = {}) => ({ chain: { ...place, name, handle: 1, ...more } });
const rule = (name: string, ...expr: readonly object[]) => ({ rule: { ...place, chain: name, handle: 2, expr } });
const map = (elem: readonly unknown[]) => ({ map: { ...place, name: 'm', type: ['inet_proto', 'inet_service'], map: 'verdict', handle: 3, elem } });
const lookup = { vmap: { key: { concat: [{ meta: { key: 'l4proto' } }, { payload: { protocol: 'th', field: 'dport' } }] }, data: '@m' } };
const base = { type: 'filter', hook: 'input', prio: 0, policy: 'accept' };
const before = (): Table =>
  parseNft(
    listing(
      { table: { family: 'ip', name: 'k' } },
      chain('in', base),
      chain('a'),
      map([[{ concat: ['tcp', 80] }, { goto: { target: 'a' } }]]),
      rule('a', { drop: null }),
    ),
  ).tables[0] as Table;
const texts = (table: Table, name: string) => Array.from({ length: table.chains.get(name)?.length ?? 0 }, (_, index) => table.chains.get(name)?.text(index));

t.test('a chain that names a map of the table', async (t) => {
  const table = before();
  const { table: after, issues } = replaceNftObjects(table, { listings: [listing(chain('in', base), rule('in', lookup))] });
  t.strictSame(issues, []);
  t.strictSame(texts(after, 'in'), ['meta l4proto . th dport vmap @m']);
  t.equal(after.chains.get('in')?.rule(0).steps.at(-1)?.kind, 'verdictMap', 'the map tells what it yields');
  t.equal(after.chains.get('a'), table.chains.get('a'), 'other chains are shared');
  t.equal(after.sets, table.sets, 'no set was read');
  t.equal(table.chains.get('in')?.length, 0, 'the table before is as it was');
});

t.test('a map and a chain that it leads to, in either order', async (t) => {
  const changed = [listing(map([[{ concat: ['tcp', 81] }, { goto: { target: 'b' } }]])), listing(chain('b'), rule('b', { accept: null }))];
  for (const listings of [changed, changed.toReversed()]) {
    const { table: after } = replaceNftObjects(before(), { listings });
    t.match(after.sets.get('m')?.elements, [{ verdict: { kind: 'goto', chain: 'b' } }]);
    t.strictSame([...after.chains.keys()], ['in', 'a', 'b']);
  }
});

t.test('what is gone', async (t) => {
  const { table: after } = replaceNftObjects(before(), { listings: [], goneChains: ['a'], goneSets: ['m'] });
  t.strictSame([...after.chains.keys()], ['in']);
  t.strictSame([...after.sets.keys()], []);
});

t.test('a listing of another table, or none, changes nothing', async (t) => {
  const other = { chain: { family: 'inet', table: 'k', name: 'a', handle: 1 } };
  const { table: after, issues } = replaceNftObjects(before(), { listings: [listing(other), '{"nftables": [{"cha'] });
  t.equal(issues.length, 1);
  t.strictSame(texts(after, 'a'), ['drop']);
});
