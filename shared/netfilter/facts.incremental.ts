// The facts of a node after a change: only those NodePorts are walked again that may have come by what changed; the others keep their facts.
import type { Fact, NodePortFact } from '../model/fact.ts';
import { nodePortFactKey } from '../model/fact.ts';
import type { Decider, Outcome, ReplyProblem, Vantage } from '../model/outcome.ts';
import type { Claim } from './claims.ts';
import { judgeNodePort, nodeFacts, type Wanted } from './facts.ts';
import type { Host, Listener } from './host.ts';
import type { NodeState } from './node.ts';
import { baseChainsOf, type Table } from './ruleset.ts';
import { chainKey, noting, socketKey } from './visits.ts';

/** Facts of a node with what they hang on. */
export interface Judged {
  readonly node: NodeState;
  readonly wanted: Wanted;
  readonly facts: readonly Fact[];
  /** By fact key. */
  readonly nodePorts: ReadonlyMap<string, JudgedNodePort>;
  /** What every NodePort is taken to have come by. Grows until everything is walked again. */
  readonly common: ReadonlySet<string>;
  /** How many NodePorts were walked for these facts; the others kept what they had. */
  readonly walked: number;
}

interface JudgedNodePort {
  readonly facts: readonly NodePortFact[];
  readonly claim: Claim | undefined;
  readonly visits: ReadonlySet<string>;
}

/** Chains that may differ, by table (`iptables-nft ip nat`), where that is known; a table that is another object and is not named here may differ anywhere. */
export type TouchedChains = ReadonlyMap<string, ReadonlySet<string>>;

export const tableKey = ({ backend, family, name }: Table): string => `${backend} ${family} ${name}`;

/**
 * All facts of a node, as `nodeFacts` gives them but for the lines of a dump, which nobody has. Given what was judged before and the chains that a change
 * touched since, the NodePorts that cannot have come by any of it are not walked again, and their facts are the same objects.
 */
export function judgeNode(node: NodeState, wanted: Wanted, before?: { readonly judged: Judged; readonly touched: TouchedChains }): Judged {
  const stale = before === undefined ? 'all' : staleBetween(before.judged, { node, wanted }, before.touched);
  const all = stale === 'all' || (before !== undefined && intersects(stale, before.judged.common));
  const common = commonOf(node);
  if (!all) for (const each of before?.judged.common ?? []) common.add(each);
  const nodePorts = new Map<string, JudgedNodePort>();
  let walked = 0;
  const judge: typeof judgeNodePort = (state, nodePort, context) => {
    const key = nodePortFactKey(nodePort);
    const known = all ? undefined : before?.judged.nodePorts.get(key);
    if (known !== undefined && !intersects(stale as ReadonlySet<string>, known.visits)) {
      const same = sameClaim(known.claim, context.claim);
      const kept = same ? known : { ...known, facts: known.facts.map((fact) => ({ ...fact, claimed: claimed(context.claim) })), claim: context.claim };
      nodePorts.set(key, kept);
      return [...kept.facts];
    }
    walked++;
    const own = new Set<string>();
    const found = noting({ own, common }, () => judgeNodePort(state, nodePort, context)).map(withoutLines);
    nodePorts.set(key, { facts: found, claim: context.claim, visits: own });
    return found;
  };
  // Walks for other facts share ways with those of NodePorts.
  const facts = noting({ own: new Set(), common }, () => nodeFacts(node, wanted, judge));
  return { node, wanted, facts, nodePorts, common, walked };
}

/** One set for each node state: walks remember their ways for as long as it lives, and who goes one of them again visits nothing. */
function commonOf(node: NodeState): Set<string> {
  let common = commons.get(node);
  if (common === undefined) commons.set(node, (common = new Set()));
  return common;
}
const commons = new WeakMap<NodeState, Set<string>>();

const sameClaim = (a: Claim | undefined, b: Claim | undefined): boolean => (a === undefined) === (b === undefined) && a?.service === b?.service;

const claimed = (claim: Claim | undefined): NodePortFact['claimed'] => ({
  by: claim === undefined ? 'none' : 'rule',
  ...(claim?.service === undefined ? {} : { service: claim.service }),
});

/** What of the old facts' grounds may be otherwise now: everything, or these chains and sockets. */
function staleBetween(before: Judged, after: Pick<Judged, 'node' | 'wanted'>, touched: TouchedChains): 'all' | ReadonlySet<string> {
  const [was, is] = [before.node, after.node];
  const same =
    sameList(before.wanted.peers, after.wanted.peers) &&
    sameList(before.wanted.podNetworks, after.wanted.podNetworks) &&
    sameList(was.unread, is.unread) &&
    sameList(was.ipvs, is.ipvs) &&
    sameValues(was.ipsets, is.ipsets) &&
    sameList(was.serviceMaps ?? [], is.serviceMaps ?? []) &&
    sameHost(was.host, is.host) &&
    sameStructure(was.tables, is.tables);
  if (!same) return 'all';
  const stale = new Set<string>();
  for (const [index, table] of is.tables.entries()) {
    const earlier = was.tables[index] as Table;
    if (earlier === table) continue;
    if (!sameValues(earlier.sets, table.sets)) return 'all';
    for (const name of touched.get(tableKey(table)) ?? differingChains(earlier, table)) stale.add(chainKey(table, name));
  }
  for (const socket of differingSockets(was.host.listeners, is.host.listeners)) stale.add(socket);
  return stale;
}

/** Chains that are no longer the same object or have come or gone. */
function differingChains(before: Table, after: Table): string[] {
  const names = new Set([...before.chains.keys(), ...after.chains.keys()]);
  return [...names].filter((name) => before.chains.get(name) !== after.chains.get(name));
}

/**
 * Tables and base chains in their order, with all that decides which of them run and when. Whether a chain of the kernel's own is empty decides too: those are
 * passed over without a visit.
 */
function sameStructure(before: readonly Table[], after: readonly Table[]): boolean {
  if (before === after) return true;
  return before.length === after.length && after.every((table, index) => structureOf(before[index] as Table) === structureOf(table));
}

function structureOf(table: Table): string {
  let text = structures.get(table);
  if (text === undefined) {
    const chains = baseChainsOf(table).map(({ name, base, length }) => [name, base, length > 0]);
    structures.set(table, (text = JSON.stringify([tableKey(table), table.flags, chains])));
  }
  return text;
}
const structures = new WeakMap<Table, string>();

/** Whether everything but the sockets is alike. */
function sameHost(before: Host, after: Host): boolean {
  if (before === after) return true;
  const parts = ({ interfaces, routes, rules, sysctls, known }: Host): unknown => [interfaces, routes, rules, [...sysctls], known];
  return textOf(parts(before)) === textOf(parts(after));
}

const textOf = (value: unknown): string => JSON.stringify(value, (_key, each: unknown) => (typeof each === 'bigint' ? `${each}n` : each));

function differingSockets(before: readonly Listener[], after: readonly Listener[]): readonly string[] {
  if (before === after) return [];
  const [was, is] = [socketTexts(before), socketTexts(after)];
  return [...new Set([...was.keys(), ...is.keys()])].filter((key) => was.get(key) !== is.get(key));
}

function socketTexts(listeners: readonly Listener[]): ReadonlyMap<string, string> {
  const texts = new Map<string, string>();
  for (const listener of listeners) {
    const key = socketKey(listener.protocol, listener.port);
    texts.set(key, `${texts.get(key) ?? ''}${textOf(listener)}\n`);
  }
  return texts;
}

const sameList = (before: readonly unknown[], after: readonly unknown[]): boolean =>
  before === after || (before.length === after.length && after.every((each, index) => each === before[index]));

const sameValues = (before: ReadonlyMap<string, unknown>, after: ReadonlyMap<string, unknown>): boolean =>
  before === after || (before.size === after.size && [...after].every(([key, value]) => before.get(key) === value));

function intersects(few: ReadonlySet<string>, many: ReadonlySet<string>): boolean {
  for (const each of few) if (many.has(each)) return true;
  return false;
}

/** Lines are those of a dump, or of the listing of one chain: they move when anything before them does, and say nothing to whom has neither. */
function withoutLines(fact: NodePortFact): NodePortFact {
  const outcomes = Object.entries(fact.outcomes).map(([vantage, all]) => [vantage, all.map(outcomeWithoutLines)] as const);
  return { ...fact, outcomes: Object.fromEntries(outcomes) as Readonly<Partial<Record<Vantage, readonly Outcome[]>>> };
}

function outcomeWithoutLines(outcome: Outcome): Outcome {
  const { decidedBy, unless, reply, later } = outcome;
  return {
    ...outcome,
    ...(decidedBy === undefined ? {} : { decidedBy: deciderWithoutLine(decidedBy) }),
    ...(unless === undefined ? {} : { unless: unless.map(deciderWithoutLine) }),
    ...(reply === undefined ? {} : { reply: problemWithoutLine(reply) }),
    ...(later === undefined ? {} : { later: problemWithoutLine(later) }),
  };
}

const problemWithoutLine = (problem: ReplyProblem): ReplyProblem =>
  problem.decidedBy === undefined ? problem : { ...problem, decidedBy: deciderWithoutLine(problem.decidedBy) };

/** One object for each decider: the branches of a walk, and those of all vantages, share theirs. */
function deciderWithoutLine(decider: Decider): Decider {
  if (decider.line === undefined) return decider;
  let bare = bareDeciders.get(decider);
  if (bare === undefined) {
    const { line: _, ...rest } = decider;
    bareDeciders.set(decider, (bare = rest));
  }
  return bare;
}
const bareDeciders = new WeakMap<Decider, Decider>();
