// Finds the rules of a long chain that a packet can match at all, by exact destination, port and protocol: KUBE-NODEPORTS is never scanned once per port.
import type { Interval } from '../model/address.ts';
import type { State } from './packet.ts';
import { isCondition, type Rule } from './rule.ts';
import type { Chain } from './ruleset.ts';

/** Chains shorter than this are scanned. */
const indexFrom = 24;

/** The indexes of the rules to try, ascending; undefined means all of them. */
export function candidateRules(chain: Chain, state: Pick<State, 'destination' | 'destinationPort' | 'protocol'>): readonly number[] | undefined {
  if (chain.length < indexFrom) return undefined;
  const index = indexes.get(chain) ?? build(chain);
  const [destination] = state.destination;
  const lists = [index.others];
  if (destination === undefined || state.destination.length > 1 || destination.lo !== destination.hi) return undefined;
  if (state.destinationPort === undefined) return undefined;
  const byAddress = index.byAddress.get(destination.lo);
  if (byAddress !== undefined) lists.push(byAddress);
  const byPort = index.byPort.get(state.protocol * 65536 + state.destinationPort);
  if (byPort !== undefined) lists.push(byPort);
  return lists.length === 1 ? index.others : merge(lists);
}

interface ChainIndex {
  readonly byAddress: ReadonlyMap<bigint, readonly number[]>;
  /** protocol × 65536 + port. */
  readonly byPort: ReadonlyMap<number, readonly number[]>;
  /** Rules that need neither one exact destination nor one exact port. */
  readonly others: readonly number[];
}
const indexes = new WeakMap<Chain, ChainIndex>();

function build(chain: Chain): ChainIndex {
  const byAddress = new Map<bigint, number[]>();
  const byPort = new Map<number, number[]>();
  const others: number[] = [];
  for (let number = 0; number < chain.length; number++) {
    const { address, port } = exactly(chain.rule(number));
    if (address !== undefined) append(byAddress, address, number);
    else if (port !== undefined) append(byPort, port, number);
    else others.push(number);
  }
  const index = { byAddress, byPort, others };
  indexes.set(chain, index);
  return index;
}

/** The one destination that a rule can hold for, and the one port. Only by conditions before the rule does anything: the packet may be changed by then. */
function exactly({ steps }: Rule): { readonly address?: bigint; readonly port?: number } {
  let protocol: number | undefined;
  let port: number | undefined;
  for (const step of steps) {
    if (!isCondition(step)) break;
    if ((step.kind !== 'address' && step.kind !== 'number') || step.negate || step.set.length !== 1) continue;
    const { lo, hi } = step.set[0] as Interval;
    if (lo !== hi) continue;
    if (step.field === 'destination') return { address: lo };
    if (step.kind !== 'number' || step.mask !== undefined) continue;
    if (step.field === 'protocol') protocol = Number(lo);
    if (step.field === 'destinationPort') port = Number(lo);
  }
  return protocol === undefined || port === undefined ? {} : { port: protocol * 65536 + port };
}

function append<Key>(map: Map<Key, number[]>, key: Key, number: number): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [number]);
  else list.push(number);
}

function merge(lists: readonly (readonly number[])[]): readonly number[] {
  return lists.flat().sort((a, b) => a - b);
}
