// The statements of one nft rule (`expr` of its JSON) as steps of the walk, in order. What cannot be judged stays with its rule: others are not touched.
import type { IntervalSet } from '../model/address.ts';
import { parseAddress } from '../model/address.ts';
import { decodeVerdict, valueIntervals } from './nft.element.ts';
import type { TableScope } from './nft.field.ts';
import { isList, type Json, member, named, numberMember, textMember, tooDeep, wordsMember } from './nft.json.ts';
import { markSteps } from './nft.mark.ts';
import { decodeKeyParts, decodeMatch, neededConditions, setReference } from './nft.match.ts';
import { renderExpression, renderStatement } from './nft.text.ts';
import type { NatMap, NftElement, NftSetReference, PortRange, Step, TableFamily, Verdict } from './rule.ts';
import { isVerdict } from './rule.ts';

/** Decodes the statements of a rule. Never throws: a statement that is not understood is a step that says so. */
export function decodeStatements(statements: Json, scope: TableScope): Step[] {
  if (!isList(statements)) return [unknown(statements, 'a rule is a list of statements')];
  if (tooDeep(statements)) return [{ kind: 'unknown', name: 'rule', reason: 'nested too deeply' }];
  const steps = statements.flatMap((statement) => decodeStatement(statement, scope));
  return proxyLast(withoutRepeats(steps));
}

function decodeStatement(statement: Json, scope: TableScope): Step[] {
  const found = named(statement);
  if (found === undefined) return [unknown(statement, 'not a statement')];
  const { kind, value } = found;
  switch (kind) {
    case 'match':
      return decodeMatch(value, scope);
    case 'accept':
    case 'drop':
    case 'return':
    case 'continue':
    case 'jump':
    case 'goto':
    case 'queue':
      return [decodeVerdict(statement)];
    case 'reject':
      return rejectSteps(value, scope);
    case 'vmap':
      return verdictMapSteps(value, scope);
    case 'dnat':
    case 'snat':
      return natSteps(kind, value, scope);
    case 'masquerade':
    case 'redirect':
      return localNatSteps(kind, value);
    case 'tproxy':
      return tproxySteps(value, scope);
    case 'mangle':
      return markSteps(value);
    case 'set':
    case 'map':
      return setUpdateSteps(kind, value);
    case 'notrack':
      return [{ kind: 'notrack' }];
    case 'xt':
      return xtSteps(value);
    default:
      return [plainStep(kind) ?? unknown(statement, `${kind} is not among the statements that the walk knows`)];
  }
}

const unknown = (statement: Json, reason: string): Verdict => ({ kind: 'unknown', name: renderStatement(statement), reason });

/** Statements that change nothing that decides a packet's way. */
const effectless: ReadonlySet<string> = new Set([
  'counter',
  'log',
  'last',
  'dup',
  'flow',
  'ct helper',
  'ct timeout',
  'ct expectation',
  'secmark',
  'meter add',
  'comment',
]);

/** Statements that end the rule depending on what is not in the packet. */
const uncertain: ReadonlyMap<string, string> = new Map([
  ['limit', 'it matches by the rate of packets'],
  ['quota', 'it matches by the bytes seen so far'],
  ['ct count', 'it matches by the number of connections'],
  ['meter', 'it matches by what was seen before'],
]);

function plainStep(kind: string): Step | undefined {
  if (effectless.has(kind)) return { kind: 'effectless', name: kind };
  const reason = uncertain.get(kind);
  return reason === undefined ? undefined : { kind: 'may', module: kind, reason };
}

/** `reject` alone is an unreachable port in the family's own ICMP; `icmp` and `icmpv6` bind the rule to their family, `tcp reset` to TCP. */
function rejectSteps(value: Json, scope: TableScope): Step[] {
  const type = textMember(value, 'type');
  if (type === 'tcp reset') return [...neededConditions([{ protocol: 6 }], scope), { kind: 'reject', with: 'tcp-reset' }];
  const own = ownIcmp(scope.family);
  const expression = member(value, 'expr');
  const word = typeof expression === 'string' || typeof expression === 'number' ? String(expression) : 'port-unreachable';
  const family = type === 'icmp' ? 2 : type === 'icmpv6' ? 10 : undefined;
  return [...neededConditions(family === undefined ? [] : [{ family }], scope), { kind: 'reject', with: `${type ?? own}-${word}` }];
}

const ownIcmp = (family: TableFamily): string => (family === 'ip' ? 'icmp' : family === 'ip6' ? 'icmpv6' : 'icmpx');

function verdictMapSteps(value: Json, scope: TableScope): Step[] {
  const { key, types, fields } = decodeKeyParts(member(value, 'key') ?? null, scope);
  const map = setReference(member(value, 'data') ?? null, { key: types, value: ['verdict'] });
  if (map === undefined) return [unknown({ vmap: value }, 'no map')];
  return [...neededConditions(fields, scope), { kind: 'verdictMap', key, map }];
}

/** The parts of an address translation that were read, with the conditions that the kernel checks before. */
interface Target {
  readonly addresses?: IntervalSet;
  readonly ports?: PortRange;
  readonly map?: NatMap;
  readonly needs: readonly Step[];
}

function natSteps(kind: 'dnat' | 'snat', value: Json, scope: TableScope): Step[] {
  const family = natFamily(value, scope);
  const mixed = scope.family !== 'ip' && scope.family !== 'ip6';
  const first = mixed && family !== undefined ? neededConditions([{ family: family === 4 ? 2 : 10 }], scope) : [];
  const target = natTarget(value, scope, family);
  const statement = unknown({ [kind]: value }, 'cannot read where it translates to');
  if (target === undefined) return [...first, statement];
  const { needs, ...rest } = target;
  if (!isNetmap(value)) return [...first, ...needs, { kind, ...(family !== undefined && { family }), ...rest }];
  const to = rest.addresses?.[0];
  if (family === undefined || to === undefined || rest.map !== undefined || rest.ports !== undefined) return [...first, ...needs, statement];
  return [...first, { kind: 'netmap', to: { family, lo: to.lo, hi: to.hi } }];
}

const isNetmap = (value: Json): boolean => wordsMember(value, 'type_flags').includes('prefix') || wordsMember(value, 'flags').includes('netmap');

function natFamily(value: Json, scope: TableScope): 4 | 6 | undefined {
  const family = textMember(value, 'family') ?? scope.family;
  if (family === 'ip' || family === 'ip6') return family === 'ip' ? 4 : 6;
  const address = member(value, 'addr');
  return typeof address === 'string' ? parseAddress(address)?.family : undefined;
}

function natTarget(value: Json, scope: TableScope, family: 4 | 6 | undefined): Target | undefined {
  const address = member(value, 'addr');
  const port = member(value, 'port');
  const addressMap = member(address, 'map');
  const portMap = member(port, 'map');
  const addresses = address === undefined || addressMap !== undefined ? undefined : valueIntervals(address, family === 6 ? 'ipv6_addr' : 'ipv4_addr');
  const ports = port === undefined || portMap !== undefined ? undefined : portRange(port);
  const map = addressMap ?? portMap;
  const decoded = map === undefined ? undefined : natMap(map, scope, portMap === map ? 'port' : 'address');
  const unread = [
    address !== undefined && addressMap === undefined && addresses === undefined,
    port !== undefined && portMap === undefined && ports === undefined,
  ];
  if (unread.includes(true) || (addressMap !== undefined && portMap !== undefined) || (map !== undefined && decoded === undefined)) return undefined;
  return { ...(addresses && { addresses }), ...(ports && { ports }), ...(decoded && { map: decoded.map }), needs: decoded?.needs ?? [] };
}

function portRange(value: Json): PortRange | undefined {
  const interval = valueIntervals(value, 'inet_service')?.[0];
  return interval && { lo: Number(interval.lo), hi: Number(interval.hi) };
}

function natMap(value: Json, scope: TableScope, alone: 'address' | 'port'): { map: NatMap; needs: Step[] } | undefined {
  const { key, types, fields } = decodeKeyParts(member(value, 'key') ?? null, scope);
  const data = member(value, 'data') ?? null;
  const map = setReference(data, { key: types, value: [] });
  const holds = map === undefined ? undefined : mapHolds(map, scope, alone);
  return map && holds && { map: { key, map, holds }, needs: neededConditions(fields, scope) };
}

function mapHolds(map: NftSetReference, scope: TableScope, alone: 'address' | 'port'): ('address' | 'port')[] | undefined {
  if (map.kind === 'named') {
    const types = scope.valueTypes(map.name);
    if (types?.length === 2 && !types.includes('unknown')) return types.map((type) => (type === 'inet_service' ? 'port' : 'address'));
    return types !== undefined && types.length > 2 ? undefined : types?.length === 2 ? ['address', 'port'] : [alone];
  }
  const lengths = new Set(map.elements.map((element: NftElement) => element.value?.length));
  if (lengths.size !== 1) return lengths.size === 0 ? [alone] : undefined;
  return lengths.has(1) ? [alone] : lengths.has(2) ? ['address', 'port'] : undefined;
}

function localNatSteps(kind: 'masquerade' | 'redirect', value: Json): Step[] {
  const port = member(value, 'port');
  const ports = port === undefined ? undefined : portRange(port);
  if (port !== undefined && ports === undefined) return [unknown({ [kind]: value }, 'cannot read the ports')];
  return [{ kind, ...(ports && { ports }) }];
}

const allBits = 0xffffffff;

function tproxySteps(value: Json, scope: TableScope): Step[] {
  const address = member(value, 'addr');
  const parsed = typeof address === 'string' ? parseAddress(address) : undefined;
  const port = numberMember(value, 'port');
  const statement = unknown({ tproxy: value }, 'cannot read the address or port');
  if ((address !== undefined && parsed === undefined) || (member(value, 'port') !== undefined && port === undefined)) return [statement];
  const family = parsed === undefined ? textMember(value, 'family') : parsed.family === 4 ? 'ip' : 'ip6';
  const needs = family === 'ip' || family === 'ip6' ? neededConditions([{ family: family === 'ip' ? 2 : 10 }], scope) : [];
  return [...needs, { kind: 'tproxy', ...(parsed && { address: parsed.value }), ...(port !== undefined && { port }), markAnd: allBits, markXor: 0 }];
}

/** Filling a set decides nothing by itself, but a limit or quota within it does. */
function setUpdateSteps(kind: 'set' | 'map', value: Json): Step[] {
  const operation = textMember(value, 'op') ?? 'update';
  const inner = member(value, 'stmt') ?? member(member(value, 'elem'), 'stmt');
  const first: Step = { kind: 'effectless', name: `${operation} ${renderExpression(member(value, kind) ?? null)}` };
  return [first, ...(isList(inner) ? inner : []).flatMap((statement) => plainStep(named(statement)?.kind ?? '') ?? [])];
}

/** An extension of iptables in an nft listing, which does not print its options. */
function xtSteps(value: Json): Step[] {
  const name = textMember(value, 'name') ?? 'xt';
  if (textMember(value, 'type') !== 'match') return [{ kind: 'unknown', name: `xt ${name}`, reason: 'nft does not print the options of iptables targets' }];
  if (name === 'comment') return [{ kind: 'effectless', name: 'comment' }];
  return [{ kind: 'may', module: `xt ${name}`, reason: 'nft does not print the options of iptables matches' }];
}

/** Drops a condition on protocol or family that the same rule has already made: those left unsaid are put before every field that needs them. */
function withoutRepeats(steps: readonly Step[]): Step[] {
  const seen = new Set<string>();
  return steps.filter((step) => {
    if (step.kind !== 'number' || step.negate || step.mask !== undefined || (step.field !== 'protocol' && step.field !== 'family')) return true;
    const text = `${step.field} ${step.set.map(({ lo, hi }) => `${lo}-${hi}`).join()}`;
    return seen.has(text) ? false : seen.add(text);
  });
}

/** `tproxy` picks the socket and lets the rule go on, typically to set the mark and accept; the walk's verdict ends it, so it goes last. */
function proxyLast(steps: readonly Step[]): Step[] {
  const at = steps.findIndex((step) => step.kind === 'tproxy');
  const proxy = steps[at];
  const after = steps.slice(at + 1);
  if (proxy === undefined || after.some((step) => isVerdict(step) && step.kind !== 'accept')) return [...steps];
  return [...steps.slice(0, at), ...after.filter((step) => step.kind !== 'accept'), proxy];
}
