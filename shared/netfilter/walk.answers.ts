// The answer of a walk's branches, followed back to the client, and the client's next packet: a connection needs both.
import { type Family, type IntervalSet, single } from '../model/address.ts';
import type { Decider, ReplyProblem } from '../model/outcome.ts';
import { asksForFlags, speaksForAll } from './alike.ts';
import type { Ended } from './chains.ts';
import { coalesceEnds } from './coalesce.ts';
import { interfaceOfAddress, isFilteredBridge, knowsSctp, routesTo, routeTo } from './host.ts';
import type { NodeState } from './node.ts';
import type { State } from './packet.ts';
import { chunk } from './sctp.ts';
import { natAddress } from './translate.ts';
import { arrive, leave } from './walk.course.ts';
import { isLocal } from './walk.routing.ts';
import { end, type Walker, withSource } from './walker.ts';

/** What some clients lose although the first packet of their branch got through or was answered: the answer, or a later packet of theirs. */
export interface Loss {
  readonly field: 'reply' | 'later';
  readonly problem: ReplyProblem;
  readonly clients: IntervalSet;
}

/** What follows the first packet of a branch, as far as something gets lost. */
export type Sequel = readonly Loss[];

/** The sequel of a branch. Alike branches are answered alike, as long as nothing names an address on the way. */
export function sequelOf(walker: Walker, branch: Ended): Sequel {
  if (branch.verdict === 'drop' || branch.verdict === 'unknown') return nothingLost;
  const known = branch.kept?.sequel;
  if (known !== undefined) return known;
  if (isToldAtOnce(walker, branch)) return nothingLost;
  const [answers, later] = followersOf(walker, branch);
  const sequel = [...lossesOf(branch, answers, 'reply'), ...lossesOf(branch, later, 'later')];
  const isShared = [...answers, ...later].every(({ verdict, decider }) => verdict === 'forward' || verdict === 'local' || speaksForAll(decider));
  if (isShared && branch.kept !== undefined) branch.kept.sequel = sequel;
  return sequel;
}

const nothingLost: Sequel = [];

/** A process of the node that has no route is told so by the call that would send, without a packet. */
const isToldAtOnce = ({ packet }: Walker, { verdict, decider, state }: Ended): boolean =>
  packet.vantage === 'node' && verdict === 'reject' && decider.by === 'route' && state.ipvs === undefined;

/** Where the answers end, and later packets. */
function followersOf(walker: Walker, branch: Ended): readonly [readonly Ended[], readonly Ended[]] {
  const isStray = branch.state.conntrack === 'untracked' && branch.state.ipvs === undefined;
  const answers = answersOf(walker, branch);
  // Where rules do not look at flags, what holds for the answer holds for those after it.
  const later = [...laterPackets(walker, branch), ...(isStray || asksForFlags(walker.node) ? laterAnswers(walker, branch) : [])];
  return isStray ? [answers.map(strayed), later.map(strayed)] : [answers, later];
}

/** Packets of a connection that was not tracked from its start may be translated for themselves: then nobody knows them where they come to. */
function strayed(end: Ended): Ended {
  if (!end.state.dnat && end.state.nat === undefined) return end;
  return { ...end, verdict: 'drop', decider: { by: 'rule', text: 'the connection is not tracked from its start, so that a later packet alone is translated' } };
}

function lossesOf(branch: Ended, ends: readonly Ended[], field: Loss['field']): readonly Loss[] {
  const lost = ends.filter((end) => isLost(branch, end));
  const share = lost.reduce((sum, { state }) => sum + state.weight, 0) / branch.state.weight;
  return lost.map((end) => ({ field, problem: problemOf(end, share), clients: end.state.original.source }));
}

const isLost = (branch: Ended, { state, verdict }: Ended): boolean =>
  state.clouded !== undefined || (verdict !== 'forward' && verdict !== 'local' && !(verdict === 'refused' && branch.verdict === 'local'));

/** `share`: of the packets that are lost in this way or another, as far as that is a matter of chance. */
function problemOf({ state, verdict, decider }: Ended, share: number): ReplyProblem {
  const certain = state.assumptions.length === 0 && state.clouded === undefined && !(share < 1 - 1e-9);
  const word = !certain || verdict === 'unknown' ? 'unknown' : verdict === 'reject' ? 'reject' : 'drop';
  return { verdict: word, decidedBy: state.clouded ?? decider };
}

function answersOf(walker: Walker, branch: Ended): readonly Ended[] {
  const back = successor(walker);
  const { verdict, state } = branch;
  if (isResetByBridge(walker.node, branch)) resetByBridge(back, branch);
  else if (verdict === 'reject' || verdict === 'refused') for (const answer of refusals(walker.node, branch)) leave(back, answer);
  else if (verdict === 'local') leave(back, { ...replyState(walker.node, state), iif: undefined });
  // Servers that IPVS only passes packets on to answer the client themselves.
  else if (!isPassedOn(branch)) arrive(back, replyState(walker.node, state));
  return coalesceEnds(back.ended);
}

const isPassedOn = ({ verdict, state: { ipvs } }: Ended): boolean => verdict === 'forward' && ipvs !== undefined && ipvs.server.method !== 'masquerade';

const successor = (walker: Walker): Walker => ({
  ...walker,
  options: { traced: false, reply: false },
  ended: [],
  budget: { ...walker.budget },
});

/** The client's next packet on a TCP connection that stands, or its COOKIE ECHO of SCTP: ESTABLISHED, translated as the first was. */
function laterPackets(walker: Walker, branch: Ended): readonly Ended[] {
  const { state } = branch;
  if ((state.protocol !== 6 && state.protocol !== 132) || (branch.verdict !== 'forward' && branch.verdict !== 'local')) return [];
  const next = successor(walker);
  const destination = { address: state.destination, port: state.destinationPort };
  const virtual = state.ipvs === undefined ? undefined : { address: state.ipvs.virtual.destination, port: state.ipvs.virtual.destinationPort };
  const undo = {
    ...(state.dnat ? { destination: virtual ?? destination } : {}),
    ...(state.nat === undefined || state.source === state.original.source ? {} : { source: { address: state.source, port: state.sourcePort } }),
  };
  const packet: State = {
    ...state,
    // Without an entry of its own a later packet begins one, which the kernel takes for a connection that stands already.
    conntrack: isUntracked(state) ? 'new' : state.conntrack === 'new' ? 'established' : state.conntrack,
    ...(state.protocol === 6 ? { tcpFlags: 0x10 } : { sctpChunk: chunk.cookieEcho }),
    mark: 0,
    oif: undefined,
    path: undefined,
    source: state.original.source,
    destination: state.original.destination,
    destinationPort: state.original.destinationPort,
    sourcePort: state.original.sourcePort,
    undo: undo.destination === undefined && undo.source === undefined ? undefined : undo,
    ...(state.ipvs === undefined ? {} : { ipvs: { ...state.ipvs, pending: true } }),
  };
  if (walker.packet.vantage === 'node') leave(next, { ...packet, iif: undefined });
  else arrive(next, packet);
  return coalesceEnds(next.ended);
}

/** What the other side sends next on a TCP connection: where that was not tracked it begins an entry of its own. */
function laterAnswers(walker: Walker, branch: Ended): readonly Ended[] {
  const { state, verdict } = branch;
  if (state.protocol !== 6 || (verdict !== 'forward' && verdict !== 'local')) return [];
  const next = successor(walker);
  const answer = replyState(walker.node, state);
  const packet: State = { ...answer, conntrack: isUntracked(state) ? 'new' : answer.conntrack, tcpFlags: 0x10 };
  if (verdict === 'local') leave(next, { ...packet, iif: undefined });
  else if (!isPassedOn(branch)) arrive(next, packet);
  return coalesceEnds(next.ended);
}

/** The answer to a packet that got through, as whoever took it sends it: translations are undone on its way. */
function replyState(node: NodeState, state: State): State {
  const { original } = state;
  const undo = {
    ...(state.nat === undefined ? {} : { destination: { address: original.source, port: original.sourcePort } }),
    ...(state.dnat ? { source: { address: original.destination, port: original.destinationPort } } : {}),
  };
  return {
    ...state,
    direction: 'reply',
    conntrack: answerTracking(state),
    ...(state.ipvs?.server.method === 'masquerade' ? { ipvs: { ...state.ipvs, pending: true } } : {}),
    source: state.destination,
    sourcePort: state.destinationPort,
    destination: state.nat === undefined ? state.original.source : (natAddress(node.host, state) ?? state.original.source),
    destinationPort: state.nat === undefined ? state.original.sourcePort : undefined,
    iif: state.oif,
    oif: undefined,
    mark: 0,
    path: undefined,
    dnatBy: undefined,
    undo: state.nat === undefined && !state.dnat ? undefined : undo,
  };
}

/** An answer to a connection that was not tracked begins one of its own, unless it is taken out of tracking too: SYN, ACK of TCP is no beginning. */
function answerTracking(state: State): State['conntrack'] {
  if (isUntracked(state)) return state.protocol === 6 ? 'invalid' : 'new';
  return state.conntrack === 'new' ? 'established' : state.conntrack;
}

/** Whether the first packet left no entry behind: a rule said so, or IPVS did. */
const isUntracked = (state: State): boolean => state.conntrack === 'untracked' || state.ipvs?.untracked === true;

/** The refusals of a branch: the address that they come from depends on the route back, so clients are divided by it. */
function refusals(node: NodeState, branch: Ended): readonly State[] {
  const parts = routesTo(node.host, branch.state.original.source, { family: branch.state.family });
  return parts.map(({ set }) => refusal(node, { ...branch, state: withSource({ ...branch.state, direction: 'original' }, set) }));
}

/** What the node itself answers to a packet that it refuses: a TCP reset, an abort of SCTP, or an ICMP error, which belongs to the connection as RELATED. */
function refusal(node: NodeState, branch: Ended): State {
  const { state, verdict, rejectWith } = branch;
  const reply = { ...replyState(node, state), iif: undefined };
  const isRefused = verdict === 'refused';
  if (isRefused && state.protocol === 6) return { ...reply, tcpFlags: 0x14 };
  if (isRefused && state.protocol === 132 && knowsSctp(node.host)) return { ...reply, sctpChunk: chunk.abort };
  const tracked = state.conntrack === 'untracked' ? 'invalid' : 'related';
  if (rejectWith === 'tcp-reset') return { ...reply, tcpFlags: 0x14, conntrack: tracked, attached: true };
  const icmp = isRefused && state.protocol === 132 ? unknownProtocol[state.family] : icmpAnswer(state.family, rejectWith);
  // The UDP layer lets go of the connection before it refuses (nf_reset_ct), so that error is looked up anew; others belong to it from their making.
  const attached = isRefused && state.protocol === 17 ? {} : { attached: true as const };
  return {
    ...reply,
    ...attached,
    ...(icmp === undefined ? {} : { icmp }),
    protocol: state.family === 4 ? 1 : 58,
    errorOf: state.protocol,
    conntrack: tracked,
    source: icmpSource(node, state),
  };
}

/** REJECT answers what came through a bridge with a reset that leaves by the bridge at once: it meets no rule, and no translation is undone (nf_send_reset). */
const isResetByBridge = (node: NodeState, { rejectWith, state }: Ended): boolean =>
  rejectWith === 'tcp-reset' && state.iif !== undefined && isFilteredBridge(node.host, state.family, state.iif);

function resetByBridge(back: Walker, { state }: Ended): void {
  const decider: Decider = { by: 'rule', text: 'the reset leaves by the bridge as it is, so that the client does not know the address that it comes from' };
  end(back, replyState(back.node, state), { verdict: state.dnat ? 'drop' : 'forward', decider });
}

/** ICMP errors come from the address that was asked, if it is the node's, else from the one that the route back to the client gives (icmp_send). */
function icmpSource(node: NodeState, state: State): IntervalSet {
  const [asked] = state.destination;
  if (asked !== undefined && interfaceOfAddress(node.host, state.family, asked.lo) !== undefined) return state.destination;
  const [client] = state.original.source;
  const back = client === undefined ? undefined : routeTo(node.host, client.lo, { family: state.family, mark: 0 });
  if (back?.kind !== 'route') return state.destination;
  if (isLocal(back)) return state.original.source;
  const own = node.host.interfaces.find((device) => device.name === back.route.device)?.addresses.find((address) => address.family === state.family);
  return own === undefined ? state.destination : single(own.value);
}

/** Type and code of an ICMP error by the word of the reject; undefined where the word is not known. */
function icmpAnswer(family: Family, word = 'port-unreach'): { readonly type: number; readonly code: number } | undefined {
  const codes = family === 4 ? icmpCodes : icmp6Codes;
  const found = Object.entries(codes).find(([name]) => word.includes(name));
  return found === undefined ? undefined : { type: family === 4 ? 3 : 1, code: found[1] };
}

/** What a kernel answers that does not know the protocol: protocol unreachable, or in IPv6 a parameter problem, next header not recognised. */
const unknownProtocol = { 4: { type: 3, code: 2 }, 6: { type: 4, code: 1 } } as const;

const icmpCodes: Readonly<Record<string, number>> = {
  'net-prohib': 9,
  'host-prohib': 10,
  'admin-prohib': 13,
  'no-route': 0,
  'net-unreach': 0,
  'host-unreach': 1,
  prot: 2,
  'port-unreach': 3,
};
const icmp6Codes: Readonly<Record<string, number>> = {
  'no-route': 0,
  adm: 1,
  'addr-unreach': 3,
  'host-unreach': 3,
  'port-unreach': 4,
  'policy-fail': 5,
  'reject-route': 6,
};
