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

/** The Services whose NodePorts may be taken by another one: those must be judged again whenever any Service is. */
export function ownersOfTaken(objects: ClusterObjects): ReadonlySet<string> {
  const ports = new Set([...takersOf(objects.services).values()].flatMap((taken) => [...taken.keys()]));
  if (ports.size === 0) return new Set();
  const owners = [...objects.services.values()].filter((service) => service.ports.some(({ protocol, nodePort }) => ports.has(`${protocol}/${nodePort}`)));
  return new Set(owners.map(({ namespace, name }) => `${namespace}/${name}`));
}

/** By address. Looked for once for each state of the Services. */
function takersOf(services: ClusterObjects['services']): ReadonlyMap<string, TakenPorts> {
  const known = takers.get(services);
  if (known !== undefined) return known;
  const found = new Map<string, Map<string, { service: Service; port: ServicePort }>>();
  for (const service of services.values()) {
    for (const address of [...service.externalIPs, ...service.loadBalancerIPs]) {
      const taken = found.get(address) ?? new Map();
      for (const port of service.ports) taken.set(`${port.protocol}/${port.port}`, { service, port });
      found.set(address, taken);
    }
  }
  takers.set(services, found);
  return found;
}

const takers = new WeakMap<ClusterObjects['services'], ReadonlyMap<string, TakenPorts>>();
