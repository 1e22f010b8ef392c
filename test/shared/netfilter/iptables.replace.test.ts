// One changed chain taken into a table that was read before.
import t from 'tap';
import { type IptablesTable, parseIptables } from '../../../shared/netfilter/iptables.parse.ts';
import { replaceChain } from '../../../shared/netfilter/iptables.replace.ts';

const dump = '*nat\n:PREROUTING ACCEPT [0:0]\n:A - [0:0]\n:B - [0:0]\n-A PREROUTING -j A\n-A A -j B\n-A B -p tcp -j ACCEPT\nCOMMIT\n';
const table = (): IptablesTable => parseIptables(dump).tables[0] as IptablesTable;
const texts = ({ chains }: IptablesTable, name: string): string[] => {
  const chain = chains.get(name);
  return Array.from({ length: chain?.length ?? 0 }, (_, index) => chain?.text(index) ?? '');
};

t.test('the chain has the new rules, in its place; everything else is shared', (t) => {
  const before = table();
  const kept = before.chains.get('B')?.rule(0);
  const { table: after, issues } = replaceChain(before, '-N A\n-A A -s 10.0.0.1/32 -j B\n-A A -j RETURN\n');
  t.strictSame(issues, []);
  t.strictSame(texts(after, 'A'), ['-A A -s 10.0.0.1/32 -j B', '-A A -j RETURN']);
  t.strictSame(
    after.chains
      .get('A')
      ?.rule(0)
      .steps.map(({ kind }) => kind),
    ['address', 'jump'],
    'its rules see the chains of the whole table',
  );
  t.strictSame([...after.chains.keys()], ['PREROUTING', 'A', 'B']);
  t.equal(after.chains.get('B'), before.chains.get('B'));
  t.equal(after.chains.get('B')?.rule(0), kept, 'a decoded rule stays decoded');
  t.strictSame(texts(before, 'A'), ['-A A -j B'], 'the table before is as it was');
  t.strictSame([before.chains.ruleCount, after.chains.ruleCount], [3, 4]);
  t.end();
});

t.test('a policy, a new chain and several changes one after another', (t) => {
  const policy = replaceChain(table(), '-P PREROUTING DROP\n-A PREROUTING -j NEW\n').table;
  t.match(policy.chains.get('PREROUTING'), { base: { hook: 'prerouting', policy: 'drop' } });
  const added = replaceChain(policy, '-N NEW\n-A NEW -j A\n').table;
  const emptied = replaceChain(added, '-N B\n').table;
  t.strictSame(
    [...emptied.chains].map(([name, { length }]) => [name, length]),
    [
      ['PREROUTING', 1],
      ['A', 1],
      ['B', 0],
      ['NEW', 1],
    ],
  );
  t.strictSame([emptied.chains.size, emptied.chains.ruleCount], [4, 3]);
  t.equal(emptied.chains.get('NEW')?.rule(0).steps[0]?.kind, 'jump');
  t.end();
});

t.test('what is no listing of a chain is an issue, and the table has its old chains', (t) => {
  const { table: after, issues } = replaceChain(table(), 'iptables: No chain/target/match by that name.\n');
  t.match(issues, [{ line: 1, reason: /not a line/ }]);
  t.strictSame(texts(after, 'A'), ['-A A -j B']);
  t.end();
});
