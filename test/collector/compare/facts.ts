// Facts as a node with a correct kube-proxy would report them, made from its expectations, and ways to spoil them.
import type { Expectation } from '../../../shared/model/expectation.ts';
import { servicePortText } from '../../../shared/model/expectation.ts';
import type { ChainsFact, Fact, NodePortFact, ProxyFact } from '../../../shared/model/fact.ts';
import type { Decider, Outcome, Vantage } from '../../../shared/model/outcome.ts';

export const forward = (dnat: string, weight = 1, masquerade = true): Outcome => ({ verdict: 'forward', dnat, masquerade, weight });
export const refused: Outcome = { verdict: 'refused', dnat: null, masquerade: false, weight: 1, decidedBy: { by: 'socket', text: 'nothing listens' } };

export const rule = (chain: string, body: string, more: Partial<Decider> = {}): Decider => ({
  by: 'rule',
  family: 'ip',
  table: 'filter',
  chain,
  rule: 1,
  text: `-A ${chain} ${body}`,
  backend: 'iptables-nft',
  line: 10,
  ...more,
});
export const dropped = (dnat: string | null, decidedBy: Decider, more: Partial<Outcome> = {}): Outcome => ({
  verdict: 'drop',
  dnat,
  masquerade: false,
  weight: 1,
  decidedBy,
  ...more,
});

const noEndpoints = (text: string, verdict: 'reject' | 'drop'): Outcome => ({
  verdict,
  dnat: null,
  masquerade: false,
  weight: 1,
  ...(verdict === 'reject' ? { rejectWith: 'icmp-port-unreachable' } : {}),
  decidedBy: rule('KUBE-EXTERNAL-SERVICES', `-p tcp -m comment --comment "shop/web:http has no ${text}" -j ${verdict.toUpperCase()}`),
});

const spread = (endpoints: readonly string[], masquerade = true): Outcome[] => endpoints.map((endpoint) => forward(endpoint, 1 / endpoints.length, masquerade));

/** The outcomes of a correct node at every vantage. */
export function rightOutcomes(expectation: Expectation): Record<Vantage, readonly Outcome[]> {
  const outside =
    expectation.expect === 'forward'
      ? spread(expectation.endpoints, expectation.masquerade)
      : [expectation.expect === 'drop' ? noEndpoints('local endpoints', 'drop') : noEndpoints('endpoints', 'reject')];
  // With externalTrafficPolicy Local, pods and the node itself are served from everywhere.
  const inside =
    expectation.externalTrafficPolicy === 'Local' && expectation.expect !== 'reject'
      ? spread(expectation.clusterEndpoints.length > 0 ? expectation.clusterEndpoints : expectation.endpoints)
      : outside;
  return { external: outside, peer: outside, pod: inside, node: inside };
}

export function rightFact(expectation: Expectation, outcomes: Partial<Record<Vantage, readonly Outcome[]>> = rightOutcomes(expectation)): NodePortFact {
  const claimed = expectation.expect === 'reject' ? { by: 'none' as const } : { by: 'rule' as const, service: servicePortText(expectation.service) };
  return { kind: 'nodeport', key: expectation.key, nodePort: expectation.nodePort, address: '192.0.2.11', outcomes, claimed };
}

export const proxyFact = (more: Partial<ProxyFact> = {}): ProxyFact => ({
  kind: 'proxy',
  key: 'proxy/kube-proxy',
  mode: 'iptables',
  running: 'yes',
  evidence: 'kube-proxy listens on 10256',
  ...more,
});

const parts = ['nat PREROUTING → KUBE-SERVICES', 'nat KUBE-SERVICES', 'nat KUBE-NODEPORTS', 'mangle KUBE-PROXY-CANARY'];

export function chainsFact(expectations: readonly Expectation[], missing: readonly string[] = []): ChainsFact {
  const services = Object.fromEntries(
    expectations.map((each) => [
      servicePortText(each.service),
      { nodePortRule: each.expect !== 'reject', chain: each.expect !== 'reject', endpoints: each.clusterEndpoints },
    ]),
  );
  return {
    kind: 'chains',
    key: 'chains/4',
    family: 4,
    mode: 'iptables',
    parts: Object.fromEntries(parts.map((part) => [part, !missing.includes(part)])),
    services,
  };
}

/** All facts of a correct node. */
export const rightFacts = (expectations: readonly Expectation[]): Fact[] => [
  proxyFact(),
  chainsFact(expectations),
  ...expectations.map((expectation) => rightFact(expectation)),
];

export const factMap = (facts: readonly Fact[]): ReadonlyMap<string, Fact> => new Map(facts.map((fact) => [fact.key, fact]));
