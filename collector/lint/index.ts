// Practice for NodePorts: what works today and will be trouble, told from the cluster's objects alone. Pure; a fault that clients meet now is a finding, not a lint.

import { kubectl, patchService, shellWord } from '../causes/remedy.ts';
import { endpointsOf, slicesOf } from '../expect/endpoints.ts';
import type { ClusterObjects, Pod, Service } from '../kubernetes/objects.ts';
import { purposeOf, registerOf } from './register.ts';

export interface Lint {
  /** Stable word for it, for filters. */
  readonly rule: LintRule;
  readonly severity: 'warning' | 'info';
  /** `namespace/name`; empty for what concerns a node or the cluster. */
  readonly service: string;
  readonly text: string;
  /** A command or a line of a manifest. */
  readonly remedy: string;
}

/** Every rule and what it warns of. */
export const lintRules = {
  'unpinned-node-port': 'a manifest leaves the NodePort to the API server: another one after each recreation',
  'numeric-target-port': 'targetPort is a number although the containers name the port: a changed container port is not noticed',
  'no-readiness-probe': 'endpoints count as ready before the program answers, and stay so when it hangs',
  'client-address-lost': "externalTrafficPolicy Cluster, and the Service says that it needs the client's address",
  'single-endpoint': 'one endpoint stands behind a NodePort: each restart of its pod refuses clients',
  'wide-exposure': 'one Service opens many NodePorts on every node',
  'duplicate-port': 'two Services ask for one NodePort',
  'undocumented-port': 'nothing says what the NodePort is for',
  'ephemeral-overlap': "NodePorts lie in the node's own port range and are not reserved",
} as const;
export type LintRule = keyof typeof lintRules;

/** What the node of a capture adds: its settings by name. */
export interface LintedNode {
  readonly name: string;
  readonly sysctls: ReadonlyMap<string, string>;
}

/** All lints, warnings first, then by Service and rule. */
export function lintCluster(objects: ClusterObjects, node?: LintedNode): Lint[] {
  const exposed = [...objects.services.values()].filter(({ type }) => type === 'NodePort' || type === 'LoadBalancer');
  const lints = [
    ...exposed.flatMap((service) => lintService(objects, service)),
    ...duplicates(objects),
    ...(node === undefined ? [] : overlaps(objects, node)),
  ];
  const rank = ({ severity, service, rule }: Lint): string => `${severity === 'warning' ? 0 : 1} ${service} ${rule}`;
  return lints.sort((a, b) => (rank(a) < rank(b) ? -1 : 1));
}

/** NodePorts of one Service from which on its exposure is wide. */
const portsMax = 5;

function lintService(objects: ClusterObjects, service: Service): Lint[] {
  const pods = podsOf(objects, service);
  return [
    ...unpinned(service),
    ...numericTarget(service, pods),
    ...withoutProbe(service, pods),
    ...addressLost(service),
    ...singleEndpoint(objects, service),
    ...wideExposure(service),
    ...undocumented(service),
  ];
}

const nameOf = ({ namespace, name }: Pick<Service, 'namespace' | 'name'>): string => `${namespace}/${name}`;

function podsOf({ pods }: ClusterObjects, { namespace, selector }: Service): readonly Pod[] {
  const wanted = Object.entries(selector ?? {});
  return wanted.length === 0
    ? []
    : [...pods.values()].filter((pod) => pod.namespace === namespace && wanted.every(([key, value]) => pod.labels[key] === value));
}

// An object of the API has been given a number; only a manifest can leave it out.
function unpinned(service: Service): Lint[] {
  const open = service.ports.filter(({ nodePort }) => nodePort === undefined);
  if (service.uid !== '' || open.length === 0 || (service.type === 'LoadBalancer' && !service.allocateLoadBalancerNodePorts)) return [];
  return [
    {
      rule: 'unpinned-node-port',
      severity: 'warning',
      service: nameOf(service),
      text: `port ${open.map(({ port }) => port).join(', ')} has no nodePort: the API server chooses one, and another one when the Service is made anew; firewalls and clients know the old one`,
      remedy: `nodePort: 30000  # or another free number, in spec.ports of the manifest`,
    },
  ];
}

function numericTarget(service: Service, pods: readonly Pod[]): Lint[] {
  return service.ports.flatMap((port): Lint[] => {
    if (typeof port.targetPort !== 'number' || port.nodePort === undefined) return [];
    const names = pods.map((pod) => pod.containers.flatMap(({ ports }) => ports).find((each) => each.containerPort === port.targetPort)?.name);
    const [name] = names;
    // Only where every pod names the port alike does the name say more than the number.
    if (name === undefined || names.some((each) => each !== name)) return [];
    return [
      {
        rule: 'numeric-target-port',
        severity: 'info',
        service: nameOf(service),
        text: `targetPort ${port.targetPort} is called "${name}" by its pods: by name it follows when the container's port changes`,
        remedy: patchService(service, { spec: { ports: [{ port: port.port, protocol: port.protocol.toUpperCase(), targetPort: name }] } }),
      },
    ];
  });
}

function withoutProbe(service: Service, pods: readonly Pod[]): Lint[] {
  const bare = pods.filter(({ containers }) => containers.every(({ readinessProbe }) => !readinessProbe));
  const [first] = bare;
  if (first === undefined) return [];
  return [
    {
      rule: 'no-readiness-probe',
      severity: 'warning',
      service: nameOf(service),
      text: `${bare.length} of its ${pods.length} pods have no readiness probe (${first.name} …): clients are sent to them before they answer, and still when they hang`,
      remedy: `${kubectl(service.namespace)} get pod ${shellWord(first.name)} -o jsonpath='{.metadata.ownerReferences}'  # add readinessProbe to that template`,
    },
  ];
}

// Only a Service that says so itself is known to need it: annotations and names of proxies that pass the client's address on.
const needsAddress = /(preserve|keep|real|source|client)[-_ ]?(client)?[-_ ]?(ip|address)|proxy-protocol|x-forwarded-for/i;

function addressLost(service: Service): Lint[] {
  const said = Object.entries(service.annotations ?? {}).find(([key, value]) => needsAddress.test(key) && value !== 'false');
  if (said === undefined || service.externalTrafficPolicy === 'Local') return [];
  return [
    {
      rule: 'client-address-lost',
      severity: 'warning',
      service: nameOf(service),
      text: `its annotation ${said[0]} asks for the client's address, but externalTrafficPolicy is Cluster: the pods see the address of a node`,
      remedy: patchService(service, { spec: { externalTrafficPolicy: 'Local' } }),
    },
  ];
}

function singleEndpoint(objects: ClusterObjects, service: Service): Lint[] {
  const [port] = service.ports;
  if (port?.nodePort === undefined) return [];
  const family = service.ipFamilies[0] === 'IPv6' ? 6 : 4;
  const ready = endpointsOf(slicesOf(objects, service), port, family).filter(({ endpoint }) => endpoint.ready);
  if (ready.length !== 1) return [];
  return [
    {
      rule: 'single-endpoint',
      severity: 'info',
      service: nameOf(service),
      text: `a single endpoint (${ready[0]?.text}) serves NodePort ${port.nodePort}: clients are refused whenever its pod is replaced`,
      remedy: `${kubectl(service.namespace)} get pods -o wide  # then scale its workload to two or more replicas`,
    },
  ];
}

function wideExposure(service: Service): Lint[] {
  const open = service.ports.filter(({ nodePort }) => nodePort !== undefined);
  if (open.length <= portsMax) return [];
  return [
    {
      rule: 'wide-exposure',
      severity: 'warning',
      service: nameOf(service),
      text: `it opens ${open.length} NodePorts on every node (${open.map(({ nodePort }) => nodePort).join(', ')}): each is a way in that firewalls must know`,
      remedy: `${kubectl(service.namespace)} edit service ${shellWord(service.name)}  # keep what outside clients need; the rest as a Service of type ClusterIP`,
    },
  ];
}

function undocumented(service: Service): Lint[] {
  if (purposeOf(service) !== '' || service.ports.every(({ nodePort }) => nodePort === undefined)) return [];
  return [
    {
      rule: 'undocumented-port',
      severity: 'info',
      service: nameOf(service),
      text: 'no annotation says what its NodePort is for',
      remedy: `${kubectl(service.namespace)} annotate service ${shellWord(service.name)} description='WHAT IT IS FOR'`,
    },
  ];
}

function duplicates(objects: ClusterObjects): Lint[] {
  const groups = Map.groupBy(registerOf(objects), ({ port, protocol }) => `${port}/${protocol}`);
  return [...groups].flatMap(([key, all]): Lint[] => {
    const services = [...new Set(all.map(({ service }) => service))];
    if (services.length < 2) return [];
    return [
      {
        rule: 'duplicate-port',
        severity: 'warning',
        service: services[1] as string,
        text: `${services.join(' and ')} ask for NodePort ${key}: the API server refuses the one that comes later`,
        remedy: 'portreeve lint --register --cluster DIR  # shows which numbers are free',
      },
    ];
  });
}

function overlaps(objects: ClusterObjects, { name, sysctls }: LintedNode): Lint[] {
  const range = /^(\d+)\s+(\d+)$/.exec(sysctls.get('net.ipv4.ip_local_port_range') ?? '');
  if (range === null) return [];
  const [lo, hi] = [Number(range[1]), Number(range[2])];
  const reserved = (sysctls.get('net.ipv4.ip_local_reserved_ports') ?? '').split(',').map((part) => part.split('-').map(Number));
  const isReserved = (port: number): boolean => reserved.some(([from = Number.NaN, to = from]) => from <= port && port <= to);
  const within = [...new Set(registerOf(objects).map(({ port }) => port))].filter((port) => port >= lo && port <= hi && !isReserved(port));
  if (within.length === 0) return [];
  return [
    {
      rule: 'ephemeral-overlap',
      severity: 'warning',
      service: '',
      text: `${name} takes ports ${lo}-${hi} for its own connections, ${within.slice(0, 6).join(', ')} among them: now and then one clashes with a NodePort`,
      remedy: 'sysctl -w net.ipv4.ip_local_reserved_ports=30000-32767',
    },
  ];
}
