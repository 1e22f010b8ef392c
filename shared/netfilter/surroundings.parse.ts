// Turns what surrounds the rules into numbers and lists: kernel counters, kube-proxy's metrics, tracked connections, bridge ports. Pure; lines that say nothing of it are passed over.
import type { ProxySync } from '../model/fact.ts';
import type { Issue } from './ruleset.ts';

export interface ParsedCounters {
  readonly values: ReadonlyMap<string, number>;
  readonly issues: readonly Issue[];
}

/** `counters.txt` and `conntrack-count.txt`: lines of the form `name = number`. */
export function parseCounters(text: string): ParsedCounters {
  const values = new Map<string, number>();
  const issues: Issue[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    if (line.trim() === '' || line.startsWith('#')) continue;
    const found = /^\s*([\w.@-]+)\s*=\s*(\d+)\s*$/.exec(line);
    if (found === null) issues.push({ line: index + 1, text: line, reason: 'not of the form "name = number"' });
    else values.set(found[1] as string, Number(found[2]));
  }
  return { values, issues };
}

/** `conntrack -S`: one line for each processor, `cpu=0 … insert_failed=3 drop=0 early_drop=0 …`, added up as `nf_conntrack_<name>`. */
export function parseConntrackStatistics(text: string): ParsedCounters {
  const values = new Map<string, number>();
  const issues: Issue[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    if (line.trim() === '') continue;
    const pairs = [...line.matchAll(/\b([a-z_]+)=(\d+)/g)];
    if (pairs.length === 0) issues.push({ line: index + 1, text: line, reason: 'no name=number as "conntrack -S" prints' });
    for (const [, name, value] of pairs) if (name !== 'cpu') values.set(`nf_conntrack_${name}`, (values.get(`nf_conntrack_${name}`) ?? 0) + Number(value));
  }
  return { values, issues };
}

/** `/proc/net/stat/nf_conntrack`: a head of names and one line of hexadecimal numbers for each processor, added up as `nf_conntrack_<name>`. */
export function parseConntrackProc(text: string): ReadonlyMap<string, number> {
  const [head = '', ...lines] = text.trim().split('\n');
  const names = head.trim().split(/\s+/);
  const sums = new Map<string, number>();
  for (const line of lines) {
    for (const [index, word] of line.trim().split(/\s+/).entries()) {
      const name = names[index];
      // The number of entries is one for all processors and stands in every line.
      if (name === undefined || name === 'entries' || !/^[0-9a-f]+$/.test(word)) continue;
      sums.set(`nf_conntrack_${name}`, (sums.get(`nf_conntrack_${name}`) ?? 0) + Number.parseInt(word, 16));
    }
  }
  return sums;
}

/** `/proc/net/softnet_stat`: the second column of each processor's line counts packets dropped for want of room in the backlog. */
export const parseSoftnetDrops = (text: string): number =>
  text
    .trim()
    .split('\n')
    .reduce((sum, line) => sum + (Number.parseInt(line.trim().split(/\s+/)[1] ?? '0', 16) || 0), 0);

/** One number of `/proc/net/snmp` or `/proc/net/netstat`, whose lines come in pairs of names and values; undefined when it is not there. */
export function parseSnmp(text: string, group: string, name: string): number | undefined {
  const [names, values] = text.split('\n').filter((line) => line.startsWith(`${group}: `));
  const index = names?.split(/\s+/).indexOf(name) ?? -1;
  const value = index < 0 ? undefined : Number(values?.split(/\s+/)[index]);
  return value === undefined || !Number.isFinite(value) ? undefined : value;
}

/**
 * The last sync by kube-proxy's metrics (`kube-proxy-metrics.txt`); undefined when the text has no time of it. A line `xtables-lock pid=N comm=NAME`, which the
 * agent adds, names who holds the lock of iptables.
 */
export function parseProxyMetrics(text: string): ProxySync | undefined {
  const value = (name: string): number | undefined => {
    const found = new RegExp(`^kubeproxy_sync_proxy_rules_${name}(?:\\{[^}]*\\})? (\\S+)`, 'm').exec(text)?.[1];
    return found === undefined || !Number.isFinite(Number(found)) ? undefined : Number(found);
  };
  const last = value('last_timestamp_seconds');
  if (last === undefined) return undefined;
  const lock = /^xtables-lock pid=(\d+) comm=(\S+)/m.exec(text);
  return {
    lastAt: Math.round(last * 1000),
    queuedAt: Math.round((value('last_queued_timestamp_seconds') ?? last) * 1000),
    restoreFailures: value('iptables_restore_failures_total') ?? value('nftables_sync_failures_total') ?? 0,
    partialRestoreFailures: value('iptables_partial_restore_failures_total') ?? 0,
    ...(lock === null ? {} : { lockedBy: { pid: Number(lock[1]), comm: lock[2] as string } }),
  };
}

/** A tracked connection in short. */
export interface Flow {
  readonly protocol: 'tcp' | 'udp' | 'sctp';
  /** As the client asked. */
  readonly destination: string;
  readonly destinationPort: number;
  /** Who answers: the target after translation. */
  readonly replySource: string;
  readonly replySourcePort: number;
  /** Where the answer goes: the client's port, or the node's own where the source was replaced. */
  readonly replyDestinationPort: number;
  readonly unanswered: boolean;
  /** `SYN_SENT` …; absent for protocols without states. */
  readonly state?: string;
}

/** `conntrack -L` or `/proc/net/nf_conntrack`. Lines of other protocols say nothing here. */
export function parseFlows(text: string): { readonly items: readonly Flow[]; readonly issues: readonly Issue[] } {
  const items: Flow[] = [];
  const issues: Issue[] = [];
  for (const [index, line] of text.split('\n').entries()) {
    const protocol = /\b(tcp|udp|sctp)\b/.exec(line)?.[1] as Flow['protocol'] | undefined;
    if (protocol === undefined) continue;
    const all = (name: string): string[] => [...line.matchAll(new RegExp(`\\b${name}=(\\S+)`, 'g'))].map((found) => found[1] as string);
    const [[destination], [, replySource], sourcePorts, destinationPorts] = [all('dst'), all('src'), all('sport'), all('dport')];
    if (destination === undefined || replySource === undefined || destinationPorts.length < 2 || sourcePorts.length < 2) {
      issues.push({ line: index + 1, text: line, reason: 'not both directions of a connection' });
      continue;
    }
    const state = /\b(SYN_SENT2?|SYN_RECV|ESTABLISHED|FIN_WAIT|CLOSE_WAIT|LAST_ACK|TIME_WAIT|CLOSE)\b/.exec(line)?.[1];
    items.push({
      protocol,
      destination,
      destinationPort: Number(destinationPorts[0]),
      replySource,
      replySourcePort: Number(sourcePorts[1]),
      replyDestinationPort: Number(destinationPorts[1]),
      unanswered: line.includes('[UNREPLIED]'),
      ...(state === undefined ? {} : { state }),
    });
  }
  return { items, issues };
}

/** Counters as facts tell them: rounded down, the number of tracked connections to a twentieth of the table, the size of the table as it is. */
export function roundedCounters(values: ReadonlyMap<string, number>): ReadonlyMap<string, number> {
  const max = values.get('nf_conntrack_max');
  const rounded = (name: string, value: number): number =>
    name === 'nf_conntrack_max' ? value : name === 'nf_conntrack_count' && max !== undefined && max >= 20 ? stepOf(value, max) : roundedCounter(value);
  return new Map([...values].map(([name, value]) => [name, rounded(name, value)]));
}

const stepOf = (count: number, max: number): number => Math.floor(Math.floor((count * 20) / max) * (max / 20));

/** Rounds a counter down to 0, 1, 2, 3, 4, 6, 8, 12, 16 …: what rises slowly stays the same for long. */
export function roundedCounter(value: number): number {
  if (value < 4) return value;
  const power = 2 ** Math.floor(Math.log2(value));
  return value >= power * 1.5 ? power * 1.5 : power;
}
