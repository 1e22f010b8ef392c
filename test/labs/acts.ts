// What the demo breaks, how it is repaired, and what a right answer must say.
import type { Finding } from '../../shared/model/finding.ts';
import type { Cluster, KubernetesObject, NodeName } from './cluster.ts';

/** What was done to the cluster, to be held against what Portreeve says of it. */
export interface Deed {
  /** As an operator would have typed it. */
  readonly shown: string;
  /** Process that did it; absent when an object was edited, or where the kernel names nobody (iptables-legacy). */
  readonly pid?: number;
}

export interface Act {
  readonly title: string;
  readonly node: NodeName;
  /** What a client must meet while it is broken. */
  readonly outcome: 'refused' | 'timeout';
  readonly break: (cluster: Cluster) => Promise<Deed>;
  /** Undoes it; where the remedy of the finding is a command for the node, by that. */
  readonly repair: (cluster: Cluster, finding: Finding | undefined) => Promise<Deed>;
  /** What the kernel must be heard to say of the client's packets, where portreeve-bpf can run. */
  readonly kernel?: RegExp;
  /** What is wrong with a finding as the answer to this act; empty when it is right. */
  readonly judge: (finding: Finding, deed: Deed) => readonly string[];
}

const nodePortRule = ['-p', 'tcp', '-m', 'comment', '--comment', 'shop/web:http', '-m', 'tcp', '--dport', '30080', '-j', 'KUBE-EXT-67NZLRHBNDSAWJRO'];
const dropRule = ['-p', 'tcp', '-m', 'tcp', '--dport', '8080', '-j', 'DROP'];

export const acts: readonly Act[] = [
  {
    title: "web's NodePort rule disappears on node1 (kube-proxy does not notice)",
    node: 'node1',
    outcome: 'refused',
    break: (cluster) => iptables(cluster, ['-t', 'nat', '-D', 'KUBE-NODEPORTS', ...nodePortRule]),
    repair: (cluster) => iptables(cluster, ['-t', 'nat', '-A', 'KUBE-NODEPORTS', ...nodePortRule]),
    judge: (finding, deed) => [...causeIs(finding, ['B06']), ...doneBy(finding, deed)],
  },
  {
    title: 'somebody drops forwarded packets to port 8080 on node1',
    node: 'node1',
    outcome: 'timeout',
    break: (cluster) => iptables(cluster, ['-I', 'FORWARD', ...dropRule]),
    repair: (cluster, finding) => follow(cluster, finding?.remedy[0] ?? `iptables -D FORWARD ${dropRule.join(' ')}`),
    kernel: /^NETFILTER_DROP on 8080 \(30080 before DNAT\), \d+ packets? from 172\.31\.0\.0\/24 on eth0; the counter of the rule rose with them\.$/,
    judge: (finding, deed) => [...causeIs(finding, ['C08']), ...decidedBy(finding, '--dport 8080 -j DROP'), ...doneBy(finding, deed)],
  },
  {
    title: "web's pods are gone: a rollout that never became ready",
    node: 'node1',
    outcome: 'refused',
    break: (cluster) => setReady(cluster, false),
    repair: (cluster) => setReady(cluster, true),
    judge: (finding) => [...causeIs(finding, ['A01', 'A02']), ...decidedBy(finding, 'has no endpoints')],
  },
];

async function iptables(cluster: Cluster, words: readonly string[]): Promise<Deed> {
  const { pid, exitCode, stderr } = await cluster.namespaces.run(cluster.nodes.node1, ['iptables', '-w', ...words]);
  const shown = `node1# iptables ${words.join(' ')}`;
  if (exitCode !== 0) throw new Error(`${shown} failed: ${stderr}`);
  return { shown, ...((await namesItself(cluster)) ? { pid } : {}) };
}

// Only nftables, and so only this backend, says with each change which process made it.
async function namesItself(cluster: Cluster): Promise<boolean> {
  return (await cluster.namespaces.run(cluster.nodes.node1, ['iptables', '-V'])).stdout.includes('nf_tables');
}

// A remedy is a line for a shell: what the operator copies is what is run.
async function follow(cluster: Cluster, remedy: string): Promise<Deed> {
  const { pid, exitCode, stderr } = await cluster.namespaces.run(cluster.nodes.node1, ['sh', '-c', `exec ${remedy}`]);
  if (exitCode !== 0) throw new Error(`the remedy "${remedy}" failed: ${stderr}`);
  return { shown: `node1# ${remedy}`, ...((await namesItself(cluster)) ? { pid } : {}) };
}

// The objects as the API server would show them while the pods of the Service fail their readiness probe: Pods first, then what the controller makes of them.
async function setReady(cluster: Cluster, ready: boolean): Promise<Deed> {
  const status = ready ? 'True' : 'False';
  const conditionOf = (condition: KubernetesObject): KubernetesObject =>
    /^(Ready|ContainersReady)$/.test(condition.type) ? { ...condition, status } : condition;
  cluster.edit('pods.json', (pods) =>
    pods.map((pod) => (pod.metadata.labels.app === 'front' ? { ...pod, status: { ...pod.status, conditions: pod.status.conditions.map(conditionOf) } } : pod)),
  );
  cluster.edit('endpointslices.json', (slices) =>
    slices.map((slice) => ({
      ...slice,
      endpoints: (slice.endpoints ?? []).map((endpoint: KubernetesObject) =>
        endpoint.targetRef?.name?.startsWith('front-') ? { ...endpoint, conditions: { ...endpoint.conditions, ready, serving: ready } } : endpoint,
      ),
    })),
  );
  return { shown: ready ? 'the pods front-1 and front-2 are ready again' : 'the pods front-1 and front-2 fail their readiness probe' };
}

const causeIs = (finding: Finding, causes: readonly string[]): string[] =>
  causes.includes(finding.cause) ? [] : [`the cause is ${finding.cause}, not ${causes.join(' or ')}`];

function decidedBy(finding: Finding, part: string): string[] {
  const rules = finding.evidence.flatMap(({ decider }) => (decider === undefined ? [] : [decider.text]));
  return rules.some((text) => text.includes(part)) ? [] : [`no evidence names the rule "${part}", but ${rules.join('; ') || 'none'}`];
}

function doneBy(finding: Finding, deed: Deed): string[] {
  if (deed.pid === undefined) return [];
  const actor = finding.actor ?? finding.trigger?.actor;
  if (actor === undefined || actor.how === 'unknown') return ['nobody is named who did it'];
  return actor.pid === deed.pid && /^iptables/.test(actor.comm ?? '')
    ? []
    : [`done by iptables with pid ${deed.pid}, but ${actor.comm} with pid ${actor.pid} is named`];
}
