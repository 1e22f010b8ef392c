// Findings that share a root as one incident, worst first: what the first view lists. Pure.
import type { Change } from '../../../shared/model/change.ts';
import type { Finding, Severity } from '../../../shared/model/finding.ts';

export interface Incident {
  readonly key: string;
  /** Of the worst of its findings. */
  readonly severity: Severity;
  /** Worst first; the first one tells the story. */
  readonly findings: readonly Finding[];
  readonly nodes: readonly string[];
  /** `namespace/name:port`. */
  readonly services: readonly string[];
  /** NodePorts on nodes that it concerns, each counted once. */
  readonly cells: number;
  /** When the first of it began; undefined where no finding says. */
  readonly since: number | undefined;
  /** The change that made it, where the ledger has it. */
  readonly trigger: Change | undefined;
}

/** Incidents, worst first: by severity, then by how much they break, then the newest. */
export function incidentsOf(findings: readonly Finding[]): Incident[] {
  return [...Map.groupBy(findings, rootOf)]
    .map(([key, group]) => incidentOf(key, group))
    .sort((a, b) => severityRanks[a.severity] - severityRanks[b.severity] || b.cells - a.cells || (b.since ?? 0) - (a.since ?? 0) || (a.key < b.key ? -1 : 1));
}

export const severityRanks: Readonly<Record<Severity, number>> = { error: 0, warning: 1, info: 2 };

/** A fault of the objects is one on all nodes; any other is of one node, and of one change there. */
function rootOf({ cause, node, service, trigger, severity }: Finding): string {
  if (cause.startsWith('A')) return [cause, service, severity].join('\0');
  return [cause, node, trigger === undefined ? '' : `${trigger.at} ${trigger.subject}`, severity].join('\0');
}

function incidentOf(key: string, group: readonly Finding[]): Incident {
  const findings = group.toSorted((a, b) => severityRanks[a.severity] - severityRanks[b.severity] || a.port - b.port || (a.id < b.id ? -1 : 1));
  const [worst] = findings as [Finding];
  const starts = findings.flatMap(({ since }) => since ?? []);
  return {
    key,
    severity: worst.severity,
    findings,
    nodes: distinct(findings.map(({ node }) => node)),
    services: distinct(findings.map(({ service }) => service)),
    cells: new Set(findings.flatMap(cellsOf)).size,
    since: starts.length === 0 ? undefined : Math.min(...starts),
    trigger: findings.find(({ trigger }) => trigger !== undefined)?.trigger,
  };
}

function cellsOf({ id, node, port, protocol, family, consequences = [] }: Finding): string[] {
  const own = port === 0 ? [] : [`${node} nodeport/${protocol}/${family}/${port}`];
  const all = [...own, ...consequences.map((each) => `${node} ${each}`)];
  return all.length === 0 ? [id] : all;
}

const distinct = (texts: readonly string[]): string[] => [...new Set(texts.filter((text) => text !== ''))].sort();
