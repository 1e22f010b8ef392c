// A node for benchmarks of the agent: a network namespace with an address, routes and kube-proxy's rules in either backend, and the programs that change them.
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeIptablesDump } from '../iptables-dump.ts';

export type Backend = 'nft' | 'legacy';

export interface BenchNode {
  readonly backend: Backend;
  /** Services of the ruleset by number: chain names and endpoints. */
  readonly services: readonly BenchService[];
  run(command: string, ...args: readonly string[]): Promise<string>;
  /** As `iptables` or `ip6tables` of the node's backend. */
  iptables(...args: readonly string[]): Promise<string>;
  /** Takes a text of iptables-restore in, as kube-proxy does. */
  restore(text: string): Promise<void>;
  close(): void;
}

export interface BenchService {
  /** KUBE-SVC-… */
  readonly chain: string;
  readonly nodePort: number;
  /** KUBE-SEP-… of each endpoint with its rules. */
  readonly endpoints: readonly { readonly chain: string; readonly rules: readonly string[] }[];
  readonly rules: readonly string[];
  /** Rules of KUBE-SERVICES and KUBE-NODEPORTS, which are those of all Services. */
  readonly listed: readonly string[];
}

export interface BenchSize {
  readonly services: number;
  readonly endpoints: number;
}

/** Makes the namespace that this process is in such a node. */
export async function makeNode(backend: Backend, size: BenchSize): Promise<BenchNode> {
  const directory = mkdtempSync(join(tmpdir(), 'portreeve-bench-'));
  ownLock(join(directory, 'lock'));
  const dump = join(directory, 'dump');
  writeIptablesDump(dump, size);
  for (const words of network) execFileSync('ip', words.split(' '), { stdio: 'pipe' });
  writeFileSync('/proc/sys/net/ipv4/ip_forward', '1');
  const text = readFileSync(dump, 'utf8');
  const restore = (input: string, ...more: readonly string[]) => runProgram(`iptables-${backend}-restore`, more, input);
  await restore(text);
  return {
    backend,
    services: servicesOf(text),
    run: (command, ...args) => runProgram(command, args),
    iptables: (...args) => runProgram(`iptables-${backend}`, args),
    restore: async (input) => void (await restore(input, '--noflush')),
    close: () => {
      execFileSync('umount', [lockFile]);
      rmSync(directory, { recursive: true });
    },
  };
}

const lockFile = '/run/xtables.lock';

/** Everybody on the machine shares the lock of legacy iptables; `ip netns exec` has given this process mounts of its own. */
function ownLock(path: string): void {
  writeFileSync(path, '');
  if (!existsSync(lockFile)) writeFileSync(lockFile, '');
  execFileSync('mount', ['--bind', path, lockFile]);
}

const network = [
  'link set lo up',
  'link add eth0 type veth peer name eth0p',
  'link set eth0p up',
  'link set eth0 up',
  'addr add 172.31.0.11/24 dev eth0',
  'route add default via 172.31.0.1',
];

/**
 * What kube-proxy restores when a Service's endpoints change: its chains anew, the first endpoint left out where `without` says so, and the chains that list
 * all Services, in an order that is another one each time (that of a Go map) but for the last rule of KUBE-SERVICES.
 */
export function syncText({ chain, rules, endpoints, listed }: BenchService, without: boolean): string {
  const kept = without ? endpoints.slice(1) : endpoints;
  const first = endpoints[0]?.chain ?? '';
  const own = rules.filter((rule) => !without || !rule.includes(`-j ${first}`));
  const chains = ['KUBE-SERVICES', 'KUBE-NODEPORTS', chain, ...kept.map((endpoint) => endpoint.chain)];
  const lines = [...chains.map((name) => `:${name} - [0:0]`), ...shuffled(listed), ...own, ...kept.flatMap((endpoint) => endpoint.rules)];
  return `*nat\n${lines.join('\n')}\nCOMMIT\n`;
}

function shuffled(rules: readonly string[]): readonly string[] {
  const isLast = (rule: string): boolean => rule.endsWith('-j KUBE-NODEPORTS');
  const keyed = rules.filter((rule) => !isLast(rule)).map((rule) => ({ rule, key: Math.random() }));
  return [...keyed.sort((a, b) => a.key - b.key).map(({ rule }) => rule), ...rules.filter(isLast)];
}

function servicesOf(dump: string): BenchService[] {
  const nat = dump.slice(dump.indexOf('*nat'));
  const rules = Map.groupBy(
    nat.split('\n').filter((line) => line.startsWith('-A KUBE-')),
    (line) => line.split(' ')[1] as string,
  );
  const ports = new Map(
    (rules.get('KUBE-NODEPORTS') ?? []).map((line) => [/-j KUBE-EXT-(\S+)/.exec(line)?.[1] ?? '', Number(/--dport (\d+)/.exec(line)?.[1])]),
  );
  const listed = [...(rules.get('KUBE-SERVICES') ?? []), ...(rules.get('KUBE-NODEPORTS') ?? [])];
  return [...rules]
    .filter(([name]) => name.startsWith('KUBE-SVC-'))
    .map(([chain, own]) => ({
      chain,
      nodePort: ports.get(chain.slice('KUBE-SVC-'.length)) ?? 0,
      rules: own,
      listed,
      endpoints: own.flatMap((rule) => {
        const endpoint = /-j (KUBE-SEP-\S+)/.exec(rule)?.[1];
        return endpoint === undefined ? [] : [{ chain: endpoint, rules: rules.get(endpoint) ?? [] }];
      }),
    }));
}

/** Runs a program without keeping this process from listening meanwhile. Rejects when it fails. */
export function runProgram(command: string, args: readonly string[], input?: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'] });
    let [stdout, stderr] = ['', ''];
    child.stdout?.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
    child.stderr?.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    child.stdin?.on('error', () => {});
    child.stdin?.end(input);
    child.once('error', reject);
    child.once('close', (code) =>
      code === 0 ? resolve(stdout) : reject(new Error(`${command} ${args.join(' ')} ended with ${code}: ${stderr.slice(0, 500)}`)),
    );
  });
}
