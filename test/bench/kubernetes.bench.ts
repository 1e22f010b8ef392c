// What a large cluster costs its collector: memory and time of the first reading of 5,000 nodes, 10,000 Services and 150,000 pods, of a second reading, and of one change.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ObjectsUpdate } from '../../collector/kubernetes/source.ts';

const server = fork(join(import.meta.dirname, 'cluster-api.server.ts'), [], {
  execArgv: ['--disable-warning=ExperimentalWarning', '--max-old-space-size=512'],
});
const [{ port }] = (await once(server, 'message')) as [{ port: number }];
const directory = mkdtempSync(join(tmpdir(), 'portreeve-bench-'));
const kubeconfig = join(directory, 'config');
writeFileSync(
  kubeconfig,
  JSON.stringify({
    'current-context': 'bench',
    clusters: [{ name: 'c', cluster: { server: `http://127.0.0.1:${port}`, 'insecure-skip-tls-verify': true } }],
    users: [{ name: 'u', user: {} }],
    contexts: [{ name: 'bench', context: { cluster: 'c', user: 'u' } }],
  }),
);

const mebibytes = (bytes: number): string => `${Math.round(bytes / 2 ** 20)} MiB`;
const { watchApi } = await import('../../collector/kubernetes/api.ts');
const before = process.memoryUsage.rss();
const begun = performance.now();
let tell: (update: ObjectsUpdate) => void = () => undefined;
const next = (fits: (update: ObjectsUpdate) => boolean): Promise<ObjectsUpdate> =>
  new Promise((resolve) => {
    tell = (update) => fits(update) && resolve(update);
  });
const first = next(({ objects }) => objects.readAt > 0);
const source = await watchApi({ kubeconfig, onUpdate: (update) => tell(update), debounceMs: 0 });
const { objects } = await first;
const seconds = (performance.now() - begun) / 1_000;
const peak = process.resourceUsage().maxRSS * 1024;
server.send('bytes');
const [{ bytes }] = (await once(server, 'message')) as [{ bytes: number }];

// Fields, not rounded: what each change costs between the line in the watch and the update.
const changes: number[] = [];
for (let index = 0; index < 50; index++) {
  const told = next(({ touched }) => touched.services.has('shop/app-7'));
  const sent = performance.now();
  server.send('change');
  await told;
  changes.push(performance.now() - sent);
}
changes.sort((a, b) => a - b);

console.log(
  [
    `kubernetes: ${objects.nodes.size} nodes, ${objects.services.size} Services, ${objects.endpointSlices.size} EndpointSlices, ${objects.pods.size} pods; ${mebibytes(bytes)} of JSON`,
    `  first reading  ${seconds.toFixed(1)} s, highest resident memory ${mebibytes(peak)} (${mebibytes(before)} before; at most 1536 MiB)`,
    `  at rest        ${mebibytes(process.memoryUsage.rss())} resident, ${mebibytes(process.memoryUsage().heapUsed)} of heap in use`,
    `  one change     ${(changes[25] as number).toFixed(2)} ms from the API to the update, median of 50 (the way through the socket included)`,
  ].join('\n'),
);
await source.close();
server.kill();
rmSync(directory, { recursive: true });
if (peak > 1536 * 2 ** 20) process.exitCode = 1;
