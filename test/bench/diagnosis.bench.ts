// What the diagnosis costs: a ledger of a million changes searched for the cause of one fault, and the explanation of one NodePort among ten thousand.

import { diagnoseNode } from '../../collector/causes/index.ts';
import { compareNode } from '../../collector/compare/index.ts';
import { changeThatMade, changeThatRemoved, correlate } from '../../collector/correlate/index.ts';
import { expectationsFor } from '../../collector/expect/index.ts';
import { explainNodePort } from '../../collector/explain/explain.ts';
import { dayEnd, dayOf, minute } from '../collector/correlate/day.ts';
import { median } from './compared.ts';
import { factsInStep, fromWire, largeCluster, nodeName, proxyInStep } from './large-cluster.ts';

const [size = 1_000_000, services = 10_000] = process.argv.slice(2).map(Number);
// Time of the processor, not of the clock: others work on the machine, too.
const timed = (work: () => unknown): number => {
  const begun = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(begun);
  return (user + system) / 1_000;
};
const runs = (count: number, work: (index: number) => unknown): number[] =>
  Array.from({ length: count }, (_, index) => timed(() => work(index))).sort((a, b) => a - b);

ledger();
explanations();

function ledger(): void {
  const day = dayOf({ seed: 1, rollouts: Math.floor(size / 6) });
  const changes = day.slice(-size);
  const decider = { by: 'rule', family: 'ip', table: 'filter', chain: 'FORWARD', text: '-A FORWARD -p tcp --dport 8080 -j DROP' } as const;
  const asked = {
    'by time and by what they do': () => correlate(changes, { at: dayEnd - minute, node: 'node2', service: 'team1/app1', mentions: ['30080'] }),
    'with nothing known of the Service': () => correlate(changes, { at: dayEnd - minute, node: 'node2' }),
    'the history of a rule': () => changeThatMade(changes, 'node2', decider),
    'the removal of a rule': () => changeThatRemoved(changes, 'node2', ['KUBE-NODEPORTS', '30080']),
  };
  for (const [name, work] of Object.entries(asked)) {
    const times = runs(7, work);
    console.log(`correlate: ${changes.length} changes, ${name}: ${median(times).toFixed(0)} ms, at most ${(times.at(-1) ?? 0).toFixed(0)} (at most 200)`);
  }
}

function explanations(): void {
  const node = nodeName(0);
  const objects = largeCluster({ nodes: 100, services, endpoints: 3 });
  const expectations = expectationsFor(node, objects);
  const facts = new Map(fromWire([...factsInStep(0, expectations, objects), proxyInStep]).map((fact) => [fact.key, fact]));
  const changes = dayOf({ seed: 2, rollouts: 700 }).map((change) => ({ ...change, node: change.node === 'node2' ? node : change.node }));
  // One in ten NodePorts is not on the node.
  for (const [index, { key }] of expectations.entries()) if (index % 10 === 0) facts.delete(key);
  const drifts = compareNode({ node, facts, expectations, objects });
  const onsets = new Map(drifts.map(({ key }) => [key, dayEnd - minute]));
  const diagnosis = { node, facts, expectations, drifts, objects, changes, now: dayEnd, onsets };
  const whole = timed(() => diagnoseNode(diagnosis));
  const findings = diagnoseNode(diagnosis);
  const times = runs(500, (index) => {
    const { nodePort } = expectations[(index * 37) % expectations.length] as (typeof expectations)[number];
    return explainNodePort({ ...diagnosis, findings, port: nodePort.port, protocol: nodePort.protocol });
  });
  console.log(
    `explain: one of ${expectations.length} NodePorts, ${findings.length} findings, ${changes.length} changes: ${median(times).toFixed(1)} ms, p99 ${(times[Math.floor(times.length * 0.99)] ?? 0).toFixed(1)} ms (at most 50); their diagnosis: ${whole.toFixed(0)} ms`,
  );
}
