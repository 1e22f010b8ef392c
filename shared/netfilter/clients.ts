// Who the clients of a node can be: all of the outside world that the node could answer.
import { everything, type Family, type IntervalSet, single, subtract, union } from '../model/address.ts';
import { type Host, routeDestinations } from './host.ts';
import type { NodeState } from './node.ts';

/**
 * All unicast sources of a family except the node's own addresses: the whole outside world. A node without a default route has no clients but those that it
 * has a route to: others could never be answered.
 */
export function outsideSources({ host }: NodeState, family: Family): IntervalSet {
  let known = outside.get(host);
  if (known === undefined) outside.set(host, (known = {}));
  return (known[family] ??= computeOutside(host, family));
}
/** Remembered, as it is asked for every NodePort. */
const outside = new WeakMap<Host, Partial<Record<Family, IntervalSet>>>();

function computeOutside(host: Host, family: Family): IntervalSet {
  const never: IntervalSet =
    family === 4
      ? [
          { lo: 0n, hi: 0xffffffn },
          { lo: 0x7f000000n, hi: 0x7fffffffn },
          { lo: 0xe0000000n, hi: 0xffffffffn },
        ]
      : [
          { lo: 0n, hi: 1n },
          { lo: 0xffn << 120n, hi: (1n << 128n) - 1n },
        ];
  const own = host.interfaces.flatMap((device) => device.addresses).filter((address) => address.family === family);
  const world = subtract(everything(family), union(never, ...own.map((address) => single(address.value))));
  const routed = routeDestinations(host, world, { family, mark: 0 }).filter(({ answer }) => answer.kind !== 'none');
  return routed.length === 0 ? world : union(...routed.map(({ set }) => set));
}
