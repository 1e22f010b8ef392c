// One contest: a ruleset is loaded, packets are sent for real and walked on paper, and every difference is named.
import { readNode } from '../../../shared/netfilter/node.read.ts';
import type { NodeState } from '../../../shared/netfilter/node.ts';
import type { Arena, Round, RuleInput } from './arena.ts';
import { compareCounters } from './counters.ts';
import type { Probe } from './host.ts';
import { type Asked, disagreement, type Observation, observe, type Prediction, predict, ttlStep } from './judge.ts';
import type { Tally } from './tally.ts';
import { addresses } from './topology.ts';

/** A packet to be sent; the port it is sent from is chosen then. */
export type Draft = Omit<Asked, 'fromPort'>;

/** A ruleset with the name of its kind. */
export interface Generated {
  readonly kind: string;
  readonly rules: RuleInput;
  /** Changes of the ipsets between packets, which are divided evenly; each as `ipset restore` lines, after a while where entries are to run out. */
  readonly changes?: readonly { readonly ipset: string; readonly waitMs?: number }[];
}

/** What one contest is about. */
export interface Given {
  readonly generated: Generated;
  readonly drafts: readonly Draft[];
}

/** Runs one contest; the differences are empty when kernel and walk agree. A difference counts only if it shows again with the rules loaded afresh and time to spare. */
export async function contest(arena: Arena, given: Given, tally: Tally): Promise<readonly string[]> {
  const played = await playAll(arena, given, firstTimeoutMs);
  tally.count(given.generated.kind, played.games);
  const different = played.games.filter(({ difference }) => difference !== undefined);
  if (different.length === 0) {
    const after = readNode(await arena.counters());
    const counted = compareCounters(
      after,
      played.games.map(({ prediction, asked }) => [prediction, askedText(asked)]),
    );
    tally.countCounters(counted.compared);
    if (counted.differences.length > 0) return counterDifferences(arena, given, counted.differences);
  }
  return [...played.issues, ...(different.length === 0 ? [] : await confirmed(arena, given, different))];
}

const firstTimeoutMs = 300;
/** Time for a second attempt of TCP, one second after the first. */
const patientTimeoutMs = 1_400;

export const askedText = ({ place, protocol, from, to, port }: Draft): string => `${place} ${protocol} ${from} → ${to}:${port}`;

/** One packet, what was said of it, and what it met. */
export interface Game {
  readonly asked: Asked;
  readonly prediction: Prediction;
  readonly observation: Observation;
  readonly difference: string | undefined;
}

/** Loads the rules and plays all packets, part by part where ipsets change between them. */
async function playAll(
  arena: Arena,
  { generated, drafts }: Given,
  timeoutMs: number,
): Promise<{ readonly games: readonly Game[]; readonly issues: readonly string[] }> {
  const { rules, changes = [] } = generated;
  const sendable = drafts.filter(isSendable);
  const size = Math.ceil(sendable.length / (changes.length + 1));
  const games: Game[] = [];
  const issues: string[] = [];
  let files = await arena.load(rules);
  for (let part = 0; part <= changes.length; part++) {
    const change = changes[part - 1];
    if (change?.waitMs !== undefined) await new Promise((resolve) => setTimeout(resolve, change.waitMs));
    if (change !== undefined) files = await arena.change(change.ipset);
    const node = inOrder(readNode(files));
    issues.push(...node.issues.map((issue) => `not read: ${issue.file}:${issue.line}: ${issue.reason}: ${issue.text}`));
    games.push(...(await play(arena, node, { drafts: sendable.slice(part * size, (part + 1) * size), timeoutMs })));
  }
  return { games, issues };
}

/** Chains of one priority run in the order of their registration, the latest first: here the order of loading is known. */
const inOrder = (node: NodeState): NodeState => ({
  ...node,
  tables: node.tables.toReversed().toSorted((a, b) => backends.indexOf(a.backend) - backends.indexOf(b.backend)),
});
const backends = ['nft', 'iptables-nft', 'legacy'];

/** A host that talks to itself, or the peer to the pod behind it, says nothing about the node. */
const isSendable = ({ place, to }: Draft): boolean => {
  const near =
    place === 'peer' || place === 'remote' ? [...addresses.peer, ...addresses.remote] : place === 'pod' || place === 'routed' ? addresses[place] : [];
  return !(near as readonly string[]).includes(to);
};

async function play(arena: Arena, node: NodeState, given: { readonly drafts: readonly Draft[]; readonly timeoutMs: number }): Promise<readonly Game[]> {
  const rounds = ++roundNumber;
  const all = given.drafts.map((draft, index) => {
    const asked: Asked = { ...draft, fromPort: nextPort() };
    // The TTLs of one round are not those of the round before, whose last packets may still be on their way.
    const probe: Probe = { ...asked, id: asked.fromPort, ttl: (rounds % 2 === 0 ? 72 : 160) + ttlStep * index };
    return { asked, probe, prediction: predict(node, asked) };
  });
  const gamesOf = (round: Round): readonly Game[] =>
    all.map(({ asked, probe, prediction }) => {
      const observation = observe(round, asked, probe);
      return { asked, prediction, observation, difference: disagreement(asked, prediction, observation) };
    });
  const isComplete = (round: Round): boolean => gamesOf(round).every(({ difference }) => difference === undefined);
  return gamesOf(
    await arena.play(
      Map.groupBy(
        all.map(({ probe, asked }) => ({ ...probe, place: asked.place })),
        ({ place }) => place,
      ),
      { isComplete, timeoutMs: given.timeoutMs },
    ),
  );
}

let roundNumber = 0;
let lastPort = 20_000;
/** Never one that masquerading or a client's system would choose. */
const nextPort = (): number => (lastPort = lastPort >= 29_999 ? 20_001 : lastPort + 1);

/** The differences that show again when there is time, alone with the rules loaded afresh; with those whose order matters, in the order they were played. */
async function confirmed(arena: Arena, given: Given, different: readonly Game[]): Promise<readonly string[]> {
  const again = await playAll(arena, given, patientTimeoutMs);
  const key = ({ asked: { fromPort: _, ...draft } }: Game): string => JSON.stringify(draft);
  const before = new Set(different.map(key));
  return again.games
    .filter((game) => game.difference !== undefined && before.has(key(game)))
    .map(({ asked, difference }) => `${askedText(asked)}: ${difference}`);
}

async function counterDifferences(arena: Arena, given: Given, before: readonly string[]): Promise<readonly string[]> {
  const again = await playAll(arena, given, patientTimeoutMs);
  if (again.games.some(({ difference }) => difference !== undefined)) return [];
  const counted = compareCounters(
    readNode(await arena.counters()),
    again.games.map(({ prediction, asked }) => [prediction, askedText(asked)]),
  );
  const places = new Set(before.map((text) => text.slice(0, text.indexOf(':'))));
  return counted.differences.filter((text) => places.has(text.slice(0, text.indexOf(':'))));
}
