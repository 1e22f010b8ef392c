// How the ends of a walk's branches become outcomes: what is one, what stays apart, and for whom each holds.
import t from 'tap';
import { type IntervalSet, parsePrefix, union } from '../../../shared/model/address.ts';
import type { Decider, Outcome } from '../../../shared/model/outcome.ts';
import type { Ended } from '../../../shared/netfilter/chains.ts';
import { outcomesOf } from '../../../shared/netfilter/outcomes.ts';
import type { Packet, State } from '../../../shared/netfilter/packet.ts';
import type { Sequel } from '../../../shared/netfilter/walk.answers.ts';
import type { Walker } from '../../../shared/netfilter/walker.ts';
import { nodeWith } from '../../support/node.ts';

const set = (...prefixes: readonly string[]): IntervalSet =>
  union(...prefixes.map((text) => [(parsePrefix(text) as { interval: { lo: bigint; hi: bigint } }).interval]));
const all = set('10.0.0.0/8');
const low = set('10.0.0.0/9');
const high = set('10.128.0.0/9');

const packet: Packet = { vantage: 'external', family: 4, protocol: 6, sources: all, destination: 1n, destinationPort: 30080 };
const node = nodeWith({});

interface Given {
  readonly clients?: IntervalSet;
  readonly weight?: number;
  readonly endpoint?: bigint;
  readonly state?: Partial<State>;
  readonly end?: Partial<Ended>;
  readonly sequel?: Sequel;
}

const dnat: Decider = { by: 'rule', backend: 'legacy', family: 'ip', table: 'nat', chain: 'SEP', rule: 1, text: '-j DNAT' };

function endOf({ clients = all, weight = 1, endpoint = 2n, state, end }: Given): Ended {
  const whole = {
    family: 4,
    protocol: 6,
    source: clients,
    destination: [{ lo: endpoint, hi: endpoint }],
    destinationPort: 80,
    dnat: true,
    nat: { kind: 'masquerade' },
    original: { source: clients, destination: [{ lo: 1n, hi: 1n }], destinationPort: 30080, sourcePort: undefined },
    weight,
    assumptions: [],
    clouded: undefined,
    ipvs: undefined,
    path: undefined,
    ...state,
  } as unknown as State;
  return { state: whole, verdict: 'forward', decider: dnat, ...end };
}

function outcomes(...given: readonly Given[]): readonly Outcome[] {
  const ended = given.map(endOf);
  const walker = { node, packet, options: { traced: false, reply: true }, ended } as unknown as Walker;
  return outcomesOf(walker, (branch) => given[ended.indexOf(branch)]?.sequel ?? []).outcomes;
}

const loss = (field: 'reply' | 'later', clients: IntervalSet, chain = 'INPUT'): Sequel => [
  { field, clients, problem: { verdict: 'drop', decidedBy: { by: 'rule', chain, rule: 1, text: '-j DROP' } } },
];

t.test('branches to the same endpoint are one where nothing tells them apart', (t) => {
  t.match(outcomes({ weight: 0.25 }, { weight: 0.5 }), [{ weight: 0.75, sources: undefined }], 'weights add up');
  t.match(outcomes({ clients: low }, { clients: high }), [{ weight: 1, sources: undefined }], 'clients unite');
  const quarters = [low, high, low, high].map((clients) => ({ clients, weight: 0.5 }));
  t.equal(outcomes(...quarters).length, 1, 'both');
  t.match(outcomes(...quarters), [{ weight: 1, sources: undefined }]);
  t.equal(outcomes({ clients: low, weight: 0.5 }, { clients: high, weight: 0.25 }).length, 2, 'neither');
  const [half, lower, higher] = [{ weight: 0.5 }, { clients: low, weight: 0.5 }, { clients: high, weight: 0.5 }];
  t.match(outcomes(half, lower, higher), [{ weight: 1, sources: undefined }], 'one after the other');
  t.match(
    outcomes(half, lower),
    [
      { weight: 0.5, sources: undefined },
      { weight: 0.5, sources: ['10.0.0.0/9'] },
    ],
    'clients of both stay in both',
  );
  t.end();
});

t.test('what tells outcomes apart', (t) => {
  const different: Readonly<Record<string, Given>> = {
    verdict: { end: { verdict: 'drop' } },
    endpoint: { endpoint: 3n },
    port: { state: { destinationPort: 81 } },
    'no translation': { state: { dnat: false } },
    masquerading: { state: { nat: undefined } },
    answer: { end: { rejectWith: 'tcp-reset' } },
    'nobody decided': { end: { decider: { by: 'route', text: '-j DNAT' } } },
    chain: { end: { decider: { ...dnat, chain: 'SEP2' } } },
    rule: { end: { decider: { ...dnat, rule: 2 } } },
    table: { end: { decider: { ...dnat, table: 'mangle' } } },
    family: { end: { decider: { ...dnat, family: 'inet' } } },
    backend: { end: { decider: { ...dnat, backend: 'nft' } } },
    text: { end: { decider: { ...dnat, text: '-j REDIRECT' } } },
    doubt: { state: { assumptions: [{ decider: dnat, matched: true }] } },
    'an effect that nobody knows': { state: { clouded: dnat } },
    'a lost answer': { sequel: loss('reply', all) },
    'a lost packet': { sequel: loss('later', all) },
  };
  for (const [name, given] of Object.entries(different)) t.equal(outcomes({ weight: 0.5 }, { weight: 0.5, ...given }).length, 2, name);
  const [reply, later] = [loss('reply', all), loss('later', all)];
  t.equal(outcomes({ weight: 0.5, sequel: reply }, { weight: 0.5, sequel: loss('reply', all, 'FORWARD') }).length, 2, 'answers lost elsewhere');
  t.equal(outcomes({ weight: 0.5, sequel: reply }, { weight: 0.5, sequel: later }).length, 2, 'answers and packets lost');
  t.equal(outcomes({ weight: 0.5, sequel: loss('reply', all) }, { weight: 0.5, sequel: reply }).length, 1, 'answers lost at the same place');
  t.equal(outcomes({ weight: 0.5 }, { weight: 0.5, end: { decider: { ...dnat, packets: '7', line: 9 } } }).length, 1, 'what a rule has counted does not');
  t.end();
});

t.test('the heaviest comes first, and clients who lose answers are told apart', (t) => {
  const found = outcomes({ endpoint: 2n, weight: 0.25 }, { endpoint: 3n, weight: 0.75, sequel: [...loss('reply', low), ...loss('later', all)] });
  t.match(found, [
    { dnat: '0.0.0.3:80', weight: 0.75, sources: ['10.0.0.0/9'], reply: { verdict: 'drop' }, later: undefined },
    { dnat: '0.0.0.3:80', weight: 0.75, sources: ['10.128.0.0/9'], reply: undefined, later: { verdict: 'drop' } },
    { dnat: '0.0.0.2:80', weight: 0.25, sources: undefined },
  ]);
  t.end();
});

t.test('what only remembered clients meet is said where it differs', (t) => {
  t.equal(outcomes({}, { weight: 0, state: { assumptions: [{ decider: dnat, matched: true }] } }).length, 1);
  t.match(outcomes({}, { weight: 0, endpoint: 3n }), [{ dnat: '0.0.0.2:80' }, { dnat: '0.0.0.3:80', weight: 0 }]);
  t.equal(outcomes({ clients: low }, { weight: 0, clients: all, end: { decider: { ...dnat, rule: 2 } } }).length, 2, 'or holds for more of them');
  t.end();
});

t.test('what was not read is a doubt of every outcome, and doubts are named once', (t) => {
  const unread = { ...node, unread: ['nft', 'ipset', 'nft'] };
  const ended = [endOf({ state: { assumptions: [1, 1].map(() => ({ decider: dnat, matched: true })) } }), endOf({ endpoint: 3n })];
  const walker = { node: unread, packet, options: { traced: false, reply: false }, ended } as unknown as Walker;
  t.same(
    outcomesOf(walker, undefined).outcomes.map(({ unless }) => unless?.map(({ text }) => text)),
    [
      ['-j DNAT', 'nft could not be read', 'ipset could not be read'],
      ['nft could not be read', 'ipset could not be read'],
    ],
  );
  t.end();
});
