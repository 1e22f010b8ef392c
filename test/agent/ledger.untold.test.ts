// Rules that came without being told one by one: whether they may have gone unknown when another transaction follows.
import t from 'tap';
import { addTold, nothingUnsettled } from '../../agent/ledger.passing.ts';
import { anything, type Transaction } from '../../agent/ledger.ts';
import { addUntold, type Untold, unknownSince } from '../../agent/ledger.untold.ts';

let generation = 0;
const transaction = (at: number, touched: readonly string[], given: Partial<Transaction> = {}): Transaction => ({
  at,
  generation: ++generation,
  actor: { pid: 7, comm: 'iptables-restor', how: 'nft-generation' },
  touched: new Set(touched),
  ...given,
});
const after = (...transactions: readonly Transaction[]): Untold => transactions.reduce(addUntold, [] as Untold);
const since = (untold: Untold, by: Transaction): number | undefined => unknownSince(untold, nothingUnsettled, by);

t.test('what was told rule by rule is known', async (t) => {
  t.equal(since(after(transaction(1_000, ['ip filter FORWARD'])), transaction(2_000, ['ip filter FORWARD'])), undefined);
});

t.test('the first transaction counts that touched the same', async (t) => {
  const untold = after(
    transaction(1_000, ['ip filter INPUT'], { more: 3 }),
    transaction(2_000, ['ip filter FORWARD'], { more: 3 }),
    transaction(3_000, ['ip filter FORWARD'], { more: 1 }),
  );
  t.equal(since(untold, transaction(4_000, ['ip filter OUTPUT'])), undefined);
  t.equal(since(untold, transaction(4_000, ['ip filter OUTPUT', 'ip filter FORWARD'])), 2_000);
  t.equal(since(untold, transaction(4_000, ['ip filter'])), 1_000, 'a table that went took its chains along');
  t.equal(since(untold, transaction(4_000, [anything])), 1_000);
  t.equal(since(after(transaction(1_000, ['ip filter'], { more: 3 })), transaction(2_000, ['ip filter FORWARD'])), 1_000);
  t.equal(since(after(transaction(1_000, ['ip filter'], { more: 3 })), transaction(2_000, ['ip6 filter FORWARD'])), undefined);
});

t.test('a sync of kube-proxy is one act, whatever it replaces', async (t) => {
  const chains = ['ip nat KUBE-SERVICES', 'ip nat KUBE-SVC-AAAAAAAAAAAAAAAA'];
  const next = transaction(2_000, chains);
  t.equal(since(after(transaction(1_000, chains, { more: 9_000 })), next), undefined);
  t.equal(since(after(transaction(1_000, [...chains, 'ip nat PREROUTING'], { more: 9_000 })), next), 1_000, 'with a chain of others');
  t.equal(since(after(transaction(1_000, chains, { more: 9_000, actor: { pid: 8, comm: 'sh', how: 'nft-generation' } })), next), 1_000, 'by another program');
});

t.test('rules that are forgotten, as too many of their chain wait to be read', async (t) => {
  const rules = (count: number) => Array.from({ length: count }, (_, handle) => ({ op: 'add' as const, chain: 'ip filter FORWARD', handle }));
  const first = transaction(1_000, ['ip filter FORWARD'], { rules: rules(2_000) });
  const second = transaction(2_000, ['ip filter FORWARD'], { rules: rules(2_000) });
  const unsettled = [first, second].reduce(addTold, nothingUnsettled);
  t.equal(unknownSince([], unsettled, transaction(3_000, ['ip filter FORWARD'], { rules: rules(1_000) })), undefined, 'just enough room');
  t.equal(unknownSince([], unsettled, transaction(3_000, ['ip filter FORWARD'], { rules: rules(1_001) })), 1_000);
});
