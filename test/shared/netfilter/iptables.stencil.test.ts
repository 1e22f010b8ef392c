// Rules that fit an earlier one's stencil are not looked at again: what is said of them must be what a look would have found.
import fc from 'fast-check';
import t from 'tap';
import { Name } from '../../../shared/netfilter/iptables.names.ts';
import { parseIptables } from '../../../shared/netfilter/iptables.parse.ts';
import { Stencils } from '../../../shared/netfilter/iptables.stencil.ts';
import { DumpText } from '../../../shared/netfilter/iptables.text.ts';
import { type UnknownCount, unknownOptions } from '../../../shared/netfilter/iptables.unknown.ts';

const head = ['*filter', ':INPUT ACCEPT [0:0]', ':MINE - [0:0]', ':MINE-2 - [0:0]'];
const tail = ['COMMIT', '# Completed on Mon Jan  1 00:00:00 2024'];
const unknownIn = (rules: readonly string[], end = '\n'): readonly UnknownCount[] => unknownOptions(parseIptables([...head, ...rules, ...tail, ''].join(end)));

/** Words for each place of a rule: such as a look finds to be known, though not all values can be read, and such as must not be taken for them. */
const places: readonly { readonly plain: readonly string[]; readonly odd: readonly string[] }[] = [
  {
    plain: ['', '-s 10.0.0.1/32', '-s 10.0.0.22', '-s 1x'],
    odd: ["-s '1'", '-s [1]', '-s "1"', '-s 1"', '-s -1', '-s -1x', '-s é', '-s', '-s  1', '-s\t1', '-x 1'],
  },
  { plain: ['', '-p tcp', '-p udp', '-p 6', '! -p tcp'], odd: ['-p -6', '--proto 17', '-p tcp\\', '-q tcp', '-p "tcp"'] },
  {
    plain: ['', '-m comment --comment "a 1"', '-m comment --comment a1', '-m comment --comment "é ß"'],
    odd: [
      '-m comment --comment ""',
      '-m comment --comment "-j GONE"',
      '-m comment --comment "a\\"1"',
      '-m comment --comment "a',
      '-m comment --comment "a\t1"',
    ],
  },
  {
    plain: ['', '-m tcp --dport 80', '-m tcp --dport 8080:8081', '--dport 80', '-m icmp6 --icmpv6-type 1'],
    odd: [
      '-m tcp2 --dport 80',
      '-m icmp7 --icmpv6-type 1',
      '-m tcp1 --dport 80',
      '-m -j',
      '-m 1',
      '-m  tcp',
      '-m',
      '--dport1 80',
      '--dport',
      '--foo 1',
      '-- 1',
      '- 1',
      '-',
    ],
  },
  {
    plain: ['-j MINE', '-j MINE-2', '-j ACCEPT', '-j DNAT --to-destination 1.2.3.4:80', '-g MINE', '-g MINE-2'],
    odd: ['-j MINE-3', '-j GONE', '-g GONE-2', '-g ACCEPT', '-j -1', '-j', '-j "MINE"', "-j 'MINE-2'", '-j [1]', '-j -j GONE', '-jMINE', '--jump MINE-3'],
  },
  { plain: ['', '-j MINE', '-j MINE-2'], odd: ['-j MINE-3', '-g GONE', '-j'] },
];
const wordsOf = ({ plain, odd }: (typeof places)[number]): readonly string[] => [...plain, ...odd];
const model = fc.tuple(...places.map((place, i) => (i < 5 ? fc.constantFrom(...place.plain, ...(i === 4 ? place.odd : [])) : fc.constant(''))));
/** Rules that differ in one place or none, as those of a real dump do. */
const alike = fc
  .tuple(fc.array(model, { minLength: 1, maxLength: 2 }), fc.array(fc.tuple(fc.nat(1), fc.nat(places.length), fc.nat(30)), { minLength: 2, maxLength: 30 }))
  .map(([models, changes]) =>
    changes.map(([which, place, word]) => {
      const words = [...(models[which % models.length] as string[])];
      const choice = places[place] === undefined ? [] : wordsOf(places[place]);
      words[place] = choice[word % choice.length] ?? words[place] ?? '';
      return `-A INPUT ${words.filter((word) => word !== '').join(' ')}`;
    }),
  );

t.test('law: what is found in rules is what is found in each of them alone', (t) => {
  const alone = (rules: readonly string[]): UnknownCount[] => {
    const counts = new Map<string, UnknownCount>();
    for (const [i, rule] of rules.entries()) {
      for (const { kind, name, rules } of unknownIn([rule])) {
        const known = counts.get(`${kind} ${name}`) ?? { rules: 0, line: head.length + 1 + i };
        counts.set(`${kind} ${name}`, { kind, name, rules: known.rules + rules, line: known.line });
      }
    }
    return [...counts.values()];
  };
  const sorted = (counts: readonly UnknownCount[]): string[] => counts.map((count) => JSON.stringify(count)).sort();
  fc.assert(
    fc.property(alike, fc.constantFrom('\n', '\r\n'), (rules, end) => {
      t.strictSame(sorted(unknownIn(rules, end)), sorted(alone(rules)));
    }),
    { numRuns: 1000 },
  );
  t.end();
});

t.test('a rule fits the stencil of another when only values differ', async (t) => {
  const cases: readonly [model: string, rule: string, fits: boolean, jump?: string][] = [
    ['-s 10.0.0.1/32 -j ACCEPT', '-s 10.100.200.100/32 -j ACCEPT', true],
    ['-s 10.0.0.1/32 -j ACCEPT', '-s 10.0.0.1/32 -j DROP', false],
    ['-s 10.0.0.1/32 -j ACCEPT', '-s 10.0.0.1/32  -j ACCEPT', false],
    ['-s 10.0.0.1/32 -j ACCEPT', '-s  -j ACCEPT', false],
    ['-s 10.0.0.1/32 -j ACCEPT', '-s 10.0.0.1/32 -j ACCEPT ', false],
    ['-m comment --comment "a -> b" -j X1', '-m comment --comment "something; else" -j KUBE-SVC-ABC2', true, 'KUBE-SVC-ABC2'],
    ['-m comment --comment "a -> b" -j X1', '-m comment --comment "" -j X2', true, 'X2'],
    ['-m comment --comment "a -> b" -j X1', '-m comment --comment "a\\" b" -j X2', false],
    ['-m comment --comment "a" -j KUBE', '-m comment --comment "b" -j KUBE', true],
    ['-m comment --comment "a" -j KUBE', '-m comment --comment "b" -j KUBELET', false],
    ['-m comment --comment "a" -j NONE', '-m comment --comment "b" -j OTHER', true, 'OTHER'],
  ];
  const name = new Name();
  for (const [model, rule, fits, jump] of cases) {
    const text = new DumpText(Buffer.from(`${model}\n${rule}\n# and more\n`));
    const stencils = new Stencils(text);
    stencils.learn(0, model.length + 1, { isTarget: (name) => name === 'ACCEPT', isChain: (name) => name === 'KUBE' });
    t.equal(stencils.fit(model.length + 1, name), fits ? model.length + rule.length + 2 : -1, rule);
    if (fits) t.equal(name.end === 0 ? undefined : text.bytes.toString('latin1', name.start, name.end), jump, `${rule}: jump`);
  }
});

t.test('of the stencils that followed one before, two are tried', async (t) => {
  const models = ['-s 1\n', '-d 1\n', '-i 1\n', '-o 1\n'];
  const missesOf = (cycle: readonly number[]): number => {
    const order = Array.from({ length: 10 }, () => cycle).flat();
    const stencils = new Stencils(new DumpText(Buffer.from(`${order.map((i) => models[i]).join('')}# and more\n`)));
    const misses = order.map((_, i) => {
      if (stencils.fit(i * 5, new Name()) === i * 5 + 5) return 0;
      stencils.learn(i * 5, i * 5 + 5, { isTarget: () => false, isChain: () => false });
      return 1;
    });
    return misses.slice(-cycle.length).reduce((sum: number, miss) => sum + miss, 0);
  };
  t.equal(missesOf([0]), 0);
  t.equal(missesOf([0, 1]), 0);
  t.equal(missesOf([0, 1, 0, 2]), 0);
  t.equal(missesOf([0, 1, 1, 1, 2, 3]), 0);
  t.equal(missesOf([0, 1, 0, 2, 0, 3]), 3);
});

t.test('rules of more shapes than there are stencils for are all read', async (t) => {
  const options = ['-s 1.2.3.4', '-d 1.2.3.4', '-i lo1', '-o lo2', '-p 6', '-m mark --mark 1', '-m limit --limit 1/s', '-m tcp --dport 1', '-m tcp --sport 2'];
  const rules = Array.from({ length: 1 << options.length }, (_, set) => `-A INPUT ${options.filter((_, i) => set & (1 << i)).join(' ')} -j MINE-2`);
  const parsed = parseIptables([...head, ...rules, ...rules, '-A INPUT --foo -j MINE', ...tail, ''].join('\n'));
  t.strictSame(parsed.issues, []);
  t.strictSame(unknownOptions(parsed), [{ kind: 'option', name: '--foo', rules: 1, line: head.length + 2 * rules.length + 1 }]);
  const chain = parsed.tables[0]?.chains.get('INPUT');
  t.equal(chain?.length, 2 * rules.length + 1);
  t.ok(rules.every((rule, i) => chain?.text(i) === rule && chain.text(i + rules.length) === rule));
});

t.test('a chain of one table is none of another', async (t) => {
  const rules = ['-A INPUT -j MINE', '-A INPUT -j MINE', '-A INPUT -j MINE-2'];
  const tables = ['raw', 'filter'].map(
    (name, i) => `*${name}\n:INPUT ACCEPT [0:0]\n${i === 0 ? ':MINE - [0:0]\n:MINE-2 - [0:0]\n' : ''}${rules.join('\n')}\nCOMMIT\n`,
  );
  t.strictSame(unknownOptions(parseIptables(`${tables.join('')}# and more\n`)), [
    { kind: 'target', name: 'MINE', rules: 2, line: 11 },
    { kind: 'target', name: 'MINE-2', rules: 1, line: 13 },
  ]);
});

t.test('a chain that is declared behind a rule that jumps to it is known', async (t) => {
  const rules = Array.from({ length: 600 }, (_, i) => `-A X -j C${i}`);
  const text = `-P INPUT ACCEPT\n-N X\n${rules.join('\n')}\n${rules
    .map((_, i) => `-N C${i}`)
    .slice(0, -1)
    .join('\n')}\n`;
  t.strictSame(unknownOptions(parseIptables(text)), [{ kind: 'target', name: 'C599', rules: 1, line: 602 }]);
});
