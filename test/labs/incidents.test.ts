// Incidents on a live lab with the real programs: each is explained within seconds, with the process that did it and the window of the playbook it falls in.
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import type { RankedCause } from '../../collector/correlate/incident.ts';
import type { Explanation } from '../../collector/explain/explain.ts';
import { noBpf } from '../agent/bpf/program.ts';
import { buildCluster, labObstacle } from './cluster.ts';
import { type Incident, incidents, type Stage } from './incidents.ts';
import type { Running } from './namespaces.ts';
import { isInstalled, startFirewalld } from './places.ts';
import { type Product, startProduct } from './product.ts';

t.setTimeout(180_000);
const obstacle = await labObstacle();
/** The product shall answer within 5 s; on a machine that does other things as well it may take longer, and how long it took is said. */
const patienceMs = 30_000;
const script = (name: string): string => new URL(name, import.meta.url).pathname;

if (obstacle !== undefined) t.test('incidents', { skip: obstacle }, async () => undefined);
else await play();

async function play(): Promise<void> {
  const cluster = await buildCluster();
  t.teardown(() => cluster.close());
  const proxies: Record<'node1' | 'node2', Running> = { ...cluster.proxies };
  const killProxy = (name: 'node1' | 'node2') => proxies[name].stop('SIGKILL');
  const startProxy = async (name: 'node1' | 'node2') => {
    const command = [process.execPath, '--disable-warning=ExperimentalWarning', script('kube-proxy.ts'), name, cluster.directory];
    proxies[name] = await cluster.namespaces.start(cluster.nodes[name], command, { ready: /^ready$/m });
  };
  const firewalld = isInstalled('firewalld') && isInstalled('dbus-daemon') ? await startFirewalld(cluster, 'node2') : undefined;
  if (firewalld !== undefined) {
    // Its start has flushed what kube-proxy wrote.
    await killProxy('node2');
    await startProxy('node2');
  }
  const product = await startProduct(cluster);
  t.teardown(() => product.close());
  for (const incident of incidents) {
    const skip =
      /ufw/.test(incident.name) && !isInstalled('ufw')
        ? 'ufw is not installed'
        : /firewalld/.test(incident.name) && firewalld === undefined
          ? 'firewalld is not installed'
          : false;
    await t.test(incident.name, { skip }, async (t) => {
      await untilHealthy(product, incident);
      await happen(t, { incident, product, stage: { cluster, killProxy, startProxy, ...(firewalld === undefined ? {} : { firewalld }) } });
    });
  }
}

interface Scene {
  readonly incident: Incident;
  readonly product: Product;
  readonly stage: Stage;
}

async function happen(t: Test, { incident, product, stage }: Scene): Promise<void> {
  await incident.do(stage);
  const done = performance.now();
  const explained = await untilExplained(product, incident);
  t.comment(`explained after ${Math.round(performance.now() - done)} ms`);
  const text = [explained.summary, explained.who, ...explained.seenBy, ...explained.findings.flatMap(({ evidence }) => evidence.map((each) => each.text))].join(
    '\n',
  );
  t.ok(incident.causes.includes(explained.cause?.cause ?? explained.kind), `${explained.cause?.cause ?? explained.kind}: ${explained.summary}`);
  // Settings and addresses do not say who wrote them: only eBPF sees it.
  if (noBpf === false || !incident.needsBpf) t.match(explained.who, incident.who, 'the process that did it');
  else t.comment(`SKIPPED: the process that did it: ${noBpf}`);
  t.match(text, incident.window, 'the window that it falls in');
  if (explained.cause !== undefined) {
    const [likely] = await report(product, incident);
    t.ok(incident.causes.includes(likely?.cause ?? 'none'), `reported as an incident, ${likely?.cause} is the likely cause: ${likely?.summary}`);
  }
  await incident.undo(stage);
}

/** What the collector says to somebody who reports that it fails now. */
async function report(product: Product, { node, port }: Incident): Promise<readonly RankedCause[]> {
  const body = JSON.stringify({ node, port });
  const response = await fetch(`${product.url}/api/v1/incidents`, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
  return ((await response.json()) as { readonly causes: readonly RankedCause[] }).causes;
}

async function untilExplained(product: Product, { node, port, causes, window }: Incident): Promise<Explanation> {
  for (const deadline = Date.now() + patienceMs; ; await sleep(250)) {
    const explained = await explain(product, { node, port });
    const found = causes.includes(explained.cause?.cause ?? explained.kind) && window.test(JSON.stringify(explained));
    if (found || Date.now() > deadline) return explained;
  }
}

async function explain(product: Product, { node, port }: Pick<Incident, 'node' | 'port'>): Promise<Explanation> {
  const response = await fetch(`${product.url}/api/v1/explain?node=${node}&port=${port}`);
  return ((await response.json()) as { readonly explanation: Explanation }).explanation;
}

async function untilHealthy(product: Product, { node, port }: Incident): Promise<void> {
  for (const deadline = Date.now() + 30_000; ; await sleep(250)) {
    const explained = await explain(product, { node, port });
    if (explained.kind === 'healthy') return;
    if (Date.now() > deadline)
      throw new Error(`${node} ${port} did not become healthy: ${JSON.stringify(explained).slice(0, 2_000)}\n${product.logs().slice(-2_000)}`);
  }
}
