// An EndpointSlice as the API or a manifest gives it, reduced to what kube-proxy reads of it.
import { isIP } from 'node:net';
import { limits } from '../../shared/limits.ts';
import type { Endpoint, EndpointSlice } from './objects.ts';
import {
  given,
  type Issue,
  labels,
  list,
  managersOf,
  optionalText,
  protocolOf,
  type Raw,
  type RawObject,
  record,
  requiredPort,
  type Share,
  shown,
  text,
  texts,
} from './raw.ts';

export function readEndpointSlice({ value, metadata, namespace, name, issue, share }: RawObject): EndpointSlice {
  const addressType = text(value.addressType) || 'IPv4';
  if (!(addressType in families)) issue(`addressType is ${shown(value.addressType)}, not ${Object.keys(families).join(', ')}`);
  const endpoints = list(value.endpoints);
  if (endpoints.length > limits.sliceEndpointsMax) issue(`has ${endpoints.length} endpoints, more than the ${limits.sliceEndpointsMax} that the API allows`);
  const read = endpoints.map((endpoint) => readEndpoint(record(endpoint), namespace, share));
  checkAddresses(read, addressType, issue);
  return {
    namespace,
    name,
    serviceName: labels(metadata.labels)['kubernetes.io/service-name'] ?? '',
    addressType: share(addressType),
    ports: share(list(value.ports).flatMap((port, index) => readSlicePort(record(port), `ports[${index}]`, issue))),
    endpoints: read,
    managers: managersOf(metadata, share),
  };
}

const families: Readonly<Record<string, number>> = { IPv4: 4, IPv6: 6, FQDN: 0 };

// kube-proxy leaves an endpoint out whose address it cannot read; somebody has to say so.
function checkAddresses(endpoints: readonly Endpoint[], addressType: string, issue: Issue): void {
  const family = families[addressType];
  if (family === undefined || family === 0) return;
  const wrong = endpoints.findIndex(({ addresses: [first] }) => first === undefined || isIP(first) !== family);
  if (wrong < 0) return;
  const [address] = endpoints[wrong]?.addresses ?? [];
  issue(`endpoints[${wrong}].addresses[0] is ${shown(address)}, no ${addressType} address`);
}

function readSlicePort(raw: Raw, path: string, issue: Issue): EndpointSlice['ports'][number][] {
  const protocol = protocolOf(raw.protocol, `${path}.protocol`, issue);
  const whole = raw.port === undefined || raw.port === null;
  const port = whole ? undefined : requiredPort(raw.port, `${path}.port`, issue);
  if (protocol === undefined || (!whole && port === undefined)) return [];
  return [{ name: text(raw.name), port, protocol }];
}

function readEndpoint(raw: Raw, namespace: string, share: Share): Endpoint {
  const conditions = record(raw.conditions);
  const ready = conditions.ready !== false;
  const hints = record(raw.hints);
  const zones = texts(list(hints.forZones).map((zone) => record(zone).name));
  const nodes = texts(list(hints.forNodes).map((node) => record(node).name));
  // discovery.k8s.io/v1beta1, served until 1.24, had the node and its zone in a map of labels.
  const topology = record(raw.topology);
  const nodeName = optionalText(raw.nodeName) ?? optionalText(topology['kubernetes.io/hostname']);
  const zone = optionalText(raw.zone) ?? optionalText(topology['topology.kubernetes.io/zone']);
  const target = record(raw.targetRef);
  return {
    addresses: texts(raw.addresses),
    ready,
    serving: typeof conditions.serving === 'boolean' ? conditions.serving : ready,
    terminating: conditions.terminating === true,
    ...given('nodeName', share(nodeName)),
    ...given('zone', share(zone)),
    ...given('hintsForZones', zones.length === 0 ? undefined : share(zones)),
    ...given('hintsForNodes', nodes.length === 0 ? undefined : share(nodes)),
    ...given(
      'targetRef',
      text(target.name) === '' ? undefined : { kind: share(text(target.kind)), namespace: share(text(target.namespace) || namespace), name: text(target.name) },
    ),
  };
}
