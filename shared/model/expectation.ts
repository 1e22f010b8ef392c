// Expectations: the facts that a correct node would report, derived from Service, EndpointSlice and Node objects.
import type { NodePortKey } from './fact.ts';

/** A Service port that owns a NodePort. */
export interface ServicePortRef {
  readonly namespace: string;
  readonly name: string;
  /** Empty for an unnamed port. */
  readonly port: string;
}

/** `ns/name:port`, or `ns/name` for an unnamed port: the form of kube-proxy's rule comments. */
export const servicePortText = (ref: ServicePortRef): string => `${ref.namespace}/${ref.name}${ref.port === '' ? '' : `:${ref.port}`}`;

/** Where kube-proxy sends clients of a NodePort. */
export interface ExpectedChoice {
  /**
   * `forward`: to one of `endpoints`. `reject`: no usable endpoint anywhere, clients are refused. `drop`: externalTrafficPolicy Local without an endpoint on
   * this node, clients time out by design.
   */
  readonly expect: 'forward' | 'reject' | 'drop';
  /** `ADDRESS:PORT` of each endpoint that external clients may be sent to, sorted; empty unless `forward`. */
  readonly endpoints: readonly string[];
  /** All usable endpoints of the Service, wherever they are. */
  readonly clusterEndpoints: readonly string[];
}

/** What is expected of one NodePort. It does not name a node: thousands of nodes share it. */
export interface Expectation extends ExpectedChoice {
  readonly key: string;
  readonly nodePort: NodePortKey;
  readonly service: ServicePortRef;
  readonly externalTrafficPolicy: 'Cluster' | 'Local';
  readonly sessionAffinity: boolean;
  /** How long a client stays with its endpoint; absent without session affinity. */
  readonly sessionAffinitySeconds?: number;
  /** Whether clients outside have their address replaced by the node's. */
  readonly masquerade: boolean;
  /** What kube-proxy of other releases would do, where the node's release is not known for sure: right as well. */
  readonly alternatives?: readonly ExpectedChoice[];
}
