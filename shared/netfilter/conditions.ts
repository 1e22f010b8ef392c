// Judges one condition against a set of packets: yes, no, may, by chance, or yes for some of the sources and no for the others.
import { type IntervalSet, intersect, subtract, union } from '../model/address.ts';
import { addressValue, conntrackWord, interfaceMatches, narrowed, numberValue, type Surroundings, typeSet, typeSet6 } from './fields.ts';
import { routesTo } from './host.ts';
import { matchIpset } from './ipset.match.ts';
import { matchLookup } from './lookup.ts';
import { holds, type Judgement, may, negated, no, remembers, type State, yes } from './packet.ts';
import type { Condition, InterfacePattern } from './rule.ts';

/** Judges a condition. Never certain where it depends on something that was not read. */
export function judge(state: State, condition: Condition, around: Surroundings): Judgement {
  if (needsConnection(condition) && !hasConnection(state, around)) return no;
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
      return condition.field.startsWith('original');
    default:
      return false;
  }
}

const hasConnection = (state: State, around: Surroundings): boolean =>
  !around.beforeConntrack && state.conntrack !== 'untracked' && state.conntrack !== 'invalid';

function judgePlain(state: State, condition: Condition, around: Surroundings): Judgement {
  switch (condition.kind) {
    case 'address':
      return condition.family === state.family ? judgeAddress(state, condition.field, condition.set) : no;
    case 'number':
      return judgeNumber(state, condition);
    case 'interface':
      return judgeInterface(state, condition.field, condition.patterns);
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
  if (field !== 'source' && field !== 'destination') return may(`${field} is a set of addresses of which only some match`);
  return { kind: 'split', yes: narrowed(state, field, inside), no: narrowed(state, field, outside) };
}

const portProtocols = new Set([6, 17, 33, 132, 136]);

function judgeNumber(state: State, condition: Condition & { kind: 'number' }): Judgement {
  const { field } = condition;
  if ((field === 'sourcePort' || field === 'destinationPort') && !portProtocols.has(state.protocol)) return no;
  if (field === 'tcpFlags' && state.protocol !== 6) return no;
  if ((field === 'icmpType' || field === 'icmpCode') && state.protocol !== 1 && state.protocol !== 58) return no;
  const value = numberValue(state, field);
  if (value === undefined) {
    if (condition.mask === undefined && field.endsWith('Port')) return judgeClientPort(condition.set);
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

function judgeInterface(state: State, field: 'in' | 'out' | 'physicalIn' | 'physicalOut', patterns: readonly InterfacePattern[]): Judgement {
  if (field === 'physicalIn' || field === 'physicalOut') return no; // Routed packets have no bridge port; bridged ones never reach a NodePort through these hooks.
  const name = field === 'in' ? state.iif : state.oif;
  if (name === undefined) return holds(patterns.some((pattern) => pattern.prefix && pattern.name === ''));
  return holds(patterns.some((pattern) => interfaceMatches(name, pattern)));
}

function judgeStatus(state: State, anyOf: readonly string[], around: Surroundings): Judgement {
  if (around.beforeConntrack || state.conntrack === 'untracked' || state.conntrack === 'invalid') return no;
  const held = (word: string): boolean | undefined => {
    if (word === 'dnat') return state.dnat;
    // A source replaced by itself may still have got another port.
    if (word === 'snat') return state.nat === undefined && state.settledSource ? undefined : state.nat !== undefined;
    if (word === 'seen-reply') return state.direction === 'reply';
    if (word === 'confirmed' || word === 'assured') return state.direction === 'reply' ? (word === 'assured' ? undefined : true) : false;
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
  const parts = routesTo(around.node.host, state.family, state.source);
  if (parts.some((part) => part.answer.kind === 'unknown')) return may('the routes back to the client are not known');
  const right = parts.filter(({ answer }) => answer.kind === 'route' && answer.route.type === 'unicast' && (loose || answer.route.device === state.iif));
  return judgeAddress(state, 'source', union(...right.map((part) => part.set)));
}
