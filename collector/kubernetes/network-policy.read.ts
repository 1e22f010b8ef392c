// A NetworkPolicy as the API or a manifest gives it, reduced to which pods it isolates and who may come in.
import type { LabelSelector, NetworkPolicy, PolicyPeer, PolicyPort, PolicyRule } from './objects.ts';
import { given, type Issue, isPort, labels, list, managersOf, protocolOf, type Raw, type RawObject, record, shown, text, texts } from './raw.ts';

export function readNetworkPolicy({ metadata, spec, namespace, name, issue, share }: RawObject): NetworkPolicy {
  const types = texts(spec.policyTypes);
  return {
    namespace,
    name,
    podSelector: readSelector(record(spec.podSelector)),
    // Without policyTypes every policy is one for what comes in.
    isolatesIngress: types.length === 0 || types.includes('Ingress'),
    ingress: list(spec.ingress).map((rule, index) => readRule(record(rule), `spec.ingress[${index}]`, issue)),
    managers: managersOf(metadata, share),
  };
}

function readRule(raw: Raw, path: string, issue: Issue): PolicyRule {
  return {
    from: list(raw.from).map((peer, index) => readPeer(record(peer), `${path}.from[${index}]`, issue)),
    ports: list(raw.ports).flatMap((port, index) => readPort(record(port), `${path}.ports[${index}]`, issue)),
  };
}

function readPeer(raw: Raw, path: string, issue: Issue): PolicyPeer {
  if (typeof raw.ipBlock === 'object' && raw.ipBlock !== null) {
    const block = record(raw.ipBlock);
    if (text(block.cidr) === '') issue(`${path}.ipBlock.cidr is ${shown(block.cidr)}, no network`);
    return { ipBlock: { cidr: text(block.cidr), except: texts(block.except) } };
  }
  return {
    ...given('podSelector', typeof raw.podSelector === 'object' && raw.podSelector !== null ? readSelector(record(raw.podSelector)) : undefined),
    ...given(
      'namespaceSelector',
      typeof raw.namespaceSelector === 'object' && raw.namespaceSelector !== null ? readSelector(record(raw.namespaceSelector)) : undefined,
    ),
  };
}

function readPort(raw: Raw, path: string, issue: Issue): PolicyPort[] {
  const protocol = protocolOf(raw.protocol, `${path}.protocol`, issue);
  if (protocol === undefined) return [];
  const named = typeof raw.port === 'string' && raw.port !== '' ? raw.port : undefined;
  const number = isPort(raw.port) ? raw.port : undefined;
  if (named === undefined && number === undefined && raw.port !== undefined && raw.port !== null) {
    issue(`${path}.port is ${shown(raw.port)}, neither a port from 1 to 65535 nor a name`);
    return [];
  }
  return [{ protocol, ...given('port', number ?? named), ...given('endPort', isPort(raw.endPort) ? raw.endPort : undefined) }];
}

function readSelector(raw: Raw): LabelSelector {
  const expressions = list(raw.matchExpressions)
    .map(record)
    .map((each) => ({ key: text(each.key), operator: text(each.operator), values: texts(each.values) }));
  return { matchLabels: labels(raw.matchLabels), matchExpressions: expressions };
}
