// What is wrong between objects, each of which is right by itself: things that refer to nothing, and two that claim one port or address. Pure.
import { parseAddress } from '../../shared/model/address.ts';
import type { ClusterObjects, ObjectIssue, Service, ServicePort } from './objects.ts';

/** The faults, in the order of the objects. Nothing is said of kinds that could not be read. */
export function faultsBetween(objects: ClusterObjects): ObjectIssue[] {
  return [...orphanSlices(objects), ...sharedNodePorts(objects), ...takenNodePorts(objects), ...sharedAddresses(objects)];
}

const where = 'cluster objects';

function orphanSlices({ services, endpointSlices, unread }: ClusterObjects): ObjectIssue[] {
  if (unread.has('Service')) return [];
  return [...endpointSlices.values()].flatMap(({ namespace, name, serviceName }) =>
    serviceName === '' || services.has(`${namespace}/${serviceName}`)
      ? []
      : [
          {
            where,
            object: `EndpointSlice ${namespace}/${name}`,
            reason: `belongs to Service ${namespace}/${serviceName}, which does not exist: nobody uses it`,
          },
        ],
  );
}

/** Service ports by the NodePort that they ask for. */
function nodePortOwners(services: Iterable<Service>): ReadonlyMap<string, readonly Service[]> {
  const owners = new Map<string, Service[]>();
  for (const service of services) {
    for (const { nodePort, protocol } of service.ports) {
      if (nodePort === undefined) continue;
      const key = `${nodePort}/${protocol}`;
      const known = owners.get(key);
      if (known === undefined) owners.set(key, [service]);
      else known.push(service);
    }
  }
  return owners;
}

const nameOf = ({ namespace, name }: Service): string => `${namespace}/${name}`;

// The API server gives a NodePort to one Service; manifests, and a broken allocator, may give it to two.
function sharedNodePorts({ services }: ClusterObjects): ObjectIssue[] {
  return [...nodePortOwners(services.values())].flatMap(([nodePort, [first, second]]) =>
    first === undefined || second === undefined || first === second
      ? []
      : [
          {
            where,
            object: `Service ${nameOf(second)}`,
            reason: `asks for NodePort ${nodePort}, which Service ${nameOf(first)} has: one of the two is not served`,
          },
        ],
  );
}

// kube-proxy looks at external and load balancer addresses before it looks at NodePorts: where such an address is the node's own, the NodePort behind it is lost.
function takenNodePorts({ services, nodes }: ClusterObjects): ObjectIssue[] {
  const exposed = [...services.values()].filter(({ externalIPs, loadBalancerIPs }) => externalIPs.length + loadBalancerIPs.length > 0);
  if (exposed.length === 0) return [];
  const byAddress = new Map([...nodes.values()].flatMap(({ name, addresses }) => addresses.map(({ address }) => [address, name] as const)));
  const owners = nodePortOwners(services.values());
  return exposed.flatMap((service) =>
    [...service.externalIPs, ...service.loadBalancerIPs].flatMap((address) => {
      const node = byAddress.get(address);
      return node === undefined ? [] : service.ports.flatMap((port) => takenBy({ service, port, address, node, owners }));
    }),
  );
}

interface Taking {
  readonly service: Service;
  readonly port: ServicePort;
  readonly address: string;
  readonly node: string;
  readonly owners: ReturnType<typeof nodePortOwners>;
}

function takenBy({ service, port, address, node, owners }: Taking): ObjectIssue[] {
  const owner = owners.get(`${port.port}/${port.protocol}`)?.find((other) => other !== service);
  if (owner === undefined) return [];
  const reason = `takes ${address}:${port.port}/${port.protocol}, the address of node ${node}, so NodePort ${port.port} of Service ${nameOf(owner)} is not served there`;
  return [{ where, object: `Service ${nameOf(service)}`, reason }];
}

function sharedAddresses({ nodes }: ClusterObjects): ObjectIssue[] {
  const owners = new Map<string, string>();
  return [...nodes.values()].flatMap(({ name, addresses }) =>
    addresses.flatMap(({ type, address }) => {
      if (type !== 'InternalIP') return [];
      if (parseAddress(address) === undefined) return [{ where, object: `Node ${name}`, reason: `InternalIP ${JSON.stringify(address)} is no IP address` }];
      const owner = owners.get(address);
      owners.set(address, name);
      return owner === undefined || owner === name
        ? []
        : [{ where, object: `Node ${name}`, reason: `has InternalIP ${address}, which Node ${owner} has as well` }];
    }),
  );
}
