// A large cluster for benchmarks: objects, and the facts that its nodes would report if their kube-proxies were in step, in the size that real ones have.
import { type ClusterObjects, clusterObjects, type EndpointSlice, type KeyedObject, type Node, type Service } from '../../collector/kubernetes/objects.ts';
import type { Expectation } from '../../shared/model/expectation.ts';
import { servicePortText } from '../../shared/model/expectation.ts';
import type { Fact, NodePortFact } from '../../shared/model/fact.ts';
import type { Decider, Outcome } from '../../shared/model/outcome.ts';

export interface LargeCluster {
  readonly nodes: number;
  readonly services: number;
  /** Endpoints of each Service. */
  readonly endpoints: number;
}

export const nodeName = (index: number): string => `node-${String(index).padStart(4, '0')}`;
/** One Service in ten has externalTrafficPolicy Local, one in fifty no endpoint. */
export function largeCluster({ nodes, services, endpoints }: LargeCluster): ClusterObjects {
  const keyed: KeyedObject[] = [];
  for (let index = 0; index < nodes; index++) keyed.push({ kind: 'Node', key: nodeName(index), object: node(index) });
  for (let index = 0; index < services; index++) {
    keyed.push({ kind: 'Service', key: `shop/app-${index}`, object: service(index) });
    keyed.push({ kind: 'EndpointSlice', key: `shop/app-${index}-x`, object: slice(index, { nodes, endpoints: index % 50 === 7 ? 0 : endpoints }) });
  }
  return clusterObjects(keyed, 1);
}

function node(index: number): Node {
  const addresses = [{ type: 'InternalIP', address: nodeAddress(index) }];
  const labels = { 'topology.kubernetes.io/zone': `zone-${index % 3}` };
  return { name: nodeName(index), uid: `n${index}`, addresses, podCIDRs: [], labels, unschedulable: false, ready: true, taints: [], kubeletVersion: 'v1.32.1' };
}

function service(index: number): Service {
  return {
    namespace: 'shop',
    name: `app-${index}`,
    uid: `s${index}`,
    labels: {},
    type: 'NodePort',
    clusterIPs: [`10.96.${index >> 8}.${index & 255}`],
    ipFamilies: ['IPv4'],
    selector: { app: `app-${index}` },
    ports: [{ name: 'http', protocol: 'tcp', port: 80, targetPort: 8080, nodePort: 20_000 + index }],
    externalTrafficPolicy: index % 10 === 0 ? 'Local' : 'Cluster',
    sessionAffinity: 'None',
    loadBalancerSourceRanges: [],
    externalIPs: [],
    loadBalancerIPs: [],
    publishNotReadyAddresses: false,
    allocateLoadBalancerNodePorts: true,
    managers: [],
  };
}

export function slice(index: number, { nodes, endpoints }: { readonly nodes: number; readonly endpoints: number }): EndpointSlice {
  const address = (number: number): string => `10.${(number >> 16) & 255}.${(number >> 8) & 255}.${number & 255}`;
  return {
    namespace: 'shop',
    name: `app-${index}-x`,
    serviceName: `app-${index}`,
    addressType: 'IPv4',
    ports: [{ name: 'http', port: 8080, protocol: 'tcp' }],
    endpoints: Array.from({ length: endpoints }, (_, each) => ({
      addresses: [address(index * 16 + each)],
      ready: true,
      serving: true,
      terminating: false,
      nodeName: nodeName((index * 7 + each * 131) % nodes),
      targetRef: { kind: 'Pod', namespace: 'shop', name: `app-${index}-${each}` },
    })),
    managers: [],
  };
}

/** The facts of one node whose rules are as expected. */
export function factsInStep(index: number, expectations: readonly Expectation[], objects: ClusterObjects): NodePortFact[] {
  const node = nodeName(index);
  // Where a rule stands differs from node to node, as kube-proxy goes through its Services in no particular order.
  const line = (port: number): number => 100 + ((port * 31 + index * 17) % 40_000);
  return expectations.map((expectation) => factInStep({ node, address: nodeAddress(index), expectation, objects, line }));
}

export const proxyInStep: Fact = { kind: 'proxy', key: 'proxy/kube-proxy', mode: 'iptables', running: 'yes', evidence: 'process kube-proxy, pid 900' };

/** The same values as they come from the wire: nothing in them is shared with anything. */
export const fromWire = (facts: readonly Fact[]): Fact[] => facts.map((fact) => JSON.parse(JSON.stringify(fact)) as Fact);

/** The address that a node's facts are about. */
export const nodeAddress = (index: number): string => `10.200.${index >> 8}.${index & 255}`;

interface InStep {
  readonly node: string;
  readonly address: string;
  readonly expectation: Expectation;
  readonly objects: ClusterObjects;
  readonly line: (port: number) => number;
}

function factInStep({ node, address, expectation, objects, line }: InStep): NodePortFact {
  const { nodePort, service, endpoints, clusterEndpoints, expect, masquerade } = expectation;
  const name = servicePortText(service);
  const chain = (endpoint: string): string => `KUBE-SEP-${Buffer.from(`${name}${endpoint}`).toString('base64').replace(/\W/g, '').slice(-16).toUpperCase()}`;
  const dnat = (endpoint: string, share: number, masqueraded: boolean): Outcome => {
    const text = `-A ${chain(endpoint)} -p tcp -m comment --comment "${name}" -m tcp -j DNAT --to-destination ${endpoint}`;
    const decidedBy: Decider = {
      by: 'rule',
      family: 'ip',
      table: 'nat',
      chain: chain(endpoint),
      rule: 2,
      text,
      backend: 'iptables-nft',
      line: line(nodePort.port),
    };
    return { verdict: 'forward', dnat: endpoint, masquerade: masqueraded, weight: share, decidedBy };
  };
  const refusal = (): Outcome => {
    const [why, target] = expect === 'drop' ? ['has no local endpoints', 'DROP'] : ['has no endpoints', 'REJECT --reject-with icmp-port-unreachable'];
    const text = `-A KUBE-EXTERNAL-SERVICES -p tcp -m comment --comment "${name} ${why}" -m addrtype --dst-type LOCAL -m tcp --dport ${nodePort.port} -j ${target}`;
    const place = { rule: line(nodePort.port) % 900, line: line(nodePort.port) };
    const decidedBy: Decider = { by: 'rule', family: 'ip', table: 'filter', chain: 'KUBE-EXTERNAL-SERVICES', text, backend: 'iptables-nft', ...place };
    return {
      verdict: expect === 'drop' ? 'drop' : 'reject',
      dnat: null,
      masquerade: false,
      weight: 1,
      decidedBy,
      ...(expect === 'drop' ? {} : { rejectWith: 'icmp-port-unreachable' }),
    };
  };
  const own = new Set(
    (objects.slicesByService.get(`${service.namespace}/${service.name}`) ?? []).flatMap((each) =>
      each.endpoints.filter(({ nodeName }) => nodeName === node).map(({ addresses: [first] }) => `${first}:8080`),
    ),
  );
  const outside = expect === 'forward' ? endpoints.map((endpoint) => dnat(endpoint, 1 / endpoints.length, masquerade)) : [refusal()];
  const inside =
    clusterEndpoints.length === 0 ? [refusal()] : clusterEndpoints.map((endpoint) => dnat(endpoint, 1 / clusterEndpoints.length, own.has(endpoint)));
  return {
    kind: 'nodeport',
    key: expectation.key,
    nodePort,
    address,
    outcomes: { external: outside, peer: outside, pod: inside, node: inside },
    claimed: { by: 'rule', service: name },
  };
}
