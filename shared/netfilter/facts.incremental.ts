// The facts of a node after a change: only those NodePorts are walked again that may have come by what changed; the others keep their facts.
import { limits } from '../limits.ts';
import { single } from '../model/address.ts';
import { sameFact } from '../model/fact.same.ts';
import { type Fact, type NodePortFact, type NodePortKey, nodePortFactKey, protocolNumbers } from '../model/fact.ts';
import type { Decider, Outcome, ReplyProblem, Vantage } from '../model/outcome.ts';
import { candidateRules } from './chain.index.ts';
import type { Claim } from './claims.ts';
import { judgeNodePort, otherFacts, type Questions, questionsOf, type Wanted } from './facts.ts';
import { type Host, type Listener, primaryAddress } from './host.ts';
import type { NodeState } from './node.ts';
import { baseChainsOf, type Chain, type Table } from './ruleset.ts';
import { chainKey, noting, socketKey, translatedKey } from './visits.ts';
import type { Starts } from './walk.ts';

/** Facts of a node with what they hang on. */
export interface Judged {
  readonly node: NodeState;
  readonly wanted: Wanted;
  readonly facts: readonly Fact[];
  /** By fact key. */
  readonly nodePorts: ReadonlyMap<string, JudgedNodePort>;
  readonly others: JudgedOthers;
  /** What every NodePort is taken to have come by. Grows until everything is walked again. */
  readonly common: ReadonlySet<string>;
  /** How many NodePorts were walked for these facts; the others kept what they had. */
  readonly walked: number;
}

interface JudgedNodePort {
  readonly facts: readonly NodePortFact[];
  readonly claim: Claim | undefined;
  /** Grows with each walk that goes on from its starts. */
  readonly visits: Set<string>;
  /** Where its clients' packets come to before the routing decision. */
  readonly starts: Map<Vantage, Starts>;
}

/** All facts but those of the NodePorts. */
interface JudgedOthers {
  readonly facts: readonly Fact[];
  readonly nodePorts: readonly NodePortKey[];
  readonly visits: ReadonlySet<string>;
}

/** Chains that may differ, by table (`iptables-nft ip nat`), where that is known; a table that is another object and is not named here may differ anywhere. */
export type TouchedChains = ReadonlyMap<string, ReadonlySet<string>>;

export const tableKey = ({ backend, family, name }: Table): string => `${backend} ${family} ${name}`;

/**
 * All facts of a node, as `nodeFacts` gives them but for the lines of a dump, which nobody has. Given what was judged before and the chains that a change
 * touched since, the NodePorts that cannot have come by any of it are not walked again. Facts that say the same as before are the same objects.
 */
export function judgeNode(node: NodeState, wanted: Wanted, before?: { readonly judged: Judged; readonly touched: TouchedChains }): Judged {
  const earlier = before?.judged;
  const found = before === undefined ? everything : staleBetween(before.judged, { node, wanted }, before.touched);
  const stale = earlier !== undefined && intersects(found.keys, earlier.common) ? everything : found;
  const common = commonOf(node);
  if (!stale.all) for (const each of earlier?.common ?? []) common.add(each);
  const questions = questionsOf(node, wanted);
  const nodePorts = new Map<string, JudgedNodePort>();
  let walked = 0;
  let room = limits.walkStartsMax;
  for (const nodePort of questions.nodePorts) {
    const key = nodePortFactKey(nodePort);
    const known = earlier?.nodePorts.get(key);
    const claim = questions.claims.get(key);
    const isConcerned = known === undefined || found.all || concerns(found, { node, nodePort, known });
    if (known !== undefined && !stale.all && !isConcerned) {
      room -= branchesOf(known.starts);
      nodePorts.set(key, sameClaim(known.claim, claim) ? known : claimedBy(known, claim));
      continue;
    }
    walked++;
    // What all come by may have changed, and nothing that this one came by before the routing decision, which most of a walk is spent on.
    const { visits, starts } = known !== undefined && !isConcerned ? known : { visits: new Set<string>(), starts: new Map<Vantage, Starts>() };
    const facts = noting({ own: visits, common }, () => judgeNodePort(node, nodePort, { ...questions, starts })).map(withoutLines);
    room -= branchesOf(starts);
    if (room < 0) starts.clear();
    nodePorts.set(key, { facts: asBefore(known?.facts, facts), claim, visits, starts });
  }
  const others = judgeOthers({ node, wanted }, { questions, common, before, stale });
  return { node, wanted, facts: [...[...nodePorts.values()].flatMap(({ facts }) => facts), ...others.facts], nodePorts, others, common, walked };
}

function branchesOf(starts: ReadonlyMap<Vantage, Starts>): number {
  let count = 0;
  for (const orders of starts.values()) for (const { states, ended } of orders.values()) count += states.length + ended.length;
  return count;
}

interface OthersContext {
  readonly questions: Questions;
  readonly common: Set<string>;
  readonly before: { readonly judged: Judged } | undefined;
  readonly stale: Stale;
}

function judgeOthers({ node, wanted }: Pick<Judged, 'node' | 'wanted'>, { questions, common, before, stale }: OthersContext): JudgedOthers {
  const { nodePorts } = questions;
  const known = before?.judged.others;
  if (before !== undefined && known !== undefined && keepsOthers(before.judged, { node, wanted, nodePorts }, stale)) return known;
  const visits = new Set<string>();
  // Walks for these share ways with those of NodePorts.
  const facts = noting({ own: visits, common }, () => otherFacts(node, wanted, questions));
  const earlier = new Map(known?.facts.map((fact) => [fact.key, fact]));
  return { facts: facts.map((fact) => asBefore([earlier.get(fact.key) ?? fact], [fact])[0] as Fact), nodePorts, visits };
}

/** The facts before, where they say the same. */
const asBefore = <Some extends Fact>(before: readonly Some[] | undefined, facts: readonly Some[]): readonly Some[] =>
  before?.length === facts.length ? facts.map((fact, index) => (sameFact(before[index], fact) ? (before[index] as Some) : fact)) : facts;

/** Chains of one Service or endpoint: kube-proxy changes them all the time, and nothing but the walks of their NodePorts looks at them. */
const ofOneService = /^KUBE-(?:SVC|SVL|SEP|XLB|FW)-/;

/** Whether nothing has changed that the facts beside those of the NodePorts are made of. */
function keepsOthers(before: Judged, after: Pick<Judged, 'node' | 'wanted'> & { readonly nodePorts: readonly NodePortKey[] }, stale: Stale): boolean {
  if (stale.all || before.wanted !== after.wanted || intersects(stale.keys, before.others.visits)) return false;
  const parts = ({ host, ipsets, processes, counters, proxySync, flows, beside }: NodeState): unknown[] => [
    host,
    ipsets,
    processes,
    counters,
    proxySync,
    flows,
    beside,
  ];
  if (!sameList(parts(before.node), parts(after.node))) return false;
  const keys = (nodePorts: readonly NodePortKey[]): string[] => nodePorts.map(nodePortFactKey);
  if (!sameList(keys(before.others.nodePorts), keys(after.nodePorts))) return false;
  // Endpoints of Services whose NodePort rule is missing are told with the skeleton of all rules.
  if (before.others.facts.some((fact) => fact.kind === 'chains' && Object.keys(fact.services).length > 0)) return false;
  return [...stale.chains.values()].every(({ name, was, is }) => ofOneService.test(name) && sameNetworks(name, was, is));
}

/** Which networks are the pods' own is taken from the chains of a few Services. */
function sameNetworks(name: string, was: Chain | undefined, is: Chain | undefined): boolean {
  if (!name.startsWith('KUBE-SVC-')) return true;
  if (was === undefined || is === undefined) return false;
  const marks = (chain: Chain): string[] =>
    Array.from({ length: chain.length }, (_, index) => chain.text(index)).filter((text) => text.includes(' ! -s ') && text.includes('KUBE-MARK-MASQ'));
  return sameList(marks(was), marks(is));
}

const sameClaim = (a: Claim | undefined, b: Claim | undefined): boolean => (a === undefined) === (b === undefined) && a?.service === b?.service;

function claimedBy(known: JudgedNodePort, claim: Claim | undefined): JudgedNodePort {
  const claimed: NodePortFact['claimed'] = {
    by: claim === undefined ? 'none' : 'rule',
    ...(claim?.service === undefined ? {} : { service: claim.service }),
  };
  return { ...known, facts: known.facts.map((fact) => ({ ...fact, claimed })), claim };
}

/** One set for each node state: walks remember their ways for as long as it lives, and who goes one of them again visits nothing. */
function commonOf(node: NodeState): Set<string> {
  let common = commons.get(node);
  if (common === undefined) commons.set(node, (common = new Set()));
  return common;
}
const commons = new WeakMap<NodeState, Set<string>>();

/** What of the old facts' grounds may be otherwise now. */
interface Stale {
  readonly all: boolean;
  /** Chains and sockets, as visits name them. */
  readonly keys: ReadonlySet<string>;
  /** The chains among them. */
  readonly chains: ReadonlyMap<string, ChangedChain>;
}

interface ChangedChain {
  readonly table: Table;
  readonly name: string;
  readonly was: Chain | undefined;
  readonly is: Chain | undefined;
}

/** A NodePort with what was judged of it before. `node` is as it is now, its addresses as they were. */
interface JudgedBefore {
  readonly node: NodeState;
  readonly nodePort: NodePortKey;
  readonly known: JudgedNodePort;
}

const everything: Stale = { all: true, keys: new Set(), chains: new Map() };

/** Whether what has changed may decide about a NodePort: it came by it on its way, and not only by rules of it that no packet of this NodePort can match. */
function concerns({ keys, chains }: Stale, judged: JudgedBefore): boolean {
  const { visits } = judged.known;
  const [few, many] = keys.size < visits.size ? [keys, visits] : [visits, keys];
  for (const key of few) {
    if (!many.has(key)) continue;
    const chain = chains.get(key);
    if (chain === undefined || visits.has(translatedKey(key)) || !isSameFor(chain, judged)) return true;
  }
  return false;
}

/**
 * Whether a chain has the same rules for packets to a NodePort, in the same order. kube-proxy writes the rules of all Services anew at each of its syncs, in an
 * order that is another one each time, and of each NodePort only its own rule among them counts.
 */
function isSameFor({ was, is, table }: ChangedChain, { node, nodePort, known }: JudgedBefore): boolean {
  if (was === undefined || is === undefined) return false;
  const address = primaryAddress(node.host, nodePort.family);
  if (address === undefined) return false;
  const packet = { destination: single(address), destinationPort: nodePort.port, protocol: protocolNumbers[nodePort.protocol] };
  const [before, after] = [candidateRules(was, packet), candidateRules(is, packet)];
  if (before === undefined || before.length !== after?.length) return false;
  if (before.some((number, index) => meaningOf(was, number) !== meaningOf(is, after[index] as number))) return false;
  // Facts name rules by their numbers.
  return sameList(before, after) || !known.facts.some((fact) => names(fact, table, is.name));
}

/** By what it says and where it leads: a jump to a chain that was not there when the rule was read is one to a target that is not known. */
const meaningOf = (chain: Chain, index: number): string => `${chain.rule(index).steps.at(-1)?.kind} ${chain.text(index)}`;

/** Whether a chain stands in a fact. */
function names({ outcomes }: NodePortFact, table: Table, chain: string): boolean {
  const isIt = (decider: Decider | undefined): boolean =>
    decider?.chain === chain && decider.table === table.name && decider.family === table.family && decider.backend === table.backend;
  return Object.values(outcomes).some((all) =>
    all.some(({ decidedBy, unless, reply, later }) => isIt(decidedBy) || isIt(reply?.decidedBy) || isIt(later?.decidedBy) || unless?.some(isIt) === true),
  );
}

function staleBetween(before: Judged, after: Pick<Judged, 'node' | 'wanted'>, touched: TouchedChains): Stale {
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
  if (!same) return everything;
  const keys = new Set(differingSockets(was.host.listeners, is.host.listeners));
  const chains = new Map<string, ChangedChain>();
  for (const [index, table] of is.tables.entries()) {
    const earlier = was.tables[index] as Table;
    if (earlier === table) continue;
    if (!sameValues(earlier.sets, table.sets)) return everything;
    for (const name of touched.get(tableKey(table)) ?? differingChains(earlier, table)) {
      const key = chainKey(table, name);
      keys.add(key);
      chains.set(key, { table, name, was: earlier.chains.get(name), is: table.chains.get(name) });
    }
  }
  return { all: false, keys, chains };
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
