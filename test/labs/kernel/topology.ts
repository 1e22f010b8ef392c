// What stands where in the arena: the hosts with their addresses and wires, as commands for `ip`, and what each host is to the node.
//
//   client ── eth0 ┌──────┐ cni0 (bridge) ── pod
//                  │ node │ cali1 (routed) ── routed
//   remote ── peer ── eth1 └──────┘
import type { Vantage } from '../../../shared/model/outcome.ts';

/** A host that packets are sent from. */
export type Place = 'client' | 'node' | 'pod' | 'routed' | 'peer' | 'remote';
export const places: readonly Place[] = ['client', 'node', 'pod', 'routed', 'peer', 'remote'];

/** Addresses of the arena; the node's own come first in each family. */
export const addresses = {
  node: ['10.9.0.1', 'fd09::1'],
  nodeSecondary: ['10.9.0.21', 'fd09::21'],
  nodeTowardsPods: ['10.244.1.1', 'fd44:1::1'],
  nodeTowardsPeer: ['10.8.0.1', 'fd08::1'],
  clients: [
    ['10.9.0.2', '10.9.0.3', '10.9.0.66', '198.51.100.7', '203.0.113.9'],
    ['fd09::2', 'fd09::3', '2001:db8:7::7'],
  ],
  /** Addresses that the client uses although the node looks for them elsewhere, has no route to them, or has them itself. */
  astray: [
    ['10.244.2.66', '192.0.2.9', '10.244.1.1'],
    ['fd44:2::66', '2001:db8:99::9'],
  ],
  pod: ['10.244.1.11', 'fd44:1::11'],
  routed: ['10.244.3.71', 'fd44:3::71'],
  peer: ['10.8.0.2', 'fd08::2'],
  remote: ['10.244.2.11', 'fd44:2::11'],
} as const;
const peerTowardsPods = ['10.244.2.1', 'fd44:2::1'] as const;

/** What a host is to the node, and the interface that its packets come in by. */
export const standing: Readonly<Record<Place, { readonly vantage: Vantage; readonly iif?: string }>> = {
  client: { vantage: 'external', iif: 'eth0' },
  node: { vantage: 'node' },
  pod: { vantage: 'pod', iif: 'cni0' },
  routed: { vantage: 'pod', iif: 'cali1' },
  peer: { vantage: 'peer', iif: 'eth1' },
  remote: { vantage: 'peer', iif: 'eth1' },
};

/** Interfaces of the node that packets are watched on; of the bridge its port, as frames that it passes back to their port never reach its own interface. */
export const watched: readonly string[] = ['eth0', 'eth1', 'pod0', 'cali1', 'lo'];

/** The host that has an address; undefined where nobody answers to it. Loopback addresses are those of whoever sends to them, those of links are the node's. */
export function hostOf(address: string, place: Place): Place | undefined {
  if (address.startsWith('127.') || address === '::1') return place === 'client' ? 'node' : place;
  if (address.startsWith('fe80:')) return 'node';
  const { node, nodeSecondary, nodeTowardsPods, nodeTowardsPeer } = addresses;
  if ([...node, ...nodeSecondary, ...nodeTowardsPods, ...nodeTowardsPeer].some((own) => own === address)) return 'node';
  if ((peerTowardsPods as readonly string[]).includes(address)) return 'peer';
  return (['pod', 'routed', 'peer', 'remote'] as const).find((name) => (addresses[name] as readonly string[]).includes(address));
}

/** Addresses that a host's program answers at. */
export function ownAddresses(place: Place): readonly string[] {
  if (place === 'client') return [...addresses.clients.flat(), ...addresses.astray.flat()];
  if (place === 'peer') return [...addresses.peer, ...peerTowardsPods];
  if (place !== 'node') return addresses[place];
  return [...addresses.node, ...addresses.nodeSecondary, ...addresses.nodeTowardsPods, ...addresses.nodeTowardsPeer, '127.0.0.1', '::1'];
}

/** `ip -batch` lines for each host, in the order of `places`, links first. `namespace` tells the full name of a host's namespace. */
export function wiring(namespace: (place: Place) => string): readonly (readonly [Place, readonly string[]])[] {
  const pair = (near: string, mac: string, far: string): string => `link add ${near} address 02:00:00:00:${mac}:01 type veth peer name ${far}`;
  const link = (near: string, mac: string, host: Place): string => `${pair(near, mac, 'eth0')} address 02:00:00:00:${mac}:02 netns ${namespace(host)}`;
  return [
    [
      'node',
      ['link set lo up', link('eth0', '00', 'client'), link('eth1', '02', 'peer'), link('pod0', '01', 'pod'), link('cali1', '03', 'routed'), ...nodeSetup],
    ],
    ['peer', ['link set lo up', link('pod0', '04', 'remote'), ...peerSetup]],
    ['client', clientSetup],
    ['pod', farSetup(addresses.pod, ['10.244.1.1', 'fd44:1::1'], '01')],
    ['remote', farSetup(addresses.remote, ['10.244.2.1', 'fd44:2::1'], '04')],
    ['routed', routedSetup],
  ];
}

const bridgeMac = '02:00:00:00:01:01';

const nodeSetup: readonly string[] = [
  `link add cni0 address ${bridgeMac} type bridge mcast_snooping 0`,
  'link set pod0 address 02:00:00:00:01:03',
  'link set pod0 master cni0',
  'link set pod0 type bridge_slave hairpin on',
  ...up('eth0', 'eth1', 'pod0', 'cni0', 'cali1'),
  ...address('eth0', '10.9.0.1/24', '10.9.0.21/24', 'fd09::1/64', 'fd09::21/64'),
  ...address('cni0', '10.244.1.1/24', 'fd44:1::1/64'),
  ...address('eth1', '10.8.0.1/24', 'fd08::1/64'),
  'route add 198.51.100.0/24 via 10.9.0.2',
  'route add 203.0.113.0/24 via 10.9.0.2',
  'route add 10.244.2.0/24 via 10.8.0.2',
  'route add 10.244.3.71/32 dev cali1',
  'route add 2001:db8:7::/64 via fd09::2',
  'route add fd44:2::/64 via fd08::2',
  'route add fd44:3::71/128 dev cali1',
  ...neighbours(
    'eth0',
    '02:00:00:00:00:02',
    addresses.clients.flat().filter((each) => /^(10\.9\.|fd09:)/.test(each)),
  ),
  ...neighbours('cni0', '02:00:00:00:01:02', addresses.pod),
  ...neighbours('eth1', '02:00:00:00:02:02', addresses.peer),
  ...neighbours('cali1', '02:00:00:00:03:02', addresses.routed),
];

const peerSetup: readonly string[] = [
  ...up('eth0', 'pod0'),
  ...address('eth0', '10.8.0.2/24', 'fd08::2/64'),
  ...address('pod0', '10.244.2.1/24', 'fd44:2::1/64'),
  ...neighbours('eth0', '02:00:00:00:02:01', addresses.nodeTowardsPeer),
  ...neighbours('pod0', '02:00:00:00:04:02', addresses.remote),
  'route add default via 10.8.0.1',
  'route add ::/0 via fd08::1',
];

/** 127.0.0.1 is the node to the client, which has no such address itself: a neighbour that sends to loopback addresses is what route_localnet lets in. */
const clientSetup: readonly string[] = [
  'addr del 127.0.0.1/8 dev lo',
  ...up('eth0'),
  ...address(
    'eth0',
    '10.9.0.2/24',
    'fd09::2/64',
    ...ownAddresses('client')
      .filter((each) => !/^(10\.9\.0\.2|fd09::2)$/.test(each))
      .map(asHost),
  ),
  ...neighbours('eth0', '02:00:00:00:00:01', [...addresses.node, ...addresses.nodeSecondary]),
  'route add default via 10.9.0.1',
  'route add ::/0 via fd09::1',
  'route add 127.0.0.1/32 via 10.9.0.1',
];

/** As Calico wires a pod: an address of its own and a gateway that exists for it alone. */
const routedSetup: readonly string[] = [
  ...up('eth0'),
  ...address('eth0', '10.244.3.71/32', 'fd44:3::71/128'),
  'route add 169.254.1.1/32 dev eth0',
  'route add default via 169.254.1.1',
  'route add ::/0 via fe80::1 dev eth0',
  ...neighbours('eth0', '02:00:00:00:03:01', ['169.254.1.1', 'fe80::1']),
];

function farSetup(own: readonly string[], gateways: readonly string[], mac: string): readonly string[] {
  const [four, six] = own as readonly [string, string];
  return [
    ...up('eth0'),
    ...address('eth0', `${four}/24`, `${six}/64`),
    ...neighbours('eth0', mac === '01' ? bridgeMac : `02:00:00:00:${mac}:01`, gateways),
    `route add default via ${gateways[0]}`,
    `route add ::/0 via ${gateways[1]}`,
  ];
}

function asHost(each: string): string {
  return `${each}/${each.includes(':') ? 128 : 32}`;
}

function up(...devices: readonly string[]): readonly string[] {
  return devices.map((device) => `link set ${device} up`);
}

function address(device: string, ...list: readonly string[]): readonly string[] {
  return list.map((each) => `addr add ${each} dev ${device}${each.includes(':') ? ' nodad' : ''}`);
}

/** Neighbours are known for good: rules that break IPv6 neighbour discovery are another matter than the fate of a packet. */
function neighbours(device: string, mac: string, list: readonly string[]): readonly string[] {
  return list.map((each) => `neigh replace ${each} lladdr ${mac} dev ${device} nud permanent`);
}
