// Facts after a change are those that a reading from scratch gives, whatever was changed; and a change in one Service's chains walks that NodePort alone.
import { deepStrictEqual } from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { limits } from '../../../shared/limits.ts';
import type { Fact } from '../../../shared/model/fact.ts';
import { type Judged, judgeNode, type TouchedChains, tableKey } from '../../../shared/netfilter/facts.incremental.ts';
import { nodeFacts, nothingWanted, type Wanted } from '../../../shared/netfilter/facts.ts';
import { type IptablesTable, parseIptables } from '../../../shared/netfilter/iptables.parse.ts';
import { replaceChains } from '../../../shared/netfilter/iptables.replace.ts';
import { readNode } from '../../../shared/netfilter/node.read.ts';
import type { NodeState } from '../../../shared/netfilter/node.ts';
import { writeIptablesDump } from '../../bench/iptables-dump.ts';
import { hostFiles } from '../../bench/node.files.ts';
import { ciliumMaps, ndjson } from './service-maps.ts';

const wanted: Wanted = {
  nodePorts: [{ protocol: 'tcp', family: 4, port: 31000 }],
  peers: ['172.31.0.12'],
  podNetworks: ['10.244.0.0/24'],
};

const dumpOf = (services: number, endpoints = 3): Buffer => {
  const directory = mkdtempSync(join(tmpdir(), 'portreeve-test-'));
  writeIptablesDump(join(directory, 'dump'), { services, endpoints });
  const dump = readFileSync(join(directory, 'dump'));
  rmSync(directory, { recursive: true });
  return dump;
};
const sockets = 'tcp LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:(("sshd",pid=700,fd=3))\n';
const nodeOf = (dump: Buffer, files: Readonly<Record<string, string>> = {}): NodeState =>
  readNode(
    new Map([
      ...hostFiles(),
      ['ss.txt', Buffer.from(sockets)],
      ['iptables-save.txt', dump],
      ...Object.entries(files).map(([name, text]) => [name, Buffer.from(text)] as const),
    ]),
  );

/** Without what only a dump has: line numbers, and packets counted so far. */
const plain = (facts: readonly Fact[]): unknown =>
  JSON.parse(JSON.stringify(facts, (key, value: unknown) => (key === 'line' || key === 'packets' ? undefined : value)));

interface Edited {
  readonly node: NodeState;
  readonly touched: TouchedChains;
}

function edit(node: NodeState, name: string, chains: ReadonlyMap<string, string | null>): Edited {
  const table = node.tables.find((each) => each.name === name) as IptablesTable;
  const changed = replaceChains(table, chains).table;
  return {
    node: { ...node, tables: node.tables.map((each) => (each === table ? changed : each)) },
    touched: new Map([[tableKey(table), new Set(chains.keys())]]),
  };
}

const rulesOf = (node: NodeState, table: string, chain: string): string[] => {
  const found = node.tables.find(({ name }) => name === table)?.chains.get(chain);
  return Array.from({ length: found?.length ?? 0 }, (_, index) => found?.text(index) ?? '');
};
const declaration = (node: NodeState, [table, chain]: readonly [string, string], policy?: string): string => {
  const base = node.tables.find(({ name }) => name === table)?.chains.get(chain)?.base;
  return base === undefined ? `-N ${chain}\n` : `-P ${chain} ${policy ?? base.policy.toUpperCase()}\n`;
};
const chainNames = (node: NodeState, prefix: string): string[] => {
  const nat = node.tables.find(({ name }) => name === 'nat') as IptablesTable;
  return [...nat.chains.keys()].filter((name) => name.startsWith(prefix));
};

t.test('a change in the chains of one Service walks one NodePort, and keeps the facts of the others as they are', async (t) => {
  const node = nodeOf(dumpOf(20));
  const judged = judgeNode(node, wanted);
  t.equal(judged.walked, 21);
  const [endpoint] = chainNames(node, 'KUBE-SEP-') as [string];
  const rules = rulesOf(node, 'nat', endpoint).map((rule) => rule.replace(/--to-destination \S+/, '--to-destination 10.244.0.99:80'));
  const { node: after, touched } = edit(node, 'nat', new Map([[endpoint, `-N ${endpoint}\n${rules.join('\n')}\n`]]));
  const next = judgeNode(after, wanted, { judged, touched });
  t.equal(next.walked, 1);
  t.strictSame(plain(next.facts), plain(nodeFacts(after, wanted)));
  const kept = next.facts.filter((fact) => fact.kind === 'nodeport' && judged.facts.includes(fact));
  t.equal(kept.length, 20);
});

t.test('a rule that all packets come by walks all; one in a chain that nobody comes by walks none', async (t) => {
  const node = nodeOf(dumpOf(5));
  const judged = judgeNode(node, wanted);
  const drop = edit(node, 'filter', new Map([['FORWARD', '-P FORWARD ACCEPT\n-A FORWARD -p tcp -m tcp --dport 8080 -j DROP\n']]));
  const next = judgeNode(drop.node, wanted, { judged, touched: drop.touched });
  t.equal(next.walked, 6);
  t.strictSame(plain(next.facts), plain(nodeFacts(drop.node, wanted)));
  const other = edit(
    drop.node,
    'filter',
    new Map([
      ['KUBE-FIREWALL', '-N KUBE-FIREWALL\n'],
      ['MINE', '-N MINE\n-A MINE -j DROP\n'],
    ]),
  );
  const third = judgeNode(other.node, wanted, { judged: next, touched: new Map([[[...other.touched.keys()][0] as string, new Set(['MINE'])]]) });
  t.equal(third.walked, 0);
});

t.test('where walks start is remembered for no more NodePorts than there is room for, and facts are the same', async (t) => {
  const bounds = limits as { walkStartsMax: number };
  const usual = bounds.walkStartsMax;
  t.teardown(() => Object.assign(bounds, { walkStartsMax: usual }));
  const node = nodeOf(dumpOf(8));
  const remembered = ({ nodePorts }: Judged): number[] =>
    [...nodePorts.values()].map(({ starts }) =>
      [...starts.values()].flatMap((orders) => [...orders.values()]).reduce((sum, { states, ended }) => sum + states.length + ended.length, 0),
    );
  const all = remembered(judgeNode(node, nothingWanted));
  t.equal(all.length, 8);
  t.ok(all.every((count) => count > 0));
  const whole = all.reduce((sum, count) => sum + count, 0);
  const drop = edit(node, 'filter', new Map([['FORWARD', '-P FORWARD ACCEPT\n-A FORWARD -p tcp -m tcp --dport 8080 -j DROP\n']]));
  const expected = plain(nodeFacts(drop.node, nothingWanted));
  for (const [max, kept] of [
    [whole, 8],
    [whole - 1, 7],
    [all[0] as number, 1],
    [(all[0] as number) - 1, 0],
  ] as const) {
    bounds.walkStartsMax = max;
    const judged = judgeNode(nodeOf(dumpOf(8)), nothingWanted);
    t.equal(remembered(judged).filter((count) => count > 0).length, kept, `room for ${max}`);
    const next = judgeNode(drop.node, nothingWanted, { judged: { ...judged, node }, touched: drop.touched });
    t.strictSame(plain(next.facts), expected);
    t.ok(remembered(next).reduce((sum, count) => sum + count, 0) <= max);
  }
});

t.test('sockets: only NodePorts whose port is asked for', async (t) => {
  const dump = dumpOf(5);
  const judged = judgeNode(nodeOf(dump), wanted);
  const after = nodeOf(dump, { 'ss.txt': `${sockets}tcp LISTEN 0 9 0.0.0.0:31000 0.0.0.0:* users:(("x",pid=1,fd=3))\ntcp LISTEN 0 9 0.0.0.0:9 0.0.0.0:*\n` });
  const next = judgeNode({ ...after, tables: judged.node.tables }, wanted, { judged, touched: new Map() });
  t.equal(next.walked, 1);
  t.match(
    next.facts.find(({ key }) => key === 'nodeport/tcp/4/31000'),
    { outcomes: { external: [{ verdict: 'local' }] } },
  );
});

t.test('what is not named as touched is found by comparing', async (t) => {
  const node = nodeOf(dumpOf(5));
  const judged = judgeNode(node, wanted);
  const [service] = chainNames(node, 'KUBE-SVC-') as [string];
  const { node: after } = edit(node, 'nat', new Map([[service, `-N ${service}\n`]]));
  const next = judgeNode(after, wanted, { judged, touched: new Map() });
  t.equal(next.walked, 1);
  t.strictSame(plain(next.facts), plain(nodeFacts(after, wanted)));
});

const pool = [
  '-p tcp -m tcp --dport 8080 -j DROP',
  '-p tcp -m tcp --dport 20001 -j DROP',
  '-s 10.0.0.0/8 -j REJECT',
  '-i eth0 -p tcp -m tcp --dport 20002 -j ACCEPT',
  '-d 10.100.0.0/30 -j RETURN',
  '-m conntrack --ctstate NEW -j EXTRA',
  '-m statistic --mode random --probability 0.5 -j EXTRA',
  '-m mark --mark 0x4000/0x4000 -j DROP',
  '-m mark --mark 0x8/0x8 -j DROP',
  '-p tcp -m tcp --sport 8080 -j DROP',
  '-j MARK --set-xmark 0x4000/0x4000',
  '-g OTHER',
  '-j RETURN',
];
const natPool = [
  ...pool,
  '-m limit --limit 5/sec -j MARK --set-xmark 0x8/0x8',
  '-p tcp -j DNAT --to-destination 10.244.0.7:80',
  '-p tcp -m tcp --dport 20003 -j REDIRECT --to-ports 22',
  '-j MASQUERADE',
];

const editsCase = (services: number): string => `after any edits on a node of ${services} Services, facts are those of a reading from scratch`;

t.test(editsCase(4), async () => {
  const first = nodeOf(dumpOf(4));
  const nat = ['KUBE-NODEPORTS', 'KUBE-SERVICES', 'KUBE-POSTROUTING', 'PREROUTING', 'OUTPUT', 'POSTROUTING', 'EXTRA', 'OTHER', 'KUBE-MARK-MASQ'];
  const services = ['KUBE-SVC-', 'KUBE-SEP-', 'KUBE-EXT-'].flatMap((prefix) => chainNames(first, prefix));
  const place = fc.oneof(
    fc.tuple(fc.constant('nat'), fc.constantFrom(...nat)),
    fc.tuple(fc.constant('nat'), fc.constantFrom(...services)),
    fc.tuple(fc.constant('filter'), fc.constantFrom('INPUT', 'FORWARD', 'OUTPUT', 'KUBE-FORWARD', 'EXTRA', 'OTHER')),
    fc.tuple(fc.constant('mangle'), fc.constantFrom('PREROUTING', 'FORWARD', 'POSTROUTING', 'EXTRA', 'OTHER')),
  );
  checkEdits(4, place, 60);
});

// Long chains are looked through by their index.
t.test(editsCase(30), async () => {
  const all = ['KUBE-NODEPORTS', 'KUBE-SERVICES'];
  checkEdits(
    30,
    fc.oneof(
      { weight: 6, arbitrary: fc.tuple(fc.constant('nat'), fc.constantFrom(...all)) },
      { weight: 1, arbitrary: fc.tuple(fc.constant('nat'), fc.constantFrom('PREROUTING', 'EXTRA', 'OTHER')) },
      { weight: 1, arbitrary: fc.tuple(fc.constant('filter'), fc.constantFrom('FORWARD', 'INPUT')) },
    ),
    40,
  );
});

function checkEdits(services: number, place: fc.Arbitrary<readonly [string, string]>, numRuns: number): void {
  const dump = dumpOf(services);
  const first = nodeOf(dump);
  const act = fc.oneof(
    { weight: 6, arbitrary: fc.record({ kind: fc.constant('insert' as const), at: fc.nat(6), rule: fc.nat(natPool.length - 1) }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('delete' as const), at: fc.nat(6) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('shuffle' as const), by: fc.integer({ min: 1, max: 1_000 }) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('flush' as const) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('gone' as const) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('policy' as const), policy: fc.constantFrom('DROP', 'ACCEPT') }) },
  );
  const host = fc.record({
    kind: fc.constant('host' as const),
    files: fc.constantFrom<Readonly<Record<string, string>>>(
      { 'sysctl.txt': 'net.ipv4.ip_forward = 0\n' },
      { 'ss.txt': `${sockets}tcp LISTEN 0 9 0.0.0.0:31000 0.0.0.0:*\n` },
      { 'ss.txt': `${sockets}tcp LISTEN 0 9 0.0.0.0:22 0.0.0.0:*\n` },
      {},
    ),
  });
  const step = fc.oneof({ weight: 8, arbitrary: fc.tuple(place, act) }, { weight: 1, arbitrary: host });
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 8 }), (steps) => {
      let node = first;
      let judged: Judged = judgeNode(node, wanted);
      for (const each of steps) {
        const edited = applyStep(node, dump, each);
        node = edited.node;
        judged = judgeNode(node, wanted, { judged, touched: edited.touched });
        deepStrictEqual(plain(judged.facts), plain(nodeFacts(freshly(node), wanted)));
      }
    }),
    { numRuns },
  );
}

/** The same tables without anything that was remembered of them. */
const freshly = (node: NodeState): NodeState => ({ ...node, tables: [...node.tables] });

type Step =
  | readonly [
      readonly [string, string],
      (
        | { readonly kind: 'insert'; readonly at: number; readonly rule: number }
        | { readonly kind: 'delete'; readonly at: number }
        | { readonly kind: 'shuffle'; readonly by: number }
        | { readonly kind: 'flush' | 'gone' }
        | { readonly kind: 'policy'; readonly policy: string }
      ),
    ]
  | { readonly kind: 'host'; readonly files: Readonly<Record<string, string>> };

function applyStep(node: NodeState, dump: Buffer, step: Step): Edited {
  if ('kind' in step) return { node: { ...nodeOf(dump, step.files), tables: node.tables }, touched: new Map() };
  const [[table, chain], act] = step;
  const base = node.tables.find(({ name }) => name === table)?.chains.get(chain)?.base !== undefined;
  if (act.kind === 'gone' && !base) return edit(node, table, new Map([[chain, null]]));
  const rules = rulesOf(node, table, chain);
  if (act.kind === 'insert') rules.splice(act.at, 0, `-A ${chain} ${table === 'nat' ? natPool[act.rule] : pool[act.rule % pool.length]}`);
  if (act.kind === 'delete') rules.splice(act.at, 1);
  if (act.kind === 'shuffle') shuffle(rules, act.by);
  if (act.kind === 'flush') rules.length = 0;
  const policy = act.kind === 'policy' ? act.policy : undefined;
  return edit(node, table, new Map([[chain, `${declaration(node, [table, chain], policy)}${rules.map((rule) => `${rule}\n`).join('')}`]]));
}

/** Another order, as kube-proxy has at each sync. */
function shuffle(rules: string[], by: number): void {
  const keys = new Map(rules.map((rule, index) => [rule, (Math.sin(by * (index + 1)) * 10_000) % 1]));
  rules.sort((a, b) => (keys.get(a) as number) - (keys.get(b) as number));
}

t.test('what kube-proxy writes at each sync, the rules of all Services in another order, walks only NodePorts whose own rules are others', async (t) => {
  const node = nodeOf(dumpOf(40));
  const judged = judgeNode(node, wanted);
  const all = (change: (rules: string[], chain: string) => void): Edited => {
    const chains = ['KUBE-SERVICES', 'KUBE-NODEPORTS'].map((chain) => {
      const rules = rulesOf(node, 'nat', chain);
      const last = chain === 'KUBE-SERVICES' ? rules.splice(-1) : [];
      change(rules, chain);
      return [chain, `-N ${chain}\n${[...rules, ...last].map((rule) => `${rule}\n`).join('')}`] as const;
    });
    return edit(node, 'nat', new Map(chains));
  };
  const shuffled = all((rules) => shuffle(rules, 7));
  const next = judgeNode(shuffled.node, wanted, { judged, touched: shuffled.touched });
  t.equal(next.walked, 0);
  t.strictSame(plain(next.facts), plain(nodeFacts(freshly(shuffled.node), wanted)));
  const added = all((rules, chain) => {
    shuffle(rules, 8);
    if (chain === 'KUBE-NODEPORTS') rules.splice(5, 0, '-A KUBE-NODEPORTS -p tcp -m tcp --dport 31000 -j DROP');
  });
  const third = judgeNode(added.node, wanted, { judged, touched: added.touched });
  t.equal(third.walked, 1);
  t.strictSame(plain(third.facts), plain(nodeFacts(freshly(added.node), wanted)));
  const moved = edit(
    added.node,
    'nat',
    new Map([
      [
        'KUBE-NODEPORTS',
        `-N KUBE-NODEPORTS\n${rulesOf(added.node, 'nat', 'KUBE-NODEPORTS')
          .reverse()
          .map((rule) => `${rule}\n`)
          .join('')}`,
      ],
    ]),
  );
  const fourth = judgeNode(moved.node, wanted, { judged: third, touched: moved.touched });
  t.equal(fourth.walked, 1, 'the fact of that one names the number of its rule');
  t.strictSame(plain(fourth.facts), plain(nodeFacts(freshly(moved.node), wanted)));
});

t.test('a rule that cannot be judged has its number where it comes to matter, though others were put before it meanwhile', async (t) => {
  // Of so many endpoints doubts that make no difference are forgotten.
  const first = nodeOf(dumpOf(30, 12));
  const written = (node: NodeState, rules: readonly string[]): Edited =>
    edit(node, 'nat', new Map([['KUBE-SERVICES', `-N KUBE-SERVICES\n${rules.map((rule) => `${rule}\n`).join('')}`]]));
  const rules = rulesOf(first, 'nat', 'KUBE-SERVICES');
  const limited = '-A KUBE-SERVICES -m limit --limit 5/sec -j MARK --set-xmark 0x8/0x8';
  const marked = written(first, rules.toSpliced(3, 0, limited));
  const judged = judgeNode(marked.node, wanted, { judged: judgeNode(first, wanted), touched: marked.touched });
  const moved = written(marked.node, rules.toSpliced(5, 0, limited));
  const next = judgeNode(moved.node, wanted, { judged, touched: moved.touched });
  const dropped = edit(moved.node, 'filter', new Map([['FORWARD', '-P FORWARD ACCEPT\n-A FORWARD -m mark --mark 0x8/0x8 -j DROP\n']]));
  const last = judgeNode(dropped.node, wanted, { judged: next, touched: dropped.touched });
  t.strictSame(plain(last.facts), plain(nodeFacts(freshly(dropped.node), wanted)));
  t.match(JSON.stringify(last.facts), /"chain":"KUBE-SERVICES","rule":6/);
});

t.test('the rules of a dump that was read again are compared chain by chain', async (t) => {
  const node = nodeOf(dumpOf(5));
  const again = parseIptables(dumpOf(5), { family: 'ip' });
  const judged = judgeNode(node, wanted);
  const next = judgeNode({ ...node, tables: again.tables }, wanted, {
    judged,
    touched: new Map(again.tables.map((table) => [tableKey(table), new Set<string>()])),
  });
  t.equal(next.walked, 0);
});

t.test('what an eBPF data plane serves decides before all rules', async (t) => {
  const dump = dumpOf(3);
  const [before, after] = [nodeOf(dump), nodeOf(dump, { 'service-maps.ndjson': ndjson(ciliumMaps(4, 'v3')) })];
  const judged = judgeNode(before, wanted);
  const next = judgeNode(after, wanted, { judged, touched: new Map() });
  t.equal(next.walked, next.nodePorts.size, 'every NodePort is asked for again');
  deepStrictEqual(plain(next.facts), plain(nodeFacts(after, wanted)));
});

t.test('what stands beside the rules is told anew when it changes, though no chain has', async (t) => {
  const dump = dumpOf(3);
  const state = (name: string) => nodeOf(dump, { 'firewalld-state.txt': `state = running\ndefault-zone = ${name}\n` });
  const [before, changed] = [state('public'), state('drop')];
  // A reading of chains alone keeps everything else as the same objects.
  const after = { ...before, ...(changed.beside === undefined ? {} : { beside: changed.beside }) };
  const next = judgeNode(after, wanted, { judged: judgeNode(before, wanted), touched: new Map() });
  t.equal(next.walked, 0);
  deepStrictEqual(plain(next.facts), plain(nodeFacts(after, wanted)));
  t.match(JSON.stringify(next.facts), /"drop"/);
});
