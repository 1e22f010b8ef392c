// Judges one condition against a set of packets: yes, no, may, by chance, or yes for some of the sources and no for the others.
import { type IntervalSet, intersect, subtract, union } from '../model/address.ts';
import { addressValue, conntrackWord, interfaceMatches, narrowed, numberValue, ofClients, type Surroundings, typeSet, typeSet6 } from './fields.ts';
import { type Host, isBridgedBack, isFilteredBridge, routesTo } from './host.ts';
import { matchIpset } from './ipset.match.ts';
import { matchLookup } from './lookup.ts';
import { holds, type Judgement, may, negated, no, remembers, type State, yes } from './packet.ts';
import type { Condition, InterfacePattern } from './rule.ts';

/** Judges a condition. Never certain where it depends on something that was not read. */
export function judge(state: State, condition: Condition, around: Surroundings): Judgement {
  if (needsConnection(condition) && !hasConnection(state, around)) return no;
  if (needsPort(condition) && isRoutedFromBridge(state, around)) return no;
  const judgement = judgePlain(state, condition, around);
  return 'negate' in condition && condition.negate ? negated(judgement) : judgement;
}

/** Matches on a connection's entry hold for no packet that has none, negated or not (xt_conntrack, nft_ct). States are told of every packet. */
function needsConnection(condition: Condition): boolean {
  switch (condition.kind) {
    case 'conntrackStatus':
    case 'conntrackDirection':
      return true;
    case 'address':
      return condition.field !== 'source' && condition.field !== 'destination';
    case 'number':
      return condition.field.startsWith('original') || condition.field === 'connmark';
    default:
      return false;
  }
}

/** A name of the outgoing port holds for no packet that came through a bridge and is routed, negated or not (xt_physdev). */
const needsPort = (condition: Condition): boolean =>
  condition.kind === 'interface' && condition.field === 'physicalOut' && condition.patterns.some(({ name }) => name !== '');

const isRoutedFromBridge = (state: State, { node: { host } }: Surroundings): boolean =>
  state.iif !== undefined && isFilteredBridge(host, state.family, state.iif) && !isBridgedBack(host, state, state.oif);

/** Whether a packet has an entry in the table of connections. */
export const hasConnection = (state: State, around: Pick<Surroundings, 'beforeConntrack'>): boolean =>
  !around.beforeConntrack && state.conntrack !== 'untracked' && state.conntrack !== 'invalid';

function judgePlain(state: State, condition: Condition, around: Surroundings): Judgement {
  switch (condition.kind) {
    case 'address':
      return condition.family === state.family ? judgeAddress(state, condition.field, condition.set) : no;
    case 'number':
      return judgeNumber(state, condition);
    case 'interface':
      return judgeInterface(state, condition, around);
    case 'conntrackState':
      return holds(condition.anyOf.some((word) => conntrackWord(state, word, around)));
    case 'conntrackStatus':
      return judgeStatus(state, condition.anyOf, around);
    case 'conntrackDirection':
      return around.beforeConntrack ? no : holds(condition.direction === state.direction);
    case 'addressType':
      return judgeAddressType(state, condition, around);
    case 'reversePath':
      return judgeReversePath(state, condition.loose, around);
    case 'ipset':
      return matchIpset(state, condition, around);
    case 'lookup':
      return matchLookup(state, condition, around);
    case 'random':
      return { kind: 'chance', probability: condition.probability };
    case 'recent':
      return condition.operation === 'set' ? yes : remembers(`it depends on whether the client is in the list "${condition.list}"`);
    case 'may':
      return may(condition.reason);
    case 'never':
      return no;
  }
}

/** Narrows one side of a packet set to some addresses. */
export function judgeAddress(state: State, field: string, set: IntervalSet): Judgement {
  const value = addressValue(state, field);
  if (value === undefined) return may(`${field} of the connection is not known`);
  const inside = intersect(value, set);
  if (inside.length === 0) return no;
  const outside = subtract(value, set);
  if (outside.length === 0) return yes;
  if (field === 'originalSource' || field === 'replyDestination') return { kind: 'split', yes: ofClients(state, inside), no: ofClients(state, outside) };
  if (field !== 'source' && field !== 'destination') return may(`${field} is a set of addresses of which only some match`);
  return { kind: 'split', yes: narrowed(state, field, inside), no: narrowed(state, field, outside) };
}

const portProtocols = new Set([6, 17, 33, 132, 136]);

function judgeNumber(state: State, condition: Condition & { kind: 'number' }): Judgement {
  const { field } = condition;
  if ((field === 'sourcePort' || field === 'destinationPort') && !portProtocols.has(state.protocol) && state.icmp === undefined) return no;
  if ((field === 'tcpFlags' && state.protocol !== 6) || (field === 'sctpChunk' && state.protocol !== 132)) return no;
  if ((field === 'icmpType' || field === 'icmpCode') && state.protocol !== 1 && state.protocol !== 58) return no;
  const value = numberValue(state, field);
  if (value === undefined) {
    if (condition.mask === undefined && field.endsWith('Port') && state.icmp === undefined) return judgeClientPort(condition.set);
    return may(`${field} is not known beforehand`);
  }
  const masked = condition.mask === undefined ? value : BigInt(value) & condition.mask;
  for (const { lo, hi } of condition.set) if (lo <= masked && masked <= hi) return yes;
  return no;
}

/** A port that is not known is one that the client's system chose: an ephemeral one, 32768 to 65535 in today's systems. */
const ephemeralPorts: IntervalSet = [{ lo: 32768n, hi: 65535n }];

function judgeClientPort(set: IntervalSet): Judgement {
  if (intersect(ephemeralPorts, union(set)).length === 0) return no;
  return subtract(ephemeralPorts, union(set)).length === 0 ? yes : may("it depends on the client's own port");
}

function judgeInterface(state: State, { field, patterns }: Condition & { kind: 'interface' }, around: Surroundings): Judgement {
  if (field === 'physicalIn') return judgePort(state, patterns, { device: state.iif, host: around.node.host });
  // A packet that is routed leaves by no port of a bridge that is known yet.
  if (field === 'physicalOut') {
    const device = isBridgedBack(around.node.host, state, state.oif) ? state.oif : undefined;
    return judgePort(state, patterns, { device, host: around.node.host });
  }
  const name = field === 'in' ? state.iif : state.oif;
  if (name === undefined) return holds(patterns.some((pattern) => pattern.prefix && pattern.name === ''));
  return holds(patterns.some((pattern) => interfaceMatches(name, pattern)));
}

/** The port of a bridge is known to rules where the bridge has them asked (br_netfilter). */
function judgePort(
  { family }: State,
  patterns: readonly InterfacePattern[],
  { device, host }: { readonly device: string | undefined; readonly host: Host },
): Judgement {
  if (device === undefined || !isFilteredBridge(host, family, device)) return no;
  const ports = host.interfaces.filter(({ master }) => master === device);
  const hit = ports.filter(({ name }) => patterns.some((pattern) => interfaceMatches(name, pattern)));
  if (hit.length === 0) return no;
  return hit.length === ports.length ? yes : may('which port of the bridge the packet came or goes by is not known');
}

function judgeStatus(state: State, anyOf: readonly string[], around: Surroundings): Judgement {
  if (around.beforeConntrack || state.conntrack === 'untracked' || state.conntrack === 'invalid') return no;
  const held = (word: string): boolean | undefined => {
    if (word === 'dnat') return state.dnat;
    // A source replaced by itself may still have got another port.
    if (word === 'snat') return state.nat === undefined && state.settledSource ? undefined : state.nat !== undefined;
    // What REJECT or a missing socket answers is no answer of the connection's other end.
    const isAnswered = state.conntrack === 'established';
    if (word === 'seen-reply') return isAnswered;
    if (word === 'assured') return isAnswered ? undefined : false;
    if (word === 'confirmed') return isAnswered || state.iif === 'lo' || (state.direction === 'reply' ? undefined : false);
    return false;
  };
  const answers = anyOf.map(held);
  if (answers.includes(true)) return yes;
  return answers.includes(undefined) ? may('the state of the connection at that point is not certain') : no;
}

function judgeAddressType(state: State, condition: Condition & { kind: 'addressType' }, around: Surroundings): Judgement {
  const device = condition.limit === undefined ? undefined : condition.limit === 'in' ? state.iif : state.oif;
  const x6 = state.family === 6 && around.table.backend !== 'nft';
  const set = x6 ? typeSet6(condition.anyOf, { around, device }) : union(...condition.anyOf.map((type) => typeSet(state.family, type, { around, device })));
  const { host } = around.node;
  if (!host.known.routes && !host.known.interfaces) return may('the addresses of the node were not read');
  if (condition.limit !== undefined && device === undefined) return may('the interface is not known here');
  return judgeAddress(state, condition.side, set);
}

/** Packets on loopback always pass (rpfilter_is_loopback, nft_fib_is_loopback). */
function judgeReversePath(state: State, loose: boolean, around: Surroundings): Judgement {
  if (state.iif === 'lo') return yes;
  const parts = routesTo(around.node.host, state.source, { family: state.family, source: state.destination });
  if (parts.some((part) => part.answer.kind === 'unknown')) return may('the routes back to the client are not known');
  const right = parts.filter(({ answer }) => answer.kind === 'route' && answer.route.type === 'unicast' && (loose || answer.route.device === state.iif));
  return judgeAddress(state, 'source', union(...right.map((part) => part.set)));
}
