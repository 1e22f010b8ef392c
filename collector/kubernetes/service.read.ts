// A Service as the API or a manifest gives it, reduced to what NodePorts hang on.
import { isIP } from 'node:net';
import type { Service, ServicePort } from './objects.ts';
import {
  given,
  type Issue,
  isPort,
  labels,
  list,
  managersOf,
  optionalPort,
  optionalText,
  protocolOf,
  type Raw,
  type RawObject,
  record,
  requiredPort,
  shown,
  text,
  texts,
  time,
} from './raw.ts';

export function readService({ metadata, spec, status, namespace, name, issue, share }: RawObject): Service {
  const clusterIPs = addresses(texts(spec.clusterIPs).length > 0 ? texts(spec.clusterIPs) : texts([spec.clusterIP]), 'spec.clusterIPs', issue);
  const selector = labels(spec.selector);
  return {
    namespace,
    name,
    uid: text(metadata.uid),
    labels: share(labels(metadata.labels)),
    ...given('annotations', metadata.annotations === undefined ? undefined : annotationsOf(metadata.annotations)),
    type: typeOf(spec.type, issue),
    clusterIPs,
    ipFamilies: share(familiesOf(spec.ipFamilies, clusterIPs, issue)),
    ...given('selector', Object.keys(selector).length === 0 ? undefined : selector),
    ports: portsOf(spec.ports, issue),
    externalTrafficPolicy: policyOf(spec.externalTrafficPolicy, 'spec.externalTrafficPolicy', issue) ?? 'Cluster',
    ...given('internalTrafficPolicy', policyOf(spec.internalTrafficPolicy, 'spec.internalTrafficPolicy', issue)),
    sessionAffinity: spec.sessionAffinity === 'ClientIP' ? 'ClientIP' : 'None',
    ...given('sessionAffinityTimeoutSeconds', affinityTimeout(spec, issue)),
    ...given('healthCheckNodePort', optionalPort(spec.healthCheckNodePort, 'spec.healthCheckNodePort', issue)),
    loadBalancerSourceRanges: texts(spec.loadBalancerSourceRanges),
    externalIPs: addresses(texts(spec.externalIPs), 'spec.externalIPs', issue),
    loadBalancerIPs: texts(list(record(status.loadBalancer).ingress).map((ingress) => record(ingress).ip)),
    publishNotReadyAddresses: spec.publishNotReadyAddresses === true,
    allocateLoadBalancerNodePorts: spec.allocateLoadBalancerNodePorts !== false,
    ...given('trafficDistribution', optionalText(spec.trafficDistribution)),
    ...given('createdAt', time(metadata.creationTimestamp)),
    managers: managersOf(metadata, share),
  };
}

// What kubectl applied last is the whole manifest once more.
const annotationsOf = (raw: unknown) => {
  const { 'kubectl.kubernetes.io/last-applied-configuration': _, ...rest } = labels(raw);
  return rest;
};

const types = ['ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName'];

function typeOf(raw: unknown, issue: Issue): string {
  const type = text(raw) || 'ClusterIP';
  if (!types.includes(type)) issue(`spec.type is ${shown(raw)}, not one of ${types.join(', ')}`);
  return type;
}

function addresses(given: readonly string[], path: string, issue: Issue): readonly string[] {
  const [wrong] = given.filter((address) => address !== 'None' && isIP(address) === 0);
  if (wrong === undefined) return given;
  issue(`${path} holds ${shown(wrong)}, which is no IP address`);
  return given.filter((address) => address === 'None' || isIP(address) !== 0);
}

function familiesOf(raw: unknown, clusterIPs: readonly string[], issue: Issue): readonly string[] {
  const [unknown] = texts(raw).filter((family) => family !== 'IPv4' && family !== 'IPv6');
  if (unknown !== undefined) issue(`spec.ipFamilies holds ${shown(unknown)}, not IPv4 or IPv6`);
  const told = texts(raw).filter((family) => family === 'IPv4' || family === 'IPv6');
  if (told.length > 0) return told;
  const derived = clusterIPs.filter((address) => address !== 'None').map((address) => (address.includes(':') ? 'IPv6' : 'IPv4'));
  return derived.length > 0 ? derived : ['IPv4'];
}

function policyOf(raw: unknown, path: string, issue: Issue): 'Cluster' | 'Local' | undefined {
  if (raw === 'Local' || raw === 'Cluster') return raw;
  if (raw !== undefined && raw !== null && raw !== '') issue(`${path} is ${shown(raw)}, not Cluster or Local`);
  return undefined;
}

/** A day, as the API allows; kube-proxy's own default is three hours. */
const affinityMaxSeconds = 86_400;

function affinityTimeout(spec: Raw, issue: Issue): number | undefined {
  const raw = record(record(spec.sessionAffinityConfig).clientIP).timeoutSeconds;
  if (raw === undefined || raw === null) return undefined;
  if (Number.isInteger(raw) && (raw as number) > 0 && (raw as number) <= affinityMaxSeconds) return raw as number;
  issue(`spec.sessionAffinityConfig.clientIP.timeoutSeconds is ${shown(raw)}, not from 1 to ${affinityMaxSeconds}`);
  return undefined;
}

function portsOf(raw: unknown, issue: Issue): readonly ServicePort[] {
  const ports = list(raw).flatMap((port, index) => readServicePort(record(port), `spec.ports[${index}]`, issue));
  const seen = new Set<string>();
  for (const { nodePort, protocol } of ports) {
    if (nodePort === undefined) continue;
    if (seen.has(`${nodePort}/${protocol}`)) issue(`spec.ports gives nodePort ${nodePort}/${protocol} twice`);
    seen.add(`${nodePort}/${protocol}`);
  }
  return ports;
}

function readServicePort(raw: Raw, path: string, issue: Issue): ServicePort[] {
  const protocol = protocolOf(raw.protocol, `${path}.protocol`, issue);
  const port = requiredPort(raw.port, `${path}.port`, issue);
  if (protocol === undefined || port === undefined) return [];
  const nodePort = optionalPort(raw.nodePort, `${path}.nodePort`, issue);
  return [
    {
      name: text(raw.name),
      protocol,
      port,
      targetPort: targetPortOf(raw.targetPort, port, (reason) => issue(`${path}.targetPort ${reason}`)),
      ...given('nodePort', nodePort),
    },
  ];
}

function targetPortOf(raw: unknown, port: number, issue: Issue): number | string {
  if (raw === undefined || raw === null || raw === 0) return port;
  if (isPort(raw)) return raw;
  if (typeof raw === 'string' && /^[a-z0-9-]{1,63}$/i.test(raw)) return /^\d+$/.test(raw) && isPort(Number(raw)) ? Number(raw) : raw;
  issue(`is ${shown(raw)}, neither a port from 1 to 65535 nor a name`);
  return port;
}
