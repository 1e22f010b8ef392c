// A collector in this process with a small cluster of two nodes and one Service, for tests.
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Collector, type CollectorOptions, runCollector } from '../../../collector/main.ts';

export const endpoints = ['10.244.1.11:8080', '10.244.2.11:8080'];

/** The Service shop/web on NodePort 30080, with its endpoints on both nodes. */
export function objectsOf({ nodePort = 30080 } = {}): Record<string, object> {
  const endpoint = (address: string, nodeName: string) => ({ addresses: [address], conditions: { ready: true, serving: true, terminating: false }, nodeName });
  const node = (name: string, last: number) => ({
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name },
    spec: { podCIDRs: [`10.244.${last - 10}.0/24`] },
    status: { addresses: [{ type: 'InternalIP', address: `172.31.0.${last}` }], conditions: [{ type: 'Ready', status: 'True' }] },
  });
  return {
    'services.json': {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { namespace: 'shop', name: 'web', uid: 'u1' },
      spec: {
        type: 'NodePort',
        clusterIPs: ['10.96.0.10'],
        ipFamilies: ['IPv4'],
        selector: { app: 'web' },
        ports: [{ name: 'http', port: 80, targetPort: 8080, nodePort, protocol: 'TCP' }],
      },
    },
    'endpointslices.json': {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { namespace: 'shop', name: 'web-1', labels: { 'kubernetes.io/service-name': 'web' } },
      addressType: 'IPv4',
      ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
      endpoints: [endpoint('10.244.1.11', 'node1'), endpoint('10.244.2.11', 'node2')],
    },
    'nodes.json': { apiVersion: 'v1', kind: 'List', items: [node('node1', 11), node('node2', 12)] },
  };
}

export async function writeObjects(directory: string, objects: Record<string, object>): Promise<void> {
  await mkdir(directory, { recursive: true });
  for (const [name, value] of Object.entries(objects)) await writeFile(join(directory, name), JSON.stringify(value, undefined, 2));
}

export async function startCollector(directory: string, options: Partial<CollectorOptions> = {}): Promise<Collector> {
  const cluster = join(directory, 'cluster');
  await writeObjects(cluster, objectsOf());
  return runCollector({ listen: '127.0.0.1:0', data: join(directory, 'data'), cluster, noAuth: true, graceMs: 0, logLevel: 'silent', ...options });
}

/** Asks until the answer satisfies the condition; the last answer after five seconds. */
export async function until<T>(question: () => Promise<T>, fits: (answer: T) => boolean): Promise<T> {
  const deadline = Date.now() + 5_000;
  for (;;) {
    const answer = await question();
    if (fits(answer) || Date.now() > deadline) return answer;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

// biome-ignore lint/suspicious/noExplicitAny: tests look into answers freely.
export const getJson = async (address: string, path: string): Promise<any> => (await fetch(`${address}/api/v1/${path}`)).json();
