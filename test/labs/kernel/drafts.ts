// Random first packets for the arena: from everywhere to where clients of NodePorts send, and to what stands behind.
import fc from 'fast-check';
import type { Draft } from './contest.ts';
import type { Protocol } from './host.ts';
import { askedPorts } from './ports.ts';
import { addresses, type Place } from './topology.ts';

/** Packets of one ruleset: half of them from clients outside. */
export const drafts = (count: number): fc.Arbitrary<readonly Draft[]> =>
  fc.array(
    fc
      .tuple(
        fc.constantFrom<Place>('client', 'client', 'client', 'client', 'client', 'node', 'node', 'pod', 'routed', 'peer', 'remote'),
        fc.constantFrom<0 | 1>(0, 0, 1),
        fc.constantFrom<Protocol>('tcp', 'tcp', 'tcp', 'udp', 'sctp'),
      )
      .chain(([place, family, protocol]) =>
        fc
          .tuple(fc.constantFrom(...sourcesOf(place, family)), fc.constantFrom(...targetsOf(place, family)), fc.constantFrom(...portsOf(protocol)))
          // Nobody would be answered who speaks as ::1 to another address.
          .map(([from, to, port]): Draft => ({ place, protocol, from: to === '::1' ? to : from, to, port })),
      ),
    { minLength: count, maxLength: count, size: 'max' },
  );

/** A NodePort is asked for more often than what stands behind it. */
const portsOf = (protocol: Protocol): readonly number[] => [...askedPorts[protocol], ...askedPorts[protocol].slice(0, protocol === 'tcp' ? 2 : 1)];

function sourcesOf(place: Place, family: 0 | 1): readonly string[] {
  if (place === 'client') return [...addresses.clients[family], ...addresses.clients[family], ...addresses.astray[family]];
  if (place === 'node')
    return [addresses.node[family], addresses.node[family], addresses.nodeSecondary[family], family === 0 ? '127.0.0.1' : addresses.node[family]];
  return [addresses[place][family]];
}

function targetsOf(place: Place, family: 0 | 1): readonly string[] {
  const own = [addresses.node[family], addresses.node[family], addresses.node[family], addresses.nodeSecondary[family], addresses.nodeTowardsPeer[family]];
  const loopback = place === 'client' && family === 0 ? ['127.0.0.1'] : place === 'node' ? [family === 0 ? '127.0.0.1' : '::1'] : [];
  const pods = (['pod', 'routed', 'remote', 'peer'] as const).filter((each) => each !== place).map((each) => addresses[each][family]);
  return [...own, ...loopback, ...pods];
}
