// The metrics page in Prometheus' text form. Pure.
import type { NodeView } from '../state/state.ts';

export interface Measured {
  readonly nodes: readonly NodeView[];
  readonly changesTotal: number;
  readonly objectIssues: number;
  readonly now: number;
}

interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** The page, one family after the other. */
export function metricsText({ nodes, changesTotal, objectIssues, now }: Measured): string {
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
    family({ name: 'process_resident_memory_bytes', type: 'gauge', help: 'Resident memory of the collector.' }, [
      { labels: {}, value: process.memoryUsage.rss() },
    ]),
  ].join('');
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
