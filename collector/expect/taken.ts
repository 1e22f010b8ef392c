// Where a Service's external or load balancer address is a node's own: kube-proxy looks at it before it looks at NodePorts, so a NodePort of the same number is lost there.
import type { ClusterObjects, Service, ServicePort } from '../kubernetes/objects.ts';

/** Who takes a port of an address: `tcp/80` → the Service and its port. */
export type TakenPorts = ReadonlyMap<string, { readonly service: Service; readonly port: ServicePort }>;

export const nothingTaken: TakenPorts = new Map();

/** The ports that are taken on a node with these addresses. */
export function takenPorts(objects: ClusterObjects, addresses: readonly string[]): TakenPorts {
  const byAddress = takersOf(objects.services);
  if (byAddress.size === 0) return nothingTaken;
  const taken = addresses.flatMap((address) => [...(byAddress.get(address) ?? [])]);
  return taken.length === 0 ? nothingTaken : new Map(taken);
}

/** By address. Looked for once for each state of the Services. k3s gives every load balancer the addresses of the nodes, so only ports that are NodePorts as well count. */
function takersOf(services: ClusterObjects['services']): ReadonlyMap<string, TakenPorts> {
  const known = takers.get(services);
  if (known !== undefined) return known;
  const exposed = [...services.values()].filter(({ externalIPs, loadBalancerIPs }) => externalIPs.length + loadBalancerIPs.length > 0);
  const found = exposed.length === 0 ? new Map() : takersAmong(exposed, nodePortsOf(services));
  takers.set(services, found);
  return found;
}

function takersAmong(exposed: readonly Service[], nodePorts: ReadonlySet<string>): ReadonlyMap<string, TakenPorts> {
  const found = new Map<string, Map<string, { service: Service; port: ServicePort }>>();
  for (const service of exposed) {
    for (const port of service.ports) {
      const name = `${port.protocol}/${port.port}`;
      if (!nodePorts.has(name)) continue;
      for (const address of [...service.externalIPs, ...service.loadBalancerIPs]) {
        const taken = found.get(address) ?? new Map();
        found.set(address, taken.set(name, { service, port }));
      }
    }
  }
  return found;
}

const nodePortsOf = (services: ClusterObjects['services']): ReadonlySet<string> =>
  new Set(
    [...services.values()].flatMap(({ ports }) => ports.flatMap(({ protocol, nodePort }) => (nodePort === undefined ? [] : [`${protocol}/${nodePort}`]))),
  );

const takers = new WeakMap<ClusterObjects['services'], ReadonlyMap<string, TakenPorts>>();
