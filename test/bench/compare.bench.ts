// What the comparison costs: one node's 10,000 NodePorts in full, and one change of a Service or slice for 1,000 such nodes. Memory, with every node holding all of them.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { compareNode } from '../../collector/compare/index.ts';
import { expectationsFor } from '../../collector/expect/index.ts';
import { Inventory } from '../../collector/kubernetes/inventory.ts';
import type { ClusterObjects, EndpointSlice, Service } from '../../collector/kubernetes/objects.ts';
import { Board } from '../../collector/state/board.ts';
import { everything } from '../../collector/state/state.ts';
import { median } from './compared.ts';
import { factsInStep, fromWire, largeCluster, nodeAddress, nodeName, proxyInStep, slice } from './large-cluster.ts';

const [nodes = 1_000, services = 10_000, endpoints = 10] = process.argv.slice(2).map(Number);
// Time of the processor, not of the clock: others work on the machine, too.
const timed = <Result>(work: () => Result): { readonly ms: number; readonly result: Result } => {
  const begun = process.cpuUsage();
  const result = work();
  const { user, system } = process.cpuUsage(begun);
  return { ms: (user + system) / 1_000, result };
};
const mebibytes = (bytes: number): string => `${Math.round(bytes / 2 ** 20)} MiB`;

const cluster = { nodes, services, endpoints };
const given = largeCluster(cluster);
// Taken into an inventory, as they are from an API: a state then shares all but what changed with the one before.
const inventory = new Inventory();
for (const [key, object] of given.services) inventory.put('Service', key, object);
for (const [key, object] of given.endpointSlices) inventory.put('EndpointSlice', key, object);
for (const [key, object] of given.nodes) inventory.put('Node', key, object);
const context = { at: 1, actorOf: () => ({ how: 'unknown' as const }) };
let objects: ClusterObjects = inventory.take(context).objects;

wholeNode();

function wholeNode(): void {
  const expectations = expectationsFor(nodeName(0), objects);
  const facts = new Map(fromWire([...factsInStep(0, expectations, objects), proxyInStep]).map((fact) => [fact.key, fact]));
  const runs = Array.from({ length: 9 }, () =>
    timed(() => compareNode({ node: nodeName(0), facts, expectations: expectationsFor(nodeName(0), objects), objects })),
  );
  const drifts = runs[0]?.result.length ?? -1;
  console.log(
    `compare: one node, ${expectations.length} NodePorts of ${endpoints} endpoints, expected and compared in full: ${median(runs.map(({ ms }) => ms)).toFixed(0)} ms (at most 200), ${drifts} drifts`,
  );
}

// What is held, not what waits to be collected.
setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;
collect();
const before = process.memoryUsage();
const board = new Board();
for (let index = 0; index < nodes; index++) board.addNode(nodeName(index));
const first = timed(() => board.setObjects(objects, everything));

/** Nodes whose facts come as from the wire, to measure what that takes. Those of the others are the same values, made with less work. */
const fromTheWire = 3;
const takes = Array.from({ length: Math.min(fromTheWire, nodes) }, (_, index) => {
  const own = fromWire([...factsInStep(index, board.expectations(nodeName(index)), objects), proxyInStep]);
  return timed(() => board.setFacts(nodeName(index), { put: own.map((fact) => board.shared(fact)), delete: [] }, 'all')).ms;
});
fillOthers();
collect();

function fillOthers(): void {
  // What a node says that holds no endpoint; of those that it holds, each node says something of its own.
  const nobody = nodeName(nodes);
  board.addNode(nobody);
  const usual = new Map(
    factsInStep(nodes, board.expectations(nobody), objects).flatMap((fact) =>
      fact.nodePort.family === 4 ? [[fact.key, board.shared(fact) as typeof fact]] : [],
    ),
  );
  board.removeNode(nobody);
  const hosted = Map.groupBy(
    [...objects.endpointSlices.values()].flatMap(({ serviceName, endpoints: all }) => all.map(({ nodeName: name }) => ({ name, service: serviceName }))),
    ({ name }) => name,
  );
  for (let index = fromTheWire; index < nodes; index++) {
    const name = nodeName(index);
    const own = new Set(hosted.get(name)?.map(({ service }) => service));
    const special = factsInStep(
      index,
      board.expectations(name).filter(({ service }) => own.has(service.name)),
      objects,
    );
    const facts = new Map([...usual, ...special.map((fact) => [fact.key, fact] as const)]);
    board.setFacts(name, { put: [...[...facts.values()].map((fact) => ({ ...fact, address: nodeAddress(index) })), proxyInStep], delete: [] }, 'all');
  }
}

const drifting = Array.from({ length: nodes }, (_, index) => board.drifts(nodeName(index)).length).reduce((sum, count) => sum + count, 0);
const { rss, heapUsed } = process.memoryUsage();
console.log(
  [
    `compare: ${nodes} nodes × ${services} NodePorts, all in step (${drifting} drifts)`,
    `  memory         ${mebibytes(heapUsed - before.heapUsed)} of heap more than without the nodes, ${mebibytes(rss)} resident in all; ${board.sharedValues} shared values`,
    `  expectations   ${first.ms.toFixed(0)} ms for all nodes; a node's full state taken in and compared: ${median(takes).toFixed(0)} ms`,
  ].join('\n'),
);

function changeSlice(index: number, count: number): void {
  const changed: EndpointSlice = { ...slice(index, { nodes, endpoints }), endpoints: slice(index, { nodes, endpoints }).endpoints.slice(0, count) };
  inventory.put('EndpointSlice', `shop/app-${index}-x`, changed);
}

function changeService(index: number, name: string): void {
  const known = objects.services.get(`shop/app-${index}`) as Service;
  inventory.put('Service', `shop/app-${index}`, {
    ...known,
    ports: known.ports.map((port) => ({ ...port, nodePort: name === 'there' ? 40_000 + index : 20_000 + index })),
  });
}

function measure(change: (turn: number) => void): { readonly ms: number; readonly nodes: number } {
  const runs = Array.from({ length: 11 }, (_, turn) => {
    change(turn);
    return timed(() => {
      const taken = inventory.take(context);
      objects = taken.objects;
      return board.setObjects(objects, taken.touched).nodes.size;
    });
  });
  return { ms: median(runs.map(({ ms }) => ms)), nodes: runs[0]?.result ?? 0 };
}

const cases = [
  { name: 'an endpoint of a Service comes or goes', change: (turn: number) => changeSlice(3, endpoints - (turn % 2) - 1) },
  { name: 'the same with externalTrafficPolicy Local', change: (turn: number) => changeSlice(10, endpoints - (turn % 2) - 1) },
  { name: 'a Service gets another NodePort', change: (turn: number) => changeService(5, turn % 2 === 0 ? 'there' : 'back') },
];
for (const { name, change } of cases) {
  const { ms, nodes: concerned } = measure(change);
  console.log(`  one change     ${ms.toFixed(1)} ms (at most 50): ${name}; ${concerned} nodes differ then`);
}
