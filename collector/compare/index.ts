// Compares what a node's rules do to clients with what they should do: the differences are drifts.

import type { Expectation } from '../../shared/model/expectation.ts';
import type { Fact, NodePortFact } from '../../shared/model/fact.ts';
import type { ClusterObjects } from '../kubernetes/objects.ts';
import { compareNodePort, compareUnclaimed, type NodePortDrift, type ProxyMode } from './nodeport.ts';

export type { DriftKind, NodePortDrift, VantageDrift } from './nodeport.ts';
export { compareNodePort } from './nodeport.ts';
export { coversMost, deciderOfOutcome, isNoEndpointRule, isUncertain } from './outcomes.ts';

/** A difference at one NodePort of one node. */
export interface Drift extends NodePortDrift {
  readonly node: string;
}

export interface Comparison {
  readonly node: string;
  readonly facts: ReadonlyMap<string, Fact>;
  readonly expectations: readonly Expectation[];
  readonly objects: ClusterObjects;
}

/** The drifts of one node, in the order of the expectations, unexpected NodePorts last. Facts that match their expectations give none. */
export function compareNode({ node, facts, expectations, objects }: Comparison): Drift[] {
  const known = new Set(expectations.map((expectation) => expectation.key));
  const mode = modeOf(facts);
  const expected = expectations.flatMap((expectation) => compareNodePort(expectation, facts.get(expectation.key), mode));
  const unclaimed = areServicesKnown(objects)
    ? [...facts.values()].filter((fact): fact is NodePortFact => fact.kind === 'nodeport' && !known.has(fact.key)).flatMap(compareUnclaimed)
    : [];
  return [...expected, ...unclaimed].map((drift) => ({ ...drift, node }));
}

/** The mode of the node's kube-proxy; `none` where it does not show itself. */
export function modeOf(facts: ReadonlyMap<string, Fact>): ProxyMode {
  const proxy = facts.get('proxy/kube-proxy');
  return proxy?.kind === 'proxy' ? proxy.mode : 'none';
}

/** Whether a NodePort that nobody expects is one too many: without the Services and their slices nothing at all is expected. */
export const areServicesKnown = ({ unread }: ClusterObjects): boolean => !unread.has('Service') && !unread.has('EndpointSlice');
