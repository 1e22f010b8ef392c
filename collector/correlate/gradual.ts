// Slow drift: faults that no single change explains. Rules that become tighter step by step, kube-proxy that follows later and later, a node that is no longer set as
// the others are, and changes that pile up.
import type { Change } from '../../shared/model/change.ts';
import { isRoutine, tightening } from './bearing.ts';
import { hasWord } from './causation.ts';
import { ageOf, type Correlation, type Dated, dayMs, type Onset } from './index.ts';
import { classOf, durationText, ruleKinds } from './windows.ts';

/** The trends of the last day that may have led to a fault; `changes` are those of all nodes. */
export function gradualChanges(changes: readonly Change[], onset: Onset): Correlation[] {
  const { firewall, settings, syncs, nodes } = sortedOut(changes, onset);
  return [...tightened(firewall, onset), ...slower(syncs), ...apart(settings, { node: onset.node, others: nodes }), ...piledUp(firewall)];
}

interface Sync {
  readonly ms: number;
  readonly wrote: Dated;
}

interface SortedOut {
  /** What people and firewalls did to the node's rules. */
  readonly firewall: readonly Dated[];
  /** Settings and policies of all nodes. */
  readonly settings: readonly Dated[];
  /** How long kube-proxy's writes on the node came after the changes of endpoints that they follow, in order of time. */
  readonly syncs: readonly Sync[];
  /** The other nodes that the ledger tells of. */
  readonly nodes: ReadonlySet<string>;
}

// In order of time, oldest first: a ledger nearly is, which makes sorting cheap.
function sortedOut(changes: readonly Change[], onset: Onset): SortedOut {
  const firewall: Dated[] = [];
  const settings: Dated[] = [];
  const syncs: Sync[] = [];
  let asked: number | undefined;
  const nodes = new Set<string>();
  for (const change of changes) {
    const ageMs = ageOf(change, onset);
    if (ageMs < 0 || ageMs > dayMs) continue;
    const { node, kind } = change;
    const own = node === onset.node;
    if (node !== '' && !own) nodes.add(node);
    if (kind === 'endpoints') asked ??= ageMs;
    else if (own && asked !== undefined && change.owner === 'kube-proxy' && ruleKinds.has(kind)) {
      if (asked - ageMs <= followMaxMs) syncs.push({ ms: asked - ageMs, wrote: { change, ageMs } });
      asked = undefined;
    }
    if (node !== '' && (kind === 'sysctl' || kind === 'policy')) settings.push({ change, ageMs });
    if (own && ruleKinds.has(kind) && classOf(change) === 'firewall' && !isRoutine(change)) firewall.push({ change, ageMs });
  }
  const ordered = (dated: Dated[]): Dated[] => dated.sort((a, b) => b.ageMs - a.ageMs);
  return { firewall: ordered(firewall), settings: ordered(settings), syncs, nodes };
}

const stepsMin = 3;
const stepsShown = 50;

function tightened(firewall: readonly Dated[], onset: Onset): Correlation[] {
  const steps = firewall.filter(({ change }) => tightening(change) !== 0);
  // A chain that is tightened and loosened again and again (bans that are forgotten) does not drift.
  const tight = [...Map.groupBy(steps, ({ change }) => change.subject).values()]
    .map((all) => ({ all, closing: all.filter(({ change }) => tightening(change) > 0) }))
    .filter(({ all, closing }) => closing.length > 2 * (all.length - closing.length))
    .flatMap(({ closing }) => closing)
    .sort((a, b) => b.ageMs - a.ageMs);
  const [first, last] = [tight[0], tight.at(-1)];
  if (first === undefined || last === undefined || tight.length < stepsMin) return [];
  const words = [...(onset.service === undefined ? [] : [onset.service]), ...(onset.mentions ?? [])];
  const named = words.find((word) => hasWord(`${last.change.subject}\n${last.change.after ?? ''}\n${last.change.before ?? ''}`, word));
  const score = 0.45 + 0.03 * Math.min(5, tight.length) + (named === undefined ? 0 : 0.2);
  return [
    {
      ...trend(score, tight),
      reasons: [
        `the firewall became tighter in ${tight.length} steps within ${durationText(first.ageMs - last.ageMs)}, the last ${durationText(Math.max(0, last.ageMs))} before`,
        ...(named === undefined ? [] : [`the last names ${named}`]),
      ],
    },
  ];
}

const samplesMin = 12;
const samplesMax = 3_000;
const followMaxMs = 10 * 60_000;
const slowMs = 1_000;

/** From a change of endpoints to kube-proxy's next write: the median of the day's first third against that of its last. */
function slower(syncs: readonly Sync[]): Correlation[] {
  const stride = Math.ceil(syncs.length / samplesMax);
  const samples = syncs.filter((_, index) => index % stride === 0);
  const third = Math.floor(samples.length / 3);
  if (samples.length < samplesMin) return [];
  const late = samples.slice(-third);
  const [early, now] = [median(samples.slice(0, third)), median(late)];
  if (now < slowMs || now < 3 * early) return [];
  return [
    {
      ...trend(
        0.5 + Math.min(0.2, 0.02 * (now / Math.max(early, 1))),
        late.map(({ wrote }) => wrote),
      ),
      reasons: [`kube-proxy follows changes of endpoints later and later: ${latencyText(early)} at first, ${latencyText(now)} at last (${syncs.length} syncs)`],
    },
  ];
}

function median(samples: readonly { readonly ms: number }[]): number {
  const sorted = samples.map(({ ms }) => ms).sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}

const latencyText = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;

/** Settings and policies that this node has otherwise than the others since it, or they, were changed. */
function apart(settings: readonly Dated[], { node, others }: { readonly node: string; readonly others: ReadonlySet<string> }): Correlation[] {
  if (others.size === 0) return [];
  return [...Map.groupBy(settings, ({ change }) => change.subject)].flatMap(([subject, changes]) => {
    const last = new Map(changes.map((dated) => [dated.change.node, dated]));
    const own = last.get(node);
    const theirs = [...last.values()].filter(({ change }) => change.node !== node);
    if (own !== undefined) {
      const began = changes.find(({ change }) => change.node === node)?.change.before ?? null;
      if (own.change.after === began || theirs.some(({ change }) => change.after === own.change.after)) return [];
      return [
        {
          ...trend(0.5, [own]),
          reasons: [`${subject} is ${own.change.after ?? 'gone'} here since ${durationText(own.ageMs)} before, and not on ${others.size} other nodes`],
        },
      ];
    }
    const common = theirs.filter(({ change }) => change.after === theirs[0]?.change.after);
    if (common.length < 2 || common.length * 2 <= others.size) return [];
    return [
      {
        ...trend(0.45, common),
        reasons: [`${common.length} other nodes have ${subject} = ${common[0]?.change.after} since then, and this one was left as it was`],
      },
    ];
  });
}

const pileMin = 20;

function piledUp(firewall: readonly Dated[]): Correlation[] {
  const [subject, most] = [...Map.groupBy(firewall, ({ change }) => change.subject)].sort((a, b) => b[1].length - a[1].length)[0] ?? ['', []];
  if (most.length < pileMin) return [];
  return [{ ...trend(0.3, most), reasons: [`${most.length} changes of ${subject} have piled up in 24 h`] }];
}

// The last step is what tipped it over.
const trend = (score: number, steps: readonly Dated[]): Omit<Correlation, 'reasons'> => ({
  change: (steps.at(-1) as Dated).change,
  score: Math.round(score * 1000) / 1000,
  window: 'gradual',
  steps: steps.slice(-stepsShown).map(({ change }) => change),
});
