// `make demo`: builds the lab, runs a collector and two agents on it, breaks three things one after another, and shows what clients meet and what Portreeve says.
//
// DEMO_EXIT=1 ends after the last act, with exit code 0 only if every answer was right; otherwise it stays until Ctrl-C so that one can ask on.
// DEMO_RESTART=1 kills the collector with SIGKILL before the second act's fault, starts it again after it, and checks that the ledger came out whole.
// Without root it builds the lab in a user namespace; where the kernel refuses that, or with DEMO_REPLAY=1, it replays captures of real clusters.
import { spawnSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Change } from '../../shared/model/change.ts';
import type { Finding } from '../../shared/model/finding.ts';
import { noBpf } from '../agent/bpf/program.ts';
import { type Act, acts, type Deed } from './acts.ts';
import type { Meeting, Probe } from './client.ts';
import { buildCluster, type Cluster, labObstacle, userNamespaceWorks } from './cluster.ts';
import { ledgerFaults, type Product, startProduct } from './product.ts';
import { replay } from './replay.ts';

const stays = process.env.DEMO_EXIT !== '1';
const restarts = process.env.DEMO_RESTART === '1';
const probe: Probe = { protocol: 'tcp', to: '172.31.0.11:30080' };

/** Runs the demo and resolves to the exit code. */
export async function demo(ending: AbortSignal): Promise<number> {
  const started = performance.now();
  say('building two nodes, four pods and a client from network namespaces …');
  const cluster = await buildCluster();
  let product: Product | undefined;
  try {
    product = await startProduct(cluster);
    say(`built in ${seconds(performance.now() - started)}; the collector listens on ${product.url}, an agent runs on each node`);
    say(pageText(product));
    const faults = await play(cluster, { product, ending });
    for (const fault of faults) say(`WRONG: ${fault}`);
    if (faults.length > 0 && !stays) process.stderr.write(`${product.logs()}\n`);
    say(faults.length === 0 ? 'every answer was right' : `${faults.length} of the answers were wrong`);
    if (stays) await stayUntil(ending, product);
    return faults.length === 0 ? 0 : 1;
  } catch (error) {
    if (ending.aborted) return 130;
    if (product !== undefined) process.stderr.write(`${product.logs()}\n`);
    throw error;
  } finally {
    await product?.close();
    await cluster.close();
  }
}

if (import.meta.main) process.exitCode = await runProcess();

interface Stage {
  readonly product: Product;
  readonly ending: AbortSignal;
}

async function play(cluster: Cluster, stage: Stage): Promise<string[]> {
  await untilHealthy(stage);
  const [met] = await cluster.meet([probe]);
  say(`both nodes are compared and healthy; client → ${describe(met)}`);
  const listed = await stage.product.ask('get', 'nodeports');
  print(`\n    $ portreeve get nodeports\n${indented(listed.stdout + listed.stderr)}`);
  const faults = met?.outcome === 'ok' ? [] : ['a client does not get in although nothing is broken yet'];
  for (const [index, act] of acts.entries()) {
    stage.ending.throwIfAborted();
    print(`\n${index + 1}. ${act.title}\n`);
    faults.push(...(await perform(cluster, { ...stage, act, restart: restarts && index === 1 })));
  }
  const ledger = await stage.product.changes();
  const broken = ledgerFaults(ledger);
  say(`the ledger holds ${ledger.length} changes${broken.length === 0 ? ', each once and none missing' : ''}`);
  return [...faults, ...broken.map((text) => `ledger: ${text}`)];
}

async function perform(cluster: Cluster, { product, ending, act, restart }: Stage & { readonly act: Act; readonly restart: boolean }): Promise<string[]> {
  if (restart) {
    say('the collector is killed with SIGKILL');
    await product.killCollector();
  }
  const deed = await act.break(cluster);
  const since = performance.now();
  say(deed.shown);
  const met = await meetUntil(cluster, act.outcome);
  say(`client → ${describe(met)}`);
  if (restart) {
    await product.startCollector();
    say('the collector is started again');
  }
  const finding = await untilFound(cluster, { product, ending }, act);
  if (finding !== undefined) say(`found ${seconds(performance.now() - since)} after it happened`);
  const explained = await product.ask('explain', act.node, '30080');
  print(`\n    $ portreeve explain ${act.node} 30080\n${indented(explained.stdout + explained.stderr)}\n`);
  const repaired = await act.repair(cluster, finding);
  say(repaired.shown);
  await untilHealthy({ product, ending });
  const again = await meetUntil(cluster, 'ok');
  say(`healthy again; client → ${describe(again)}`);
  const ledger = await product.changes();
  return [
    ...judge(act, { deed, met, finding }),
    ...[deed, repaired].flatMap((done) => recorded(done, ledger)),
    ...(again?.outcome === 'ok' ? [] : [`${act.title}: the client does not get in after the repair`]),
    ...explainFaults(explained, finding),
  ];
}

function judge(act: Act, { deed, met, finding }: { readonly deed: Deed; readonly met: Meeting | undefined; readonly finding: Finding | undefined }): string[] {
  const faults = met?.outcome === act.outcome ? [] : [`the client met ${met?.outcome}, not ${act.outcome}`];
  const said =
    finding === undefined
      ? ['nothing was found']
      : [
          ...act.judge(finding, deed),
          ...(kernelAgrees(act, finding) ? [] : ['the kernel is not heard to say what it dropped']),
          ...(finding.symptom === act.outcome ? [] : [`the finding promises ${finding.symptom}`]),
        ];
  return [...faults, ...said].map((text) => `${act.title}: ${text}`);
}

// The static verdict and the rule are the finding's own; its counter and the kernel's reason must come to the same.
function kernelAgrees({ kernel }: Act, { evidence }: Finding): boolean {
  if (kernel === undefined || noBpf !== false) return true;
  return evidence.some(({ witness, text, decider }) => witness === 'kernel' && kernel.test(text) && decider?.packets !== undefined && decider.packets !== '0');
}

// What one process did in one transaction is one entry of the ledger.
function recorded(deed: Deed, ledger: readonly Change[]): string[] {
  if (deed.pid === undefined) return [];
  const entries = ledger.filter(({ actor }) => actor?.pid === deed.pid);
  return entries.length === 1 ? [] : [`the ledger has ${entries.length} entries, not one, of ${deed.shown}`];
}

function explainFaults({ stdout }: { readonly stdout: string }, finding: Finding | undefined): string[] {
  return finding === undefined || stdout.includes(finding.cause) ? [] : [`explain does not name the cause ${finding.cause}`];
}

// kube-proxy needs a moment to write what follows from changed objects, so the client tries again until it meets what it must, or gives up after 5 s.
async function meetUntil(cluster: Cluster, outcome: Meeting['outcome']): Promise<Meeting | undefined> {
  for (const deadline = Date.now() + 20_000; ; await sleep(100)) {
    const [met] = await cluster.meet([probe]);
    if (met?.outcome === outcome || Date.now() > deadline) return met;
  }
}

async function untilHealthy({ product, ending }: Stage): Promise<void> {
  const healthy = async (): Promise<true | undefined> => ((await product.healthyNodes()).length === 2 ? true : undefined);
  const complain = async (): Promise<string> => {
    const findings = (await product.findings()).map(({ node, cause, summary }) => `${node} ${cause} ${summary}`);
    return `the nodes did not become healthy: only ${(await product.healthyNodes()).join(', ') || 'none'} is; ${findings.join('; ')}`;
  };
  await poll(ending, healthy, complain);
}

// What the kernel drops it says only while there are clients, so the client goes on trying.
async function untilFound(cluster: Cluster, { product, ending }: Stage, act: Act): Promise<Finding | undefined> {
  let last: Finding | undefined;
  const fits = ({ node, port, severity }: Finding): boolean => node === act.node && port === 30080 && severity === 'error';
  await poll(
    ending,
    async () => {
      last = (await product.findings()).find(fits) ?? last;
      if (last === undefined || kernelAgrees(act, last)) return last;
      await cluster.meet([probe]);
      return undefined;
    },
    async () => undefined,
  );
  return last;
}

// Asks until there is an answer. When time runs out `otherwise` says what to complain of, or nothing when that is for the caller to judge.
async function poll<T>(ending: AbortSignal, read: () => Promise<T | undefined>, otherwise: () => Promise<string | undefined>): Promise<void> {
  for (const deadline = Date.now() + 25_000; ; ) {
    ending.throwIfAborted();
    if ((await read()) !== undefined) return;
    if (Date.now() > deadline) {
      const complaint = await otherwise();
      if (complaint !== undefined) throw new Error(complaint);
      return;
    }
    await sleep(200);
  }
}

// A browser outside of the user namespace does not reach what listens in it.
function pageText({ url }: Product): string {
  return process.env.DEMO_NAMESPACE === '1'
    ? `the page is at ${url}, for a browser in this network namespace (nsenter -t ${process.pid}); as root the demo shows it to any on this machine`
    : `the page is at ${url}: open it in a browser and watch what follows`;
}

async function stayUntil(ending: AbortSignal, product: Product): Promise<void> {
  const enter = process.env.DEMO_NAMESPACE === '1' ? `nsenter -U -n --preserve-credentials -t ${process.pid} ` : '';
  const asked = ['get nodes', 'get nodeports', 'get changes', 'explain node2 30083'].map(
    (words) => `    ${enter}cli/portreeve ${words} --server ${product.url}`,
  );
  print(['', `The cluster stays until Ctrl-C; ${pageText(product)}. Ask on:`, ...asked, `    ${enter}curl -s ${product.url}/api/v1/findings`, ''].join('\n'));
  await sleep(2 ** 31 - 1, undefined, { signal: ending }).catch(() => undefined);
}

function describe(met: Meeting | undefined): string {
  const words = { ok: `answered: ${met?.answer}`, refused: 'connection refused', timeout: 'timed out', unreachable: 'unreachable' };
  return met === undefined ? 'nothing' : `${met.to}: ${words[met.outcome]} (${met.ms} ms)`;
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

function say(text: string): void {
  print(`  ${text}`);
}

function indented(text: string): string {
  return text
    .trimEnd()
    .split('\n')
    .map((line) => `    ${line}`)
    .join('\n');
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}

async function runProcess(): Promise<number> {
  const ending = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => ending.abort());
  const obstacle = process.env.DEMO_REPLAY === '1' ? 'captures were asked for' : await labObstacle();
  if (obstacle === undefined) return demo(ending.signal);
  if (process.env.DEMO_NAMESPACE !== '1' && process.env.DEMO_REPLAY !== '1' && userNamespaceWorks()) return inUserNamespace();
  say(`no live demo here: ${obstacle}. Instead captures of real clusters are replayed.`);
  return replay();
}

// Inside, we are root over namespaces of our own; /run is a private folder, so that `ip netns` has where to keep them.
function inUserNamespace(): number {
  say('not root: the lab is built in a user namespace');
  const inside = 'mount -t tmpfs tmpfs /run && ip link set lo up && exec "$@"';
  const { status } = spawnSync(
    'unshare',
    ['-Urnm', '--kill-child', '-f', 'sh', '-c', inside, 'sh', process.execPath, ...process.execArgv, import.meta.filename],
    {
      stdio: 'inherit',
      env: { ...process.env, DEMO_NAMESPACE: '1' },
    },
  );
  return status ?? 1;
}
