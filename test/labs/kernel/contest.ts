// One contest: a ruleset is loaded, packets are sent for real and walked on paper, and every difference is named.
import fc from 'fast-check';
import { readNode } from '../../../shared/netfilter/node.read.ts';
import type { NodeState } from '../../../shared/netfilter/node.ts';
import { type Arena, addresses, type Place } from './arena.ts';
import { type Asked, disagreement, type Prediction, predict } from './judge.ts';
import { askedPorts, askedUdpPorts } from './ports.ts';
import type { Observation } from './probe.ts';
import type { Generated } from './rulesets.ts';

export interface Tally {
  rulesets: number;
  /** Rulesets that a tool did not accept: the generator's slips. */
  refused: number;
  packets: number;
  /** Packets whose fate the walk left open. */
  uncertain: number;
  /** Packets dropped or rejected by a rule whose counter was seen to have counted. */
  decidersCounted: number;
  readonly kinds: Map<string, number>;
  readonly meetings: Map<string, number>;
}

export const newTally = (): Tally => ({ rulesets: 0, refused: 0, packets: 0, uncertain: 0, decidersCounted: 0, kinds: new Map(), meetings: new Map() });

/** Where packets go from and to; the port they are sent from is chosen when they are sent. */
export type Draft = Omit<Asked, 'fromPort'>;

const targetsOf = (family: 0 | 1): readonly string[] => [
  addresses.node[family],
  addresses.node[family],
  addresses.nodeSecondary[family],
  addresses.pod[family],
  addresses.remote[family],
];

/** Packets of one ruleset: mostly from the client to the node, as clients of NodePorts do. */
export const drafts: fc.Arbitrary<readonly Draft[]> = fc.array(
  fc
    .tuple(
      fc.constantFrom<Place>('client', 'client', 'client', 'client', 'node', 'pod'),
      fc.constantFrom<0 | 1>(0, 0, 1),
      fc.constantFrom<'tcp' | 'udp'>('tcp', 'tcp', 'tcp', 'udp'),
    )
    .chain(([place, family, protocol]) =>
      fc
        .tuple(
          fc.constantFrom(...(place === 'client' ? addresses.clients[family] : place === 'node' ? [addresses.node[family]] : [addresses.pod[family]])),
          fc.constantFrom(...targetsOf(family)),
          fc.constantFrom(...(protocol === 'tcp' ? askedPorts : askedUdpPorts)),
        )
        .map(([from, to, port]): Draft => ({ place, protocol, from, to, port })),
    ),
  { minLength: 20, maxLength: 20, size: 'max' },
);

/** A pod that talks to itself without leaving its namespace says nothing about the node. */
const sendable = (draft: Draft): boolean => !(draft.place === 'pod' && (addresses.pod as readonly string[]).includes(draft.to));

let nextPort = 33_000;
const withPort = (draft: Draft): Asked => ({ ...draft, fromPort: nextPort >= 60_000 ? (nextPort = 33_000) : nextPort++ });

/** Runs one contest; the differences are empty when kernel and walk agree. A difference counts only if it shows again with the rules loaded afresh and time to spare. */
export async function contest(
  arena: Arena,
  given: { readonly generated: Generated; readonly drafts: readonly Draft[] },
  tally: Tally,
): Promise<readonly string[]> {
  const { generated } = given;
  const node = readNode(await arena.load(generated.rules));
  const issues = node.issues.map((issue) => `not read: ${issue.file}:${issue.line}: ${issue.reason}: ${issue.text}`);
  const asked = given.drafts.filter(sendable).map(withPort);
  const rounds = await play(arena, node, { asked, timeoutMs: 300 });
  count(tally, generated.kind, rounds);
  const different = rounds.filter((round) => round.difference !== undefined);
  const lost = await lostAgain(arena, { generated, node, lost: different });
  const confirmed: string[] = [];
  for (const { asked: again } of lost) {
    await arena.load(generated.rules);
    const [round] = await play(arena, node, { asked: [withPort(again)], timeoutMs: 2_000 });
    if (round?.difference !== undefined) confirmed.push(`${again.place} ${again.protocol} ${again.from} → ${again.to}:${again.port}: ${round.difference}`);
  }
  return [...issues, ...confirmed, ...(different.length > 0 ? [] : await uncounted(arena, generated, { rounds, tally }))];
}

/**
 * Differences that show again with the time for a second attempt of TCP: an ICMP error that arrives while connect() still holds its socket is only noted, and
 * fails the attempt after that.
 */
async function lostAgain(
  arena: Arena,
  given: { readonly generated: Generated; readonly node: NodeState; readonly lost: readonly Round[] },
): Promise<readonly Round[]> {
  if (given.lost.length === 0) return [];
  await arena.load(given.generated.rules);
  const rounds = await play(arena, given.node, { asked: given.lost.map(({ asked }) => withPort(asked)), timeoutMs: 1_400 });
  return rounds.filter((round) => round.difference !== undefined);
}

interface Round {
  readonly asked: Asked;
  readonly prediction: Prediction;
  readonly observation: Observation;
  readonly difference: string | undefined;
}

async function play(arena: Arena, node: NodeState, given: { readonly asked: readonly Asked[]; readonly timeoutMs: number }): Promise<readonly Round[]> {
  const rounds = await Promise.all(
    (['client', 'node', 'pod'] as const).map(async (place) => {
      const mine = given.asked.filter((each) => each.place === place);
      const probes = mine.map((each, id) => ({
        id: id + each.fromPort * 1000,
        timeoutMs: given.timeoutMs,
        protocol: each.protocol,
        from: each.from,
        fromPort: each.fromPort,
        to: each.to,
        port: each.port,
      }));
      const predictions = mine.map((each) => predict(node, each));
      const observations = await arena.send(place, probes);
      return mine.map((asked, index): Round => {
        const prediction = predictions[index] as Prediction;
        const observation = observations[index] as Observation;
        return { asked, prediction, observation, difference: disagreement(asked, prediction, observation) };
      });
    }),
  );
  return rounds.flat();
}

function count(tally: Tally, kind: string, rounds: readonly Round[]): void {
  tally.rulesets++;
  tally.kinds.set(kind, (tally.kinds.get(kind) ?? 0) + 1);
  for (const { prediction, observation } of rounds) {
    tally.packets++;
    if (!prediction.certain) tally.uncertain++;
    tally.meetings.set(observation.met, (tally.meetings.get(observation.met) ?? 0) + 1);
  }
}

/** Rules that the walk says have dropped or rejected a packet must have counted it: the verdict alone could be right for the wrong reason. */
async function uncounted(arena: Arena, generated: Generated, given: { readonly rounds: readonly Round[]; readonly tally: Tally }): Promise<readonly string[]> {
  const deciders = new Map<string, string>();
  for (const { prediction, asked } of given.rounds) {
    const [only] = prediction.outcomes;
    if (only === undefined || prediction.outcomes.length > 1 || only.decidedBy?.by !== 'rule' || (only.verdict !== 'drop' && only.verdict !== 'reject'))
      continue;
    const { backend, family, table, chain, rule, text } = only.decidedBy;
    deciders.set(`${backend} ${family} ${table} ${chain} ${rule}`, `${text} (for ${asked.from} → ${asked.to}:${asked.port}/${asked.protocol})`);
  }
  if (deciders.size === 0) return [];
  const after = readNode(await arena.counters(generated.rules));
  const counters = new Map<string, bigint | undefined>();
  for (const table of after.tables) {
    for (const chain of table.chains.values()) {
      for (let index = 0; index < chain.length; index++)
        counters.set(`${table.backend} ${table.family} ${table.name} ${chain.name} ${index + 1}`, chain.rule(index).counter?.packets);
    }
  }
  const silent: string[] = [];
  for (const [place, text] of deciders) {
    const packets = counters.get(place);
    if (packets === 0n) silent.push(`the walk names ${place}: ${text}, but that rule has counted no packet`);
    else if (packets !== undefined) given.tally.decidersCounted++;
  }
  return silent;
}
