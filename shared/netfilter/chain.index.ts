// Finds the rules of a long chain that a packet can match at all, by exact destination, port and protocol: KUBE-NODEPORTS is never scanned once per port.
import type { State } from './packet.ts';
import type { Condition, Rule } from './rule.ts';
import type { Chain } from './ruleset.ts';

/** Chains shorter than this are scanned. */
const indexFrom = 24;

/** The indexes of the rules to try, ascending; undefined means all of them. */
export function candidateRules(chain: Chain, state: State): readonly number[] | undefined {
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
    const rule = chain.rule(number);
    const address = exactAddress(rule);
    const port = address === undefined ? exactPort(rule) : undefined;
    if (address !== undefined) append(byAddress, address, number);
    else if (port !== undefined) append(byPort, port, number);
    else others.push(number);
  }
  const index = { byAddress, byPort, others };
  indexes.set(chain, index);
  return index;
}

/** Conditions that hold before the rule does anything; later ones must not be used, as the packet may be changed by then. */
function* leading(rule: Rule): Iterable<Condition> {
  for (const step of rule.steps) {
    if (!('negate' in step) && step.kind !== 'may') return;
    yield step as Condition;
  }
}

function exactAddress(rule: Rule): bigint | undefined {
  for (const step of leading(rule)) {
    if (step.kind !== 'address' || step.field !== 'destination' || step.negate || step.set.length !== 1) continue;
    const [only] = step.set;
    if (only !== undefined && only.lo === only.hi) return only.lo;
  }
  return undefined;
}

function exactPort(rule: Rule): number | undefined {
  let protocol: number | undefined;
  let port: number | undefined;
  for (const step of leading(rule)) {
    if (step.kind !== 'number' || step.negate || step.mask !== undefined || step.set.length !== 1) continue;
    const [only] = step.set;
    if (only === undefined || only.lo !== only.hi) continue;
    if (step.field === 'protocol') protocol = Number(only.lo);
    if (step.field === 'destinationPort') port = Number(only.lo);
  }
  return protocol === undefined || port === undefined ? undefined : protocol * 65536 + port;
}

function append<Key>(map: Map<Key, number[]>, key: Key, number: number): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [number]);
  else list.push(number);
}

function merge(lists: readonly (readonly number[])[]): readonly number[] {
  return lists.flat().sort((a, b) => a - b);
}
