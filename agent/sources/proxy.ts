// kube-proxy's own word: its configuration (file and flags, also those of k3s, RKE2, k0s and MicroK8s, which embed it), its health, and its last sync.

import type { CaptureFiles } from '../../shared/netfilter/node.ts';
import { ask, type HttpOutcome } from '../host/http.ts';
import type { Machine } from '../host/machine.ts';
import { readYaml } from '../host/yaml.ts';
import { readHostFile } from './host-root.ts';
import { type ProcessEntry, processEntries, proxyNames } from './processes.parse.ts';
import { listedArguments, settingsOf, settingsText } from './proxy.config.parse.ts';
import { addressesOf, healthText, metricsText, type ProxyAddress } from './proxy.parse.ts';
import { joinReadings, madeFile, type Reading, type Source } from './source.ts';
import { lockHolder } from './xtables-lock.ts';

export const proxyConfig: Source = {
  name: 'proxy-config',
  needs: { commands: [], capabilities: [], adds: { CAP_SYS_PTRACE: "kube-proxy's configuration file inside its container" } },
  files: ['kube-proxy-config.txt'],
  wakes: [],
  pollMs: () => 30_000,
  read: async (machine, known) => {
    const proxy = proxyOf(known);
    if (proxy === undefined) return { outcome: 'absent', reason: 'no kube-proxy is seen on this node' };
    const found = await Promise.all(placesOf(proxy).map((place) => readPlace(machine, place, known)));
    const read = found.filter((each) => each !== undefined);
    if (read.length === 0) return { outcome: 'absent', reason: `${proxy.comm} has no configuration file: its flags say all` };
    const failed = read.flatMap((each) => ('error' in each ? [each.error] : []));
    const texts = read.flatMap((each) => ('text' in each ? [each.text] : []));
    if (texts.length === 0) return { outcome: 'failed', reason: failed.join('; ') };
    return {
      ...madeFile('kube-proxy-config.txt', texts.join(''), 'the configuration that kube-proxy was started with'),
      ...(failed.length === 0 ? {} : { lacks: failed.join('; ') }),
    };
  },
};

export const proxyMetrics: Source = {
  name: 'proxy-metrics',
  needs: { commands: [], capabilities: [] },
  files: ['kube-proxy-metrics.txt', 'kube-proxy-health.txt'],
  wakes: [],
  pollMs: () => 30_000,
  read: async (machine, known) => {
    const proxy = proxyOf(known);
    if (proxy === undefined) return { outcome: 'absent', reason: 'no kube-proxy is seen on this node' };
    const { metrics, health } = addressesOf(proxy.argv, known.get('kube-proxy-config.txt')?.toString('utf8') ?? '');
    return joinReadings([await readMetrics(machine, metrics), await readHealth(health)]);
  },
};

/** kube-proxy where there is one, else what embeds it. */
function proxyOf(known: CaptureFiles): ProcessEntry | undefined {
  const running = processEntries(known.get('processes.json')).filter(({ comm }) => proxyNames.test(comm));
  return running.find(({ comm }) => comm === 'kube-proxy') ?? running[0];
}

interface Place {
  readonly path: string;
  /** Of the process in whose root the path lies; absent: the host's. */
  readonly pid?: number;
  /** `arguments`: a flag a line, as MicroK8s keeps them. */
  readonly form: 'yaml' | 'arguments';
}

function placesOf({ comm, pid, argv }: ProcessEntry): readonly Place[] {
  const config = flagValue(argv, 'config');
  if (comm === 'kube-proxy') return config === undefined ? [] : [{ path: config, pid, form: 'yaml' }];
  if (comm.startsWith('k3s')) return [{ path: config ?? '/etc/rancher/k3s/config.yaml', form: 'yaml' }];
  if (comm === 'k0s') return [{ path: config ?? '/etc/k0s/k0s.yaml', form: 'yaml' }];
  return [{ path: '/var/snap/microk8s/current/args/kube-proxy', form: 'arguments' }];
}

function flagValue(argv: readonly string[], name: string): string | undefined {
  const at = argv.findIndex((word) => word === `--${name}` || word.startsWith(`--${name}=`));
  const word = argv[at];
  return word === undefined ? undefined : word.includes('=') ? word.slice(word.indexOf('=') + 1) : argv[at + 1];
}

async function readPlace(
  machine: Machine,
  { path, pid, form }: Place,
  known: CaptureFiles,
): Promise<{ readonly text: string } | { readonly error: string } | undefined> {
  if (!path.startsWith('/')) return { error: `${path}: not an absolute path` };
  const file = pid === undefined ? await readHostFile(machine, path) : await machine.read(`/proc/${pid}/root${path}`);
  if (file.kind === 'absent') return pid === undefined ? undefined : { error: `${path} is not in the container of process ${pid}` };
  if (file.kind === 'failed') return { error: `${path}: ${file.reason}` };
  const content = file.content.toString('utf8');
  const mark = `# ${path} ${digest(content)}`;
  // Reading YAML starts a program: what was read once is kept as long as the file is the same.
  const before = known.get('kube-proxy-config.txt')?.toString('utf8') ?? '';
  if (before.startsWith(`${mark}\n`)) return { text: before };
  if (form === 'arguments') return { text: settingsText(mark, listedArguments(content)) };
  const parsed = await readYaml(content);
  return 'error' in parsed ? { error: `${path}: ${parsed.error}` } : { text: settingsText(mark, settingsOf(parsed.value)) };
}

/** FNV-1a over the text: tells one version of a file from the next. */
function digest(text: string): string {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193) >>> 0;
  return hash.toString(16).padStart(8, '0');
}

const timeoutMs = 2_000;
/** kube-proxy shows some 100 KB of metrics, k3s, which shows those of all its parts, some megabytes. */
const bodyBytesMax = 16 * 1024 * 1024;

const question = (address: ProxyAddress, path: string): Promise<HttpOutcome> => ask({ ...address, path, timeoutMs, bodyBytesMax });

async function readMetrics(machine: Machine, address: ProxyAddress | undefined): Promise<Reading> {
  if (address === undefined) return { outcome: 'absent', reason: "kube-proxy's metrics are switched off" };
  const outcome = await question(address, '/metrics');
  if (outcome.kind === 'absent') return { outcome: 'absent', reason: `nobody listens on ${address.host}:${address.port} (kube-proxy's metrics)` };
  if (outcome.kind === 'failed') return { outcome: 'failed', reason: `http://${address.host}:${address.port}/metrics: ${outcome.reason}` };
  const text = outcome.status === 200 ? metricsText(outcome.body) : '';
  if (text === '')
    return { outcome: 'absent', reason: `http://${address.host}:${address.port}/metrics answers ${outcome.status} and shows no metrics of kube-proxy` };
  const lock = await lockHolder(machine);
  return madeFile(
    'kube-proxy-metrics.txt',
    lock === undefined ? text : `${text}xtables-lock pid=${lock.pid} comm=${lock.comm}\n`,
    `http://${address.host}:${address.port}/metrics`,
  );
}

async function readHealth(address: ProxyAddress | undefined): Promise<Reading> {
  if (address === undefined) return { outcome: 'absent', reason: "kube-proxy's health is not shown" };
  const outcome = await question(address, '/healthz');
  const from = `http://${address.host}:${address.port}/healthz`;
  if (outcome.kind === 'done') return madeFile('kube-proxy-health.txt', healthText(outcome.status, outcome.body), from);
  return madeFile('kube-proxy-health.txt', `healthz = ${outcome.kind === 'absent' ? 'nobody listens' : outcome.reason}\n`, from);
}
