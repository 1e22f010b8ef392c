// The metrics page in Prometheus' text form. Pure.
import { type LatencyHistogram, latencyBoundsMs } from '../compare/latency.ts';
import type { KindView } from '../kubernetes/source.ts';
import type { NodeView } from '../state/state.ts';

export interface Measured {
  readonly nodes: readonly NodeView[];
  readonly changesTotal: number;
  readonly objectIssues: number;
  readonly kinds: readonly KindView[];
  readonly latency: LatencyHistogram;
  readonly graceMs: number;
  readonly now: number;
}

interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** The page, one family after the other. */
export function metricsText({ nodes, changesTotal, objectIssues, kinds, latency, graceMs, now }: Measured): string {
  const ages = nodes.flatMap(({ name, heardAt }) => (heardAt === undefined ? [] : [{ labels: { node: name }, value: Math.max(0, now - heardAt) / 1_000 }]));
  return [
    family({ name: 'portreeve_nodes', type: 'gauge', help: 'Nodes by the state of their agent.' }, [
      { labels: { agent: 'connected' }, value: nodes.filter(({ connected }) => connected).length },
      { labels: { agent: 'missing' }, value: nodes.filter(({ connected }) => !connected).length },
    ]),
    family({ name: 'portreeve_findings', type: 'gauge', help: 'Open findings by cause.' }, findingSamples(nodes)),
    family({ name: 'portreeve_changes_total', type: 'counter', help: 'Changes taken in since the start.' }, [{ labels: {}, value: changesTotal }]),
    family({ name: 'portreeve_view_age_seconds', type: 'gauge', help: 'Time since anything was heard of a node.' }, ages),
    family({ name: 'portreeve_object_issues', type: 'gauge', help: 'Faults in the cluster objects as they were read.' }, [{ labels: {}, value: objectIssues }]),
    ...objectFamilies(kinds, now),
    histogram('portreeve_programming_latency_seconds', 'Time from a change of a Service or its slices to the rules of a node that follow it.', latency),
    family({ name: 'portreeve_grace_seconds', type: 'gauge', help: 'How long a difference may last before it is a finding.' }, [
      { labels: {}, value: graceMs / 1_000 },
    ]),
    family({ name: 'process_resident_memory_bytes', type: 'gauge', help: 'Resident memory of the collector.' }, [
      { labels: {}, value: process.memoryUsage.rss() },
    ]),
  ].join('');
}

function objectFamilies(kinds: readonly KindView[], now: number): string[] {
  const of = (value: (view: KindView) => number): Sample[] => kinds.map((view) => ({ labels: { kind: view.kind }, value: value(view) }));
  const known = kinds.filter(({ confirmedAt }) => confirmedAt > 0);
  return [
    family(
      { name: 'portreeve_objects', type: 'gauge', help: 'Cluster objects that are known.' },
      of(({ objects }) => objects),
    ),
    family(
      { name: 'portreeve_objects_age_seconds', type: 'gauge', help: 'Time since it was last certain that the objects of a kind are as they are known.' },
      known.map(({ kind, confirmedAt }) => ({ labels: { kind }, value: Math.max(0, now - confirmedAt) / 1_000 })),
    ),
    family(
      { name: 'portreeve_objects_state', type: 'gauge', help: 'How a kind of objects is followed: 1 for the state it is in.' },
      kinds.map(({ kind, state }) => ({ labels: { kind, state }, value: 1 })),
    ),
    family(
      { name: 'portreeve_object_lists_total', type: 'counter', help: 'Lists of a kind that were read whole.' },
      of(({ lists }) => lists),
    ),
    family(
      { name: 'portreeve_object_watches_total', type: 'counter', help: 'Watches of a kind that were begun.' },
      of(({ watches }) => watches),
    ),
    family(
      { name: 'portreeve_object_events_missed_total', type: 'counter', help: 'Objects that a list showed to have changed without a word of the watch.' },
      of(({ missed }) => missed),
    ),
  ];
}

/** A histogram with bounds in seconds. */
function histogram(name: string, help: string, latency: LatencyHistogram): string {
  const counts = latency.cumulative();
  const bounds = [...latencyBoundsMs.map((ms) => String(ms / 1_000)), '+Inf'];
  const buckets = bounds.map((le, index) => `${name}_bucket{le="${le}"} ${counts[index] ?? 0}\n`);
  return `# HELP ${name} ${help}\n# TYPE ${name} histogram\n${buckets.join('')}${name}_sum ${latency.sumMs / 1_000}\n${name}_count ${latency.count}\n`;
}

function findingSamples(nodes: readonly NodeView[]): Sample[] {
  const grouped = Map.groupBy(
    nodes.flatMap(({ findings }) => findings),
    ({ cause, severity }) => `${cause} ${severity}`,
  );
  return [...grouped]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([, [first, ...rest]]) => (first === undefined ? [] : [{ labels: { cause: first.cause, severity: first.severity }, value: rest.length + 1 }]));
}

function family({ name, type, help }: { readonly name: string; readonly type: string; readonly help: string }, samples: readonly Sample[]): string {
  const lines = samples.map(({ labels, value }) => `${name}${labelText(labels)} ${value}\n`);
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join('')}`;
}

function labelText(labels: Sample['labels']): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')}"`);
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
}
