// What was believed at a time: rows of verdicts and findings of the history, in the form in which the present is shown.

import { actorText } from '../../shared/model/change.ts';
import type { Finding } from '../../shared/model/finding.ts';
import type { Explanation } from '../explain/explain.ts';
import type { FindingRecord, Store } from '../store/store.ts';
import { byColumn, codes, columnKey, countCodes, type MatrixColumn, type MatrixRow, packCodes, reorder, unpackCodes } from './matrix.ts';
import { Problem } from './problem.ts';
import { type Cell, countFindings, type NodeItem, type NodePortItem, worst } from './views.ts';

export interface PastMatrix {
  readonly columns: readonly MatrixColumn[];
  readonly rows: readonly MatrixRow[];
  /** When what is said of each node was last other than before. */
  readonly since: ReadonlyMap<string, number>;
}

/** All rows at a time, in one order of columns. */
export async function matrixAt(store: Store, at: number): Promise<PastMatrix> {
  const { rows, columns } = await store.verdictsAt(at);
  const lists = new Map(columns.map(({ id, body }) => [id, JSON.parse(body) as readonly MatrixColumn[]]));
  const union = [...new Map([...lists.values()].flat().map((column) => [columnKey(column), column])).values()].sort(byColumn);
  const ordered = rows.map(({ node, agent, columns: id, codes: packed }): MatrixRow => {
    const from = lists.get(id) ?? [];
    return { node, agent, codes: packCodes(reorder(unpackCodes(packed, from.length), from, union)) };
  });
  return { columns: union, rows: ordered, since: new Map(rows.map((row) => [row.node, row.at])) };
}

const pageSize = 1_000;
const recordsMax = 100_000;

/** Findings that were open at a time. */
export async function findingsAt(store: Store, at: number): Promise<readonly FindingRecord[]> {
  const found: FindingRecord[] = [];
  for (let cursor: string | undefined; found.length < recordsMax; ) {
    const { items, next } = await store.findingPage({ from: at, to: at, limit: pageSize, ...(cursor === undefined ? {} : { cursor }) });
    found.push(...items.filter(({ openedAt, closedAt }) => openedAt <= at && (closedAt === null || closedAt > at)));
    if (next === undefined) break;
    cursor = next;
  }
  return found;
}

/** Nodes as they were: what no row tells (addresses, versions, clocks) is null or empty. */
export function pastNodes({ rows }: PastMatrix, findings: readonly FindingRecord[]): NodeItem[] {
  const byNode = Map.groupBy(
    findings.map(({ finding }) => finding),
    ({ node }) => node,
  );
  return rows.map(({ node, agent, codes: packed }) => ({
    name: node,
    agent,
    since: null,
    version: null,
    clockOffsetMs: null,
    viewAgeMs: null,
    stateAt: null,
    ready: null,
    addresses: [],
    proxy: 'unknown',
    nodePorts: countCodes(packed),
    findings: countFindings(byNode.get(node) ?? []),
    pending: countCodes(packed).pending,
    programming: null,
    failedSources: [],
  }));
}

/** NodePorts as they were. What the objects asked for is told by the state alone: `expect` is drop for what was by design, else forward. */
export function pastNodePorts({ columns, rows }: PastMatrix, findings: readonly FindingRecord[]): NodePortItem[] {
  const causes = Map.groupBy(
    findings.map(({ finding }) => finding),
    ({ node, port, protocol }) => `${node} ${port}/${protocol}`,
  );
  const plain = rows.map(({ node, codes: packed }) => ({ node, codes: unpackCodes(packed, columns.length) }));
  const grouped = new Map<string, { port: number; protocol: MatrixColumn['protocol']; service: string; nodes: Cell[] }>();
  columns.forEach((column, index) => {
    const key = `${column.port}/${column.protocol}`;
    const item = grouped.get(key) ?? { port: column.port, protocol: column.protocol, service: column.service, nodes: [] };
    for (const row of plain) {
      const cell = cellOf(row.node, column, row.codes[index]);
      if (cell !== undefined) item.nodes.push({ ...cell, causes: [...new Set((causes.get(`${row.node} ${key}`) ?? []).map(({ cause }) => cause))] });
    }
    if (item.nodes.length > 0) grouped.set(key, item);
  });
  return [...grouped.values()].map((item) => ({ ...item, state: worst(item.nodes.map(({ state }) => state)) }));
}

function cellOf(node: string, { family }: MatrixColumn, code: string | undefined): Cell | undefined {
  if (code === undefined || !(code in codes)) return undefined;
  const { state, symptom } = codes[code as keyof typeof codes];
  return { node, family, state, expect: state === 'by-design' ? 'drop' : 'forward', symptom, endpoints: 0, causes: [] };
}

/** What would have been answered to "why" at a time: the finding of then, without the walk, which only live rules can show. Throws Problem 404 where nothing was known. */
export function explanationAt(
  { node, port, protocol, at }: { readonly node: string; readonly port: number; readonly protocol: Explanation['protocol'] | undefined; readonly at: number },
  nodePorts: readonly NodePortItem[],
  findings: readonly FindingRecord[],
): Explanation {
  const item = nodePorts.find((each) => each.port === port && (protocol === undefined || each.protocol === protocol));
  const cells = item?.nodes.filter((cell) => cell.node === node) ?? [];
  if (item === undefined || cells.length === 0) throw new Problem(404, `nothing is on record of NodePort ${port} on ${node} at ${new Date(at).toISOString()}`);
  const own = findings
    .map(({ finding }) => finding)
    .filter((finding) => finding.node === node && (finding.port === port || concerns(finding, port, item.protocol)));
  const [finding] = own.sort((a, b) => ranks[a.severity] - ranks[b.severity]);
  const state = worst(cells.map((cell) => cell.state));
  const kind = state === 'ok' ? 'healthy' : state === 'fault' || state === 'pending' ? 'faulty' : state;
  const common = { node, port, protocol: item.protocol, service: item.service.split(':')[0] ?? '', walk: [], notIt: [], findings: own };
  if (finding === undefined)
    return { ...common, kind, summary: `${item.service}, NodePort ${port}/${item.protocol} on ${node}: ${plainWords[kind]}.`, seenBy: [], fix: [] };
  return {
    ...common,
    kind,
    summary: finding.summary,
    cause: { cause: finding.cause, title: finding.title, confidence: finding.confidence },
    ...(finding.actor === undefined ? {} : { who: actorText(finding.actor) }),
    seenBy: finding.evidence.map(({ witness, text }) => `${witness}: ${text}`),
    fix: finding.remedy,
  };
}

const ranks: Readonly<Record<Finding['severity'], number>> = { error: 0, warning: 1, info: 2 };
const plainWords = {
  healthy: 'it answered',
  faulty: 'it differed from what the objects ask for',
  'by-design': 'it kept clients out by design',
  unknown: 'what its clients met was not known',
  none: '',
};
const concerns = ({ consequences = [] }: Finding, port: number, protocol: string): boolean =>
  consequences.some((key) => key.startsWith(`nodeport/${protocol}/`) && key.endsWith(`/${port}`));
