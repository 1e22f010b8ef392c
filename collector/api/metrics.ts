// The metrics page. Pure. The number of series does not grow with the cluster: labels are causes, severities, states, kinds, sources; nodes only where asked for.
import { familyText, histogramText, type Sample, valueText } from '../../shared/prometheus.ts';
import { type LatencyHistogram, latencyBoundsMs } from '../compare/latency.ts';
import type { KindView } from '../kubernetes/source.ts';
import { otherFacts } from '../state/node-facts.ts';
import type { NodeView } from '../state/state.ts';
import { countCodes, type MatrixColumn, type MatrixRow, unpackCodes } from './matrix.ts';
import type { Telemetry } from './telemetry.ts';

export interface Measured {
  readonly version: string;
  readonly nodes: readonly NodeView[];
  readonly matrix: { readonly columns: readonly MatrixColumn[]; readonly rows: readonly MatrixRow[] };
  readonly changesTotal: number;
  readonly objectIssues: number;
  readonly kinds: readonly KindView[];
  readonly latency: LatencyHistogram;
  readonly graceMs: number;
  /** Things that wait, by what they wait for. */
  readonly queues: Readonly<Record<string, number>>;
  /** Milliseconds that one look at a node takes. */
  readonly diagnosisMs: number;
  readonly telemetry: Telemetry;
  /** What was told to others, by target and outcome. */
  readonly notifications: readonly Sample[];
  /** Adds a series for each node to some families. */
  readonly perNode: boolean;
  readonly now: number;
}

/** A node that has not been heard for longer is counted as stale: two heartbeats were missed. */
const staleMs = 45_000;

/** The page, one family after the other. */
export function metricsText(measured: Measured): string {
  return [
    ...nodeFamilies(measured),
    ...nodePortFamilies(measured),
    ...findingFamilies(measured),
    ...ledgerFamilies(measured),
    ...objectFamilies(measured),
    ...programmingFamilies(measured),
    ...ownFamilies(measured),
  ].join('');
}

function nodeFamilies({ nodes, perNode, now }: Measured): string[] {
  const ages = nodes.flatMap(({ name, heardAt }) => (heardAt === undefined ? [] : [{ labels: { node: name }, value: Math.max(0, now - heardAt) / 1_000 }]));
  const connected = nodes.filter((node) => node.connected);
  const oldest = connected.reduce((most, { heardAt }) => Math.max(most, heardAt === undefined ? 0 : now - heardAt), 0);
  return [
    familyText({ name: 'portreeve_nodes', type: 'gauge', help: 'Nodes by the state of their agent.' }, [
      { labels: { agent: 'connected' }, value: connected.length },
      { labels: { agent: 'missing' }, value: nodes.length - connected.length },
    ]),
    valueText(
      { name: 'portreeve_nodes_stale', type: 'gauge', help: `Nodes whose agent is connected and has not been heard for ${staleMs / 1_000} s.` },
      connected.filter(({ heardAt }) => heardAt === undefined || now - heardAt > staleMs).length,
    ),
    valueText(
      { name: 'portreeve_view_age_max_seconds', type: 'gauge', help: 'Longest time since anything was heard of a connected node.' },
      Math.max(0, oldest) / 1_000,
    ),
    valueText(
      { name: 'portreeve_nodes_reading_degraded', type: 'gauge', help: 'Nodes whose agent reads late, or costs more than it should.' },
      nodes.filter(({ facts }) => facts.has('reading/degraded')).length,
    ),
    familyText({ name: 'portreeve_sources_failed', type: 'gauge', help: 'Nodes on which a source could not be read.' }, failedSources(nodes)),
    ...(perNode ? [familyText({ name: 'portreeve_view_age_seconds', type: 'gauge', help: 'Time since anything was heard of a node.' }, ages)] : []),
  ];
}

function failedSources(nodes: readonly NodeView[]): Sample[] {
  const counts = new Map<string, number>();
  for (const { facts } of nodes)
    for (const fact of otherFacts(facts))
      if (fact.kind === 'source') counts.set(fact.source, (counts.get(fact.source) ?? 0) + (fact.outcome === 'failed' ? 1 : 0));
  // An agent names its sources; one that names hundreds is none of ours.
  const most = [...counts].sort(([a], [b]) => (a < b ? -1 : 1)).slice(0, sourcesMax);
  return most.map(([source, value]) => ({ labels: { source }, value }));
}

const sourcesMax = 64;

function nodePortFamilies({ matrix, perNode }: Measured): string[] {
  const totals = { ok: 0, fault: 0, 'by-design': 0, pending: 0, unknown: 0 };
  const faulty = new Set<string>();
  for (const { codes } of matrix.rows) {
    const counts = countCodes(codes);
    for (const state of Object.keys(totals) as (keyof typeof totals)[]) totals[state] += counts[state];
    if (counts.fault === 0) continue;
    const plain = unpackCodes(codes, matrix.columns.length);
    matrix.columns.forEach(({ port, protocol }, index) => {
      if ('trxw'.includes(plain[index] ?? '-')) faulty.add(`${port}/${protocol}`);
    });
  }
  const perNodeSamples = matrix.rows.map(({ node, codes }) => ({ labels: { node }, value: countCodes(codes).fault }));
  return [
    familyText(
      { name: 'portreeve_nodeports', type: 'gauge', help: 'NodePorts on nodes, one for each family, by state.' },
      Object.entries(totals).map(([state, value]) => ({ labels: { state }, value })),
    ),
    valueText(
      { name: 'portreeve_nodeports_unreachable', type: 'gauge', help: 'NodePorts that do not answer as they should on at least one node.' },
      faulty.size,
    ),
    ...(perNode
      ? [
          familyText(
            { name: 'portreeve_node_nodeports_unreachable', type: 'gauge', help: 'NodePorts of a node that do not answer as they should.' },
            perNodeSamples,
          ),
        ]
      : []),
  ];
}

function findingFamilies({ nodes, telemetry }: Measured): string[] {
  const grouped = Map.groupBy(
    nodes.flatMap(({ findings }) => findings),
    ({ cause, severity }) => `${cause} ${severity}`,
  );
  const samples = [...grouped]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([, [first, ...rest]]) => (first === undefined ? [] : [{ labels: { cause: first.cause, severity: first.severity }, value: rest.length + 1 }]));
  return [
    familyText({ name: 'portreeve_findings', type: 'gauge', help: 'Open findings by cause (docs/causes.md) and severity.' }, samples),
    valueText(
      { name: 'portreeve_findings_pending', type: 'gauge', help: 'Differences that are younger than the grace period.' },
      nodes.reduce((sum, { pending }) => sum + pending.length, 0),
    ),
    familyText(
      { name: 'portreeve_findings_opened_total', type: 'counter', help: 'Findings that were opened since the start.' },
      telemetry.samples('findingsOpened'),
    ),
    familyText({ name: 'portreeve_incidents_total', type: 'counter', help: 'Incidents that were taken in since the start.' }, telemetry.samples('incidents')),
  ];
}

function ledgerFamilies({ changesTotal, telemetry, notifications }: Measured): string[] {
  return [
    valueText({ name: 'portreeve_changes_total', type: 'counter', help: 'Changes taken in since the start.' }, changesTotal),
    familyText(
      { name: 'portreeve_gaps_total', type: 'counter', help: 'Times of which a ledger does not tell everything, since the start.' },
      telemetry.samples('gaps'),
    ),
    familyText({ name: 'portreeve_notifications_total', type: 'counter', help: 'What was told to others since the start.' }, notifications),
  ];
}

function objectFamilies({ kinds, objectIssues, now }: Measured): string[] {
  const of = (value: (view: KindView) => number): Sample[] => kinds.map((view) => ({ labels: { kind: view.kind }, value: value(view) }));
  const known = kinds.filter(({ confirmedAt }) => confirmedAt > 0);
  return [
    familyText(
      { name: 'portreeve_objects', type: 'gauge', help: 'Cluster objects that are known.' },
      of(({ objects }) => objects),
    ),
    valueText({ name: 'portreeve_object_issues', type: 'gauge', help: 'Faults in the cluster objects as they were read.' }, objectIssues),
    familyText(
      { name: 'portreeve_objects_age_seconds', type: 'gauge', help: 'Time since it was last certain that the objects of a kind are as they are known.' },
      known.map(({ kind, confirmedAt }) => ({ labels: { kind }, value: Math.max(0, now - confirmedAt) / 1_000 })),
    ),
    familyText(
      { name: 'portreeve_objects_state', type: 'gauge', help: 'How a kind of objects is followed: 1 for the state it is in.' },
      kinds.map(({ kind, state }) => ({ labels: { kind, state }, value: 1 })),
    ),
    familyText(
      { name: 'portreeve_object_lists_total', type: 'counter', help: 'Lists of a kind that were read whole.' },
      of(({ lists }) => lists),
    ),
    familyText(
      { name: 'portreeve_object_watches_total', type: 'counter', help: 'Watches of a kind that were begun.' },
      of(({ watches }) => watches),
    ),
    familyText(
      { name: 'portreeve_object_events_missed_total', type: 'counter', help: 'Objects that a list showed to have changed without a word of the watch.' },
      of(({ missed }) => missed),
    ),
  ];
}

function programmingFamilies({ latency, graceMs }: Measured): string[] {
  return [
    histogramText('portreeve_programming_latency_seconds', 'Time from a change of a Service or its slices to the rules of a node that follow it.', {
      bounds: latencyBoundsMs.map((ms) => ms / 1_000),
      cumulative: latency.cumulative(),
      sum: latency.sumMs / 1_000,
    }),
    valueText({ name: 'portreeve_grace_seconds', type: 'gauge', help: 'How long a difference may last before it is a finding.' }, graceMs / 1_000),
  ];
}

function ownFamilies({ version, queues, diagnosisMs, telemetry }: Measured): string[] {
  const { user, system } = process.cpuUsage();
  return [
    familyText({ name: 'portreeve_build_info', type: 'gauge', help: 'The version that runs.' }, [{ labels: { version }, value: 1 }]),
    familyText(
      { name: 'portreeve_queue_length', type: 'gauge', help: 'What waits: nodes for a look at them, rows and calls for the store, words for others.' },
      Object.entries(queues).map(([queue, value]) => ({ labels: { queue }, value })),
    ),
    valueText({ name: 'portreeve_diagnosis_seconds', type: 'gauge', help: 'Time that a look at one node takes, a moving average.' }, diagnosisMs / 1_000),
    familyText(
      { name: 'portreeve_http_answers_total', type: 'counter', help: 'Answers of the API by the class of their status.' },
      telemetry.samples('answers'),
    ),
    valueText({ name: 'process_cpu_seconds_total', type: 'counter', help: 'Processor time that the collector has used.' }, (user + system) / 1e6),
    valueText({ name: 'process_resident_memory_bytes', type: 'gauge', help: 'Resident memory of the collector.' }, process.memoryUsage.rss()),
    valueText(
      { name: 'process_start_time_seconds', type: 'gauge', help: 'When it started, in seconds since 1970.' },
      Math.round(performance.timeOrigin) / 1_000,
    ),
  ];
}
