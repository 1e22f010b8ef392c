// Looks a packet set up in an ipset: which of its addresses are members, by the rules of each set type.
import { type IntervalSet, union } from '../model/address.ts';
import { icmpPort, narrowed, numberValue, type Surroundings } from './fields.ts';
import { holds, type Judgement, may, type State } from './packet.ts';
import type { Side } from './rule.ts';
import type { Ipset, IpsetEntry, IpsetPart } from './ruleset.ts';
import { type FieldValue, type PartTest, partitionBy } from './tuple.ts';

/** Judges `-m set --match-set NAME src,dst`. A list:set asks its members one after another with the same sides. */
export function matchIpset(state: State, condition: { readonly set: string; readonly sides: readonly Side[] }, around: Surroundings): Judgement {
  const set = around.node.ipsets.get(condition.set);
  if (set === undefined) return may(`the ipset ${condition.set} was not read`);
  if (set.type !== 'list:set') return matchSet(state, set, condition.sides);
  const members = set.entries.flatMap((entry) => entry.parts.flatMap((part) => (part.kind === 'set' ? [part.name] : [])));
  return anyOf(state, members, (part, name) => matchIpset(part, { set: name, sides: condition.sides }, around));
}

function anyOf(state: State, names: readonly string[], ask: (state: State, name: string) => Judgement): Judgement {
  const [first, ...others] = names;
  if (first === undefined) return { kind: 'no' };
  const answer = ask(state, first);
  if (answer.kind === 'yes') return answer;
  if (answer.kind === 'no') return anyOf(state, others, ask);
  if (answer.kind !== 'split') return anyOf(state, others, ask).kind === 'yes' ? { kind: 'yes' } : answer;
  const later = anyOf(answer.no, others, ask);
  if (later.kind === 'no') return answer;
  if (later.kind === 'yes') return later;
  return later.kind === 'split' ? { kind: 'split', yes: joined(answer.yes, later.yes), no: later.no } : later;
}

const joined = (a: State, b: State): State => {
  const source = union(a.source, b.source);
  return { ...a, source, destination: union(a.destination, b.destination), original: { ...a.original, source } };
};

function matchSet(state: State, set: Ipset, sides: readonly Side[]): Judgement {
  const isPorts = set.type === 'bitmap:port' || set.type === 'portmap';
  if (set.family !== state.family && !isPorts) return { kind: 'no' };
  // A bitmap of ports is asked for TCP and UDP alone (ip_set_get_ip_port).
  if (isPorts && state.protocol !== 6 && state.protocol !== 17) return { kind: 'no' };
  if (set.doubt !== undefined) return may(set.doubt);
  const values = valuesOf(state, set, sides);
  const entries = candidatesOf(set, values);
  const partition = partitionBy(values, entries, (entry) =>
    padded(
      entry.parts.flatMap((part) => testsOf(part)),
      values.length,
    ),
  );
  const uncertain = partition.hits.find((hit) => hit.may !== undefined || hit.element.timeoutSeconds !== undefined);
  if (uncertain?.may !== undefined) return may(uncertain.may);
  if (uncertain !== undefined) return may(`an entry of ${set.name} runs out in ${uncertain.element.timeoutSeconds} s`);
  const whole = partition.hits.at(-1);
  if (!partition.remains && partition.hits.length === 1 && whole !== undefined) return holds(!whole.element.nomatch);
  if (partition.hits.length === 0) return { kind: 'no' };
  return splitBy(state, partition);
}

/** An address of bitmap:ip,mac whose MAC is not known yet takes that of the first packet. */
const padded = (tests: readonly PartTest[], length: number): readonly PartTest[] =>
  tests.length >= length ? tests : [...tests, ...Array.from({ length: length - tests.length }, (): PartTest => ({ kind: 'any' }))];

function splitBy(state: State, partition: ReturnType<typeof partitionBy<IpsetEntry>>): Judgement {
  const side = partition.hits.find((hit) => hit.side !== undefined)?.side ?? partition.rest?.side;
  if (side === undefined) return holds(partition.hits.some((hit) => !hit.element.nomatch));
  const sets = (nomatch: boolean): IntervalSet[] => partition.hits.filter((hit) => hit.element.nomatch === nomatch).map((hit) => hit.set ?? []);
  const inside = union(...sets(false));
  const outside = union(...sets(true), partition.rest?.set ?? []);
  if (inside.length === 0) return { kind: 'no' };
  if (outside.length === 0) return { kind: 'yes' };
  return { kind: 'split', yes: narrowed(state, side, inside), no: narrowed(state, side, outside) };
}

const dimensionsOf = ({ type }: Ipset): readonly string[] => type.slice(type.indexOf(':') + 1).split(',');

/** The packet's values in the order of the set type's dimensions (`ip,port,net` …); the port dimension has two parts: protocol and number. */
function valuesOf(state: State, set: Ipset, sides: readonly Side[]): readonly FieldValue[] {
  return dimensionsOf(set).flatMap((dimension, index): FieldValue[] => {
    const side = sides[index] ?? sides.at(-1) ?? 'source';
    switch (dimension) {
      case 'ip':
      case 'net':
        return [{ kind: 'addresses', side, set: state[side] }];
      case 'port': {
        const port = state.icmp === undefined ? numberValue(state, side === 'source' ? 'sourcePort' : 'destinationPort') : icmpPort(state.icmp);
        return [
          { kind: 'number', value: BigInt(state.protocol) },
          port === undefined ? { kind: 'unknown', reason: `the ${side} port is not known beforehand` } : { kind: 'number', value: BigInt(port) },
        ];
      }
      case 'iface':
        return [{ kind: 'name', name: side === 'source' ? state.iif : state.oif }];
      case 'mark':
        return [{ kind: 'number', value: BigInt(state.mark) }];
      default:
        return [{ kind: 'unknown', reason: `the ${dimension} of the packet is not known` }];
    }
  });
}

function testsOf(part: IpsetPart): readonly PartTest[] {
  switch (part.kind) {
    case 'address':
      return [{ kind: 'set', set: [{ lo: part.lo, hi: part.hi }] }];
    case 'port': {
      const port: PartTest = { kind: 'set', set: [{ lo: BigInt(part.lo), hi: BigInt(part.hi) }] };
      return [part.protocol === undefined ? { kind: 'any' } : { kind: 'set', set: [{ lo: BigInt(part.protocol), hi: BigInt(part.protocol) }] }, port];
    }
    case 'interface':
      return [
        part.physical
          ? { kind: 'unreadable', reason: 'physical interfaces of bridged packets are not modelled' }
          : { kind: 'name', name: part.name, prefix: part.prefix === true },
      ];
    case 'mark':
      return [{ kind: 'set', set: [{ lo: BigInt(part.mark), hi: BigInt(part.mark) }] }];
    case 'mac':
      return [{ kind: 'unreadable', reason: 'the MAC address of the client is not known' }];
    case 'set':
      return [{ kind: 'unreadable', reason: 'a set inside a set of another type' }];
  }
}

/** Entries from the most specific to the widest, as the kernel tries prefixes; a bitmap or hash of ports needs no scan. */
function candidatesOf(set: Ipset, values: readonly FieldValue[]): readonly IpsetEntry[] {
  const sorted = sortedEntries.get(set) ?? sortEntries(set);
  const dimension = dimensionsOf(set).indexOf('port');
  // The protocol stands before the number.
  const port = dimension < 0 ? undefined : values[dimension + 1];
  if (set.entries.length < 32 || port?.kind !== 'number') return sorted.all;
  return sorted.byPort.get(port.value) ?? sorted.ranges;
}

interface SortedEntries {
  readonly all: readonly IpsetEntry[];
  /** Entries of exactly one port, with the ranges among them. */
  readonly byPort: ReadonlyMap<bigint, readonly IpsetEntry[]>;
  readonly ranges: readonly IpsetEntry[];
}
const sortedEntries = new WeakMap<Ipset, SortedEntries>();

function sortEntries(set: Ipset): SortedEntries {
  const width = (entry: IpsetEntry): bigint => entry.parts.reduce((sum, part) => (part.kind === 'address' ? sum + part.hi - part.lo : sum), 0n);
  const all = [...set.entries].sort((a, b) => (width(a) < width(b) ? -1 : width(a) > width(b) ? 1 : 0));
  const portOf = (entry: IpsetEntry) => entry.parts.find((part) => part.kind === 'port');
  const ranges = all.filter((entry) => portOf(entry)?.lo !== portOf(entry)?.hi || portOf(entry) === undefined);
  const byPort = new Map<bigint, IpsetEntry[]>();
  for (const entry of all) {
    const port = portOf(entry);
    if (port === undefined || port.lo !== port.hi) continue;
    const key = BigInt(port.lo);
    const list = byPort.get(key);
    if (list === undefined) byPort.set(key, [entry, ...ranges]);
    else list.splice(list.length - ranges.length, 0, entry);
  }
  const sorted = { all, byPort, ranges };
  sortedEntries.set(set, sorted);
  return sorted;
}
