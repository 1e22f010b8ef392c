// What the kernel's load balancer (IPVS) does with a first packet: which virtual service takes it, and which real servers it may go to.
import type { Family } from '../model/address.ts';
import type { Decider } from '../model/outcome.ts';
import type { IpvsServer, IpvsService } from './ipvs.parse.ts';
import { methodFlags, serverText, serviceText } from './ipvs.text.ts';
import type { NodeState } from './node.ts';
import type { State } from './packet.ts';

/**
 * Where a packet may go. `weight`: share of new connections; 0 for a server that only clients get that it has served before. Not certain: it depends on other
 * connections.
 */
export type Choice =
  | { readonly kind: 'server'; readonly server: IpvsServer; readonly weight: number; readonly certain: boolean }
  /** No server takes it: the client is answered that the port is unreachable. */
  | { readonly kind: 'nobody'; readonly weight: number; readonly certain: boolean };

/** One connection as IPVS knows it: whom the client asked, and whom the packets go to. Those after the first go the same way without being scheduled. */
export interface IpvsConnection {
  readonly service: IpvsService;
  readonly server: IpvsServer;
  /** The address and port that IPVS saw: those of the virtual service. */
  readonly virtual: { readonly destination: State['destination']; readonly destinationPort: number | undefined };
  /** IPVS has taken the packets out of connection tracking (net.ipv4.vs.conntrack = 0). */
  readonly untracked: boolean;
  /** A later packet or an answer that IPVS has yet to give its other address. */
  readonly pending: boolean;
}

/** The port that the packets of a connection get: the server's, or that of the packet where the service takes every port. */
export function serverPort({ service, server, virtual }: IpvsConnection): number | undefined {
  const own = service.persistentSeconds === undefined ? server.port !== 0 : virtual.destinationPort === service.port && server.port !== 0;
  return own ? server.port : virtual.destinationPort;
}

/**
 * The virtual service that takes a packet: by the packet's mark first, then by protocol, address and port, then a persistent one of port 0 (every port).
 * TCP connections begin with SYN; other protocols are taken whatever comes.
 */
export function virtualServiceFor(node: NodeState, state: State): IpvsService | undefined {
  if (!scheduled.has(state.protocol)) return undefined;
  const own = node.ipvs.filter((service) => service.family === state.family);
  const marked = own.find((service) => service.fwmark !== undefined && service.fwmark === state.mark);
  if (marked !== undefined) return marked;
  const [only] = state.destination;
  if (only === undefined || only.lo !== only.hi || state.destination.length > 1) return undefined;
  const named = own.filter((service) => service.fwmark === undefined && service.protocol === state.protocol && service.address === only.lo);
  return named.find((service) => service.port === state.destinationPort) ?? named.find((service) => service.port === 0);
}

const scheduled: ReadonlySet<number> = new Set([6, 17, 132]);

/** The servers that new connections go to, with their shares. No usable server: `nobody`, which is answered with port unreachable. */
export function choicesOf(service: IpvsService, node: NodeState): readonly Choice[] {
  // Only persistent services may have port 0: the kernel's scheduler gives up on others.
  if (service.port === 0 && service.fwmark === undefined && service.persistentSeconds === undefined) return [nobody];
  const shares = sharesOf(service);
  const total = shares.reduce((sum, share) => sum + share, 0);
  if (total === 0) return [nobody, ...rememberedServers(service, node)];
  const fixed = serversFixedByHash.has(service.scheduler) && !service.flags.includes('sh-fallback');
  const choices = service.servers.flatMap((server, index): readonly Choice[] => {
    const weight = (shares[index] ?? 0) / total;
    if (weight === 0) return [];
    return fixed && server.weight === 0 ? [{ ...nobody, weight }] : [{ kind: 'server', server, weight, certain: true }];
  });
  // ovf fills one server after another up to as many connections as its weight says, and then refuses.
  if (service.scheduler === 'ovf') return [...choices, nobody].map((choice) => ({ ...choice, certain: false }));
  return [...choices, ...(fixed ? [] : rememberedServers(service, node))];
}

const nobody: Choice = { kind: 'nobody', weight: 1, certain: true };

/** sh and dh give each address a server beforehand, one of weight 0 as well: its clients are refused. */
const serversFixedByHash: ReadonlySet<string> = new Set(['sh', 'dh']);

function sharesOf({ scheduler, flags, servers }: IpvsService): readonly number[] {
  const best = Math.max(0, ...servers.map(({ weight }) => weight));
  switch (scheduler) {
    case 'dh':
      return servers.map(() => 1);
    case 'sh':
      return flags.includes('sh-fallback') ? servers.map(({ weight }) => weight) : servers.map(({ weight }) => Math.max(1, weight));
    case 'rr':
    case 'lc':
      return servers.map(({ weight }) => (weight > 0 ? 1 : 0));
    // The first server of the highest weight takes all.
    case 'fo':
      return servers.map((_, index) => (best > 0 && index === servers.findIndex(({ weight }) => weight === best) ? 1 : 0));
    default:
      return servers.map(({ weight }) => weight);
  }
}

/** A persistent client goes back to its server of weight 0, unless the kernel is told to forget it (kube-proxy tells it so at its start). */
function rememberedServers(service: IpvsService, node: NodeState): readonly Choice[] {
  if (service.persistentSeconds === undefined || expiresQuiescent(node)) return [];
  return service.servers.filter(({ weight }) => weight === 0).map((server): Choice => ({ kind: 'server', server, weight: 0, certain: false }));
}

function expiresQuiescent(node: NodeState): boolean {
  const setting = node.host.sysctls.get('net.ipv4.vs.expire_quiescent_template');
  return setting === undefined ? isOfKubeProxy(node) : setting !== '0';
}

/**
 * Whether connections of IPVS keep their conntrack entry (net.ipv4.vs.conntrack): without it nothing translates their source any more. Undefined: the setting
 * was not read and may be either. kube-proxy turns it on at its start; the kernel's own default is off.
 */
export function keepsConntrack(node: NodeState): boolean | undefined {
  const setting = node.host.sysctls.get('net.ipv4.vs.conntrack');
  if (setting !== undefined) return setting !== '0';
  return isOfKubeProxy(node) ? true : undefined;
}

const isOfKubeProxy = (node: NodeState): boolean => [...node.ipsets.keys()].some((name) => /^KUBE-(6-)?(NODE-PORT|CLUSTER-IP|LOOP-BACK)/.test(name));

/** Names the service and its server (or that it has none) in the words of `ipvsadm -Sn`. */
export function ipvsDecider(service: IpvsService, server?: IpvsServer): Decider {
  const text =
    server === undefined ? `${serviceText(service)}, ${lackText(service)}` : `${serviceText(service)} → ${serverText(server)} ${methodFlags[server.method]}`;
  return { by: 'ipvs', text: `ipvsadm: -A ${text}`, line: (server ?? service).line };
}

function lackText({ servers }: IpvsService): string {
  if (servers.length === 0) return 'no real server';
  return servers.some(({ weight }) => weight > 0) ? 'no real server that takes it' : 'no real server of a weight above 0';
}

/** The families whose packets IPVS looks at: it has hooks only where it has services. */
export const balances = (node: NodeState, family: Family): boolean => node.ipvs.some((service) => service.family === family);
