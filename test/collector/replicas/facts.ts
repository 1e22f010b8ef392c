// What the nodes of a test say, and the cluster that they are of.
import { join } from 'node:path';
import type { Fact } from '../../../shared/model/fact.ts';
import { nodePortFact } from '../ingest/client.ts';
import { endpoints, objectsOf, writeObjects } from '../ingest/cluster.ts';

export { endpoints };

/** What a node says of the one NodePort. */
export const nodePortFactOf = (verdict: 'forward' | 'drop'): Fact => nodePortFact(30_080, verdict, endpoints);

export const nodesOf = (count: number): readonly string[] => Array.from({ length: count }, (_, i) => `node${i + 1}`);

/** Writes a cluster of so many nodes into a directory that collectors watch. */
export async function writeCluster(directory: string, count: number): Promise<void> {
  const objects = objectsOf() as Record<string, { items: readonly object[] }>;
  const items = nodesOf(count).map((name, i) => ({
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name },
    spec: { podCIDRs: [`10.244.${i + 1}.0/24`] },
    status: { addresses: [{ type: 'InternalIP', address: `172.31.0.${i + 11}` }], conditions: [{ type: 'Ready', status: 'True' }] },
  }));
  await writeObjects(join(directory, 'cluster'), { ...objects, 'nodes.json': { apiVersion: 'v1', kind: 'List', items } });
}
