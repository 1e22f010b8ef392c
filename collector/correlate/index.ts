// Which change broke it: first by causation (the change that made the deciding rule, or took the missing one away), then by windows of time.
import type { Change, ChangeKind } from '../../shared/model/change.ts';
import type { Decider } from '../../shared/model/outcome.ts';

/** What is known of a fault, for weighing changes. */
export interface Onset {
  /** Milliseconds since 1970 when it began. */
  readonly at: number;
  readonly node: string;
  /** `namespace/name` of the Service; absent when the fault is not of one Service. */
  readonly service?: string;
  /** Texts whose appearance in a change makes it more likely: the NodePort, the target port, an interface. */
  readonly mentions?: readonly string[];
}

export interface Correlation {
  readonly change: Change;
  /** 0…1; above 0.5 the change stands in the window of its class. */
  readonly score: number;
  readonly window: 'usual' | 'extended';
  /** Why it scores: short sentences, most important first. */
  readonly reasons: readonly string[];
}

/** Classes of changes as an operator's playbook has them, with their usual and extended windows in minutes. */
export const windows = {
  firewall: { usual: 10, extended: 30 },
  'kube-proxy': { usual: 5, extended: 10 },
  interface: { usual: 10, extended: 30 },
  service: { usual: 30, extended: 60 },
  'security group': { usual: 10, extended: 30 },
  cni: { usual: 60, extended: 120 },
} as const;
export type ChangeClass = keyof typeof windows;

/**
 * The changes before an onset that may have caused it, most likely first. Extended windows are looked at only when nothing stands in a usual one. Changes of
 * other nodes do not count; changes of cluster objects (no node) do.
 */
export function correlate(changes: readonly Change[], onset: Onset): Correlation[] {
  const earlier = changes.filter((change) => change.at <= onset.at && (change.node === '' || change.node === onset.node));
  const usual = earlier.flatMap((change) => weigh(change, onset, 'usual'));
  const found = usual.length > 0 ? usual : earlier.flatMap((change) => weigh(change, onset, 'extended'));
  return found.sort((a, b) => b.score - a.score || b.change.at - a.change.at);
}

/** The latest change that made the deciding rule, policy or setting what it is; undefined when the ledger does not hold it. */
export function changeThatMade(changes: readonly Change[], node: string, decider: Decider): Change | undefined {
  const made = changes.filter((change) => change.node === node && gained(change, decider) && concerns(change, decider));
  return latest(made);
}

/** The latest change that took away a line which holds all of `words` (a rule of a NodePort, a jump); undefined when the ledger does not hold it. */
export function changeThatRemoved(changes: readonly Change[], node: string, words: readonly string[]): Change | undefined {
  if (words.length === 0) return undefined;
  const holds = (text: string | null): boolean =>
    text !== null && words.every((word) => text.includes(word)) && text.split('\n').some((line) => words.every((word) => hasWord(line, word)));
  return latest(changes.filter((change) => change.node === node && ruleKinds.has(change.kind) && holds(change.before) && !holds(change.after)));
}

/** The class whose window a change belongs to; undefined for changes that break no NodePort (a listener, a gap of the record). */
export function classOf(change: Change): ChangeClass | undefined {
  if (/security group/i.test(change.subject)) return 'security group';
  if (change.kind === 'process') return processClass(change);
  if (ruleKinds.has(change.kind))
    return change.owner === 'kube-proxy' ? 'kube-proxy' : change.owner === 'cni' || change.owner === 'network-policy' ? 'cni' : 'firewall';
  return classesByKind[change.kind];
}

const ruleKinds: ReadonlySet<ChangeKind> = new Set(['rule', 'chain', 'policy', 'set', 'table']);

const classesByKind: Readonly<Partial<Record<ChangeKind, ChangeClass>>> = {
  interface: 'interface',
  address: 'interface',
  route: 'interface',
  sysctl: 'interface',
  service: 'service',
  endpoints: 'service',
  node: 'service',
  pod: 'service',
};

function processClass(change: Change): ChangeClass | undefined {
  if (/kube-proxy|\bk3s|\brke2/.test(change.subject)) return 'kube-proxy';
  if (/flannel|calico|cilium|antrea|weave|kube-router|\bcni\b/.test(change.subject)) return 'cni';
  return /firewalld|\bufw\b|docker|nftables|iptables/.test(change.subject) ? 'firewall' : undefined;
}

function weigh(change: Change, onset: Onset, window: 'usual' | 'extended'): Correlation[] {
  const kind = classOf(change);
  if (kind === undefined) return [];
  const widthMs = windows[kind][window] * 60_000;
  const ageMs = onset.at - change.at;
  if (ageMs > widthMs) return [];
  const mentioned = mentionsOf(change, onset);
  const nearness = 1 - ageMs / widthMs;
  const score = (window === 'usual' ? 0.5 : 0.2) + 0.25 * nearness + (mentioned.length > 0 ? 0.25 : 0);
  return [
    {
      change,
      score: Math.round(score * 1000) / 1000,
      window,
      reasons: [...mentioned, `a ${kind} change ${durationText(ageMs)} before, window ${windows[kind][window]} min`],
    },
  ];
}

function mentionsOf(change: Change, onset: Onset): string[] {
  const text = `${change.subject}\n${change.before ?? ''}\n${change.after ?? ''}`;
  const words = [...(onset.service === undefined ? [] : [onset.service]), ...(onset.mentions ?? [])];
  return words.filter((word) => hasWord(text, word)).map((word) => `it names ${word}`);
}

function concerns(change: Change, decider: Decider): boolean {
  if (decider.by === 'sysctl') return change.kind === 'sysctl' && hasWord(decider.text, change.subject.replace(/^sysctl /, ''));
  if (decider.by === 'route') return change.kind === 'route';
  if (!ruleKinds.has(change.kind) || decider.table === undefined) return false;
  return hasWord(change.subject, decider.table) && (decider.chain === undefined || change.kind === 'table' || hasWord(change.subject, decider.chain));
}

function gained(change: Change, decider: Decider): boolean {
  if (decider.by === 'sysctl' || decider.by === 'route') return change.kind === decider.by;
  const text = decider.by === 'policy' ? policyWord(decider.text) : decider.text;
  const count = (state: string | null): number =>
    state === null || !state.includes(text) ? 0 : state.split('\n').filter((line) => line.includes(text)).length;
  return count(change.after) > count(change.before);
}

const policyWord = (text: string): string => /\b(drop|reject)\b/i.exec(text)?.[0] ?? text;

const latest = (changes: readonly Change[]): Change | undefined =>
  changes.reduce<Change | undefined>((best, change) => (best === undefined || change.at >= best.at ? change : best), undefined);

function hasWord(text: string, word: string): boolean {
  const escaped = word.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
  return new RegExp(`(^|[^\\w.-])${escaped}($|[^\\w.-])`).test(text);
}

/** `41 s`, `12 min`, `3 h`. */
export function durationText(ms: number): string {
  const seconds = Math.round(ms / 1000);
  if (seconds < 120) return `${seconds} s`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}
