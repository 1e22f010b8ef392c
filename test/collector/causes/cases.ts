// Cases of diagnosis: a cluster, the facts of node1 as far as they differ from a correct node's, and the findings that are expected.
import t from 'tap';
import { type Diagnosis, diagnoseNode } from '../../../collector/causes/index.ts';
import { compareNode } from '../../../collector/compare/index.ts';
import { expectationsFor } from '../../../collector/expect/index.ts';
import type { Change } from '../../../shared/model/change.ts';
import type { Expectation } from '../../../shared/model/expectation.ts';
import type { Fact, NeighbourChain, NodePortFact } from '../../../shared/model/fact.ts';
import type { Finding } from '../../../shared/model/finding.ts';
import type { Decider, Outcome } from '../../../shared/model/outcome.ts';
import { dropped, factMap, rightFact, rightFacts } from '../compare/facts.ts';
import { clusterOf, node, pod, service, slice } from '../expect/cluster.ts';

export const nodes = [node('node1', '192.0.2.11', { podCIDRs: ['10.244.1.0/24'] }), node('node2', '192.0.2.12', { podCIDRs: ['10.244.2.0/24'] })];
export const endpoints = [
  { address: '10.244.1.5', node: 'node1', pod: 'web-1' },
  { address: '10.244.2.5', node: 'node2', pod: 'web-2' },
];
export const pods = [pod('web-1', { app: 'web' }), pod('web-2', { app: 'web' }, { ip: '10.244.2.5', node: 'node2' })];
export const api = [
  service('api', { ports: [{ name: 'http', port: 80, targetPort: 8080, nodePort: 30081 }] }),
  slice('api', [{ address: '10.244.1.6', node: 'node1' }]),
];
export const healthy = [...nodes, service('web'), slice('web', endpoints), ...pods, ...api];

export const threeServices = [
  ...healthy,
  service('more', { ports: [{ name: 'http', port: 80, targetPort: 8080, nodePort: 30082 }] }),
  slice('more', [{ address: '10.244.1.7', node: 'node1' }]),
];

export interface Case {
  readonly name: string;
  /** The cluster; absent: healthy. */
  readonly cluster?: Parameters<typeof clusterOf>[0];
  /** Facts that replace those of a correct node, by key. */
  readonly facts?: (web: Expectation, all: readonly Expectation[]) => readonly Fact[];
  readonly changes?: readonly Change[];
  /** Chains of other programs on the node. */
  readonly neighbours?: readonly NeighbourChain[];
  readonly onsets?: Diagnosis['onsets'];
  /** Milliseconds since 1970; absent: 0. */
  readonly now?: number;
  /** Findings in order, as far as they are named; none for a healthy twin. */
  readonly expect: readonly Partial<Finding>[];
}

export function diagnose({ cluster = healthy, facts, changes = [], neighbours, onsets, now = 0 }: Case): Finding[] {
  const objects = clusterOf(cluster);
  const expectations = expectationsFor('node1', objects);
  const spoiled = expectations[0] === undefined ? [] : (facts?.(expectations[0], expectations) ?? []);
  const observed = factMap([
    ...rightFacts(expectations),
    ...(neighbours === undefined ? [] : [{ kind: 'neighbours' as const, key: 'neighbours', chains: neighbours }]),
    ...spoiled,
  ]);
  const drifts = compareNode({ node: 'node1', facts: observed, expectations, objects });
  return diagnoseNode({
    node: 'node1',
    facts: observed,
    expectations,
    drifts,
    objects,
    changes,
    now,
    ...(onsets === undefined ? {} : { onsets }),
  });
}

export const everywhere = (web: Expectation, outcomes: readonly Outcome[], more: Partial<NodePortFact> = {}): NodePortFact => ({
  ...rightFact(web, { external: outcomes, peer: outcomes, pod: outcomes, node: outcomes }),
  ...more,
});
export const blockedBy =
  (decidedBy: Decider, more: Partial<Outcome> = {}) =>
  (web: Expectation): Fact[] => [
    everywhere(
      web,
      web.endpoints.map((endpoint) => dropped(endpoint, decidedBy, { weight: 1 / web.endpoints.length, ...more })),
    ),
  ];

/** Runs cases as tests of one file. */
export function testCases(cases: readonly Case[]): void {
  for (const each of cases) {
    t.test(each.name, (t) => {
      const findings = diagnose(each);
      t.match(findings, each.expect);
      t.equal(findings.length, each.expect.length, findings.map(({ cause, summary }) => `${cause} ${summary}`).join('\n'));
      t.equal(new Set(findings.map(({ id }) => id)).size, findings.length, 'no two findings have the same id');
      for (const { summary, evidence, remedy } of findings) {
        t.notMatch([summary, ...evidence.map(({ text }) => text)].join(' '), /undefined|NaN|\[object|: {2}|\(\)/, 'every sentence is whole');
        t.ok(
          remedy.every((line) => !line.includes('\n')),
          'each remedy is one line',
        );
      }
      t.end();
    });
  }
}
