// Chains that differ between two readings of a table: counters are no difference, wherever the lines of a chain stand.
import fc from 'fast-check';
import t from 'tap';
import { parseIptables } from '../../../shared/netfilter/iptables.parse.ts';
import type { Table } from '../../../shared/netfilter/ruleset.ts';
import { differentChains } from '../../../shared/netfilter/table.compare.ts';

const chains = ['INPUT', 'FORWARD', 'KUBE-SERVICES', 'KUBE-SVC-A'];

interface Line {
  readonly chain: string;
  readonly rule: string;
  readonly packets: number | undefined;
}

const textOf = ({ chain, rule, packets }: Line): string => `${packets === undefined ? '' : `[${packets}:${packets * 60}] `}-A ${chain} ${rule}\n`;

function tableOf(lines: readonly Line[], policy = 'ACCEPT'): Table {
  const declared = chains.map((chain) => `:${chain} ${chain.startsWith('KUBE') ? '-' : policy} [0:0]\n`).join('');
  return parseIptables(`*filter\n${declared}${lines.map(textOf).join('')}COMMIT\n`).tables[0] as Table;
}

const line = fc.record({
  chain: fc.constantFrom(...chains),
  rule: fc.constantFrom('-j ACCEPT', '-j DROP', '-s 10.0.0.0/8 -j DROP', '-m comment --comment "[1:2] -A X" -j ACCEPT'),
  packets: fc.option(fc.nat(20), { nil: undefined }),
});

t.test('two readings', async (t) => {
  fc.assert(
    fc.property(fc.array(line, { maxLength: 12 }), fc.array(line, { maxLength: 2 }), fc.nat(), (lines, more, seed) => {
      const counted = lines.map((each, index) => (index % 3 === seed % 3 && each.packets !== undefined ? { ...each, packets: each.packets + 1 } : each));
      const later = [...counted.slice(0, seed % 5), ...more, ...counted.slice(seed % 5)];
      const rulesOf = (all: readonly Line[], name: string): readonly string[] => all.filter(({ chain }) => chain === name).map(({ rule }) => rule);
      const expected = chains.filter((name) => rulesOf(lines, name).join('\n') !== rulesOf(later, name).join('\n'));
      t.strictSame(new Set(differentChains(tableOf(lines), tableOf(later))), new Set(expected));
    }),
  );
});

t.test('a policy, and a chain that came or went', async (t) => {
  t.strictSame(differentChains(tableOf([]), tableOf([], 'DROP')), new Set(['INPUT', 'FORWARD']));
  const [without, with_] = ['', ':X - [0:0]\n'].map((more) => parseIptables(`*filter\n:INPUT ACCEPT [0:0]\n${more}COMMIT\n`).tables[0] as Table) as [
    Table,
    Table,
  ];
  t.strictSame(differentChains(without, with_), new Set(['X']));
  t.strictSame(differentChains(with_, without), new Set(['X']));
});
