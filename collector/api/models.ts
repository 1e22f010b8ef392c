// Schemas of what the API answers with, each under the name that it has in the OpenAPI document; that they say what our types say is checked by the compiler.
import Type, { type Static, type TSchema } from 'typebox';
import type { GapReason, SequencedChange } from '../../shared/model/change.ts';
import type { Finding } from '../../shared/model/finding.ts';
import type { Decider } from '../../shared/model/outcome.ts';
import type { Correlation } from '../correlate/index.ts';
import type { Explanation } from '../explain/explain.ts';
import type { Assignment } from '../lint/register.ts';
import type { ReplicaItem } from '../replicas/replicas.ts';
import type { Gap, Incident } from '../store/records.ts';
import type { FindingItem, TimelineItem } from './answers.ts';
import type { CoverageItem } from './fleet-resources.ts';
import type { Freshness } from './freshness.ts';
import type { MatrixColumn, MatrixRow } from './matrix.ts';
import type { NodeItem, NodePortItem, ServiceItem } from './views.ts';

/** A schema that stands for another one by its name; `T` is the type that both describe. */
const named = <T>(name: string) => Type.Unsafe<T>({ $ref: `${name}#` });

const text = Type.String();
const number = Type.Number();
const count = Type.Integer({ minimum: 0 });
const time = (description: string) => Type.Number({ description: `${description} Milliseconds since 1970.` });
const nullable = <S extends TSchema>(schema: S) => Type.Union([schema, Type.Null()]);
const optional = Type.Optional;
/** A list that nobody changes, as our types have it. */
const list = <S extends TSchema>(items: S) => Type.Unsafe<readonly Static<S>[]>(Type.Array(items));
const words = <const Words extends readonly string[]>(...values: Words) =>
  Type.Enum(values as unknown as string[]) as unknown as ReturnType<typeof Type.Unsafe<Words[number]>>;
const family = Type.Unsafe<4 | 6>(Type.Enum([4, 6]));
const protocol = words('tcp', 'udp', 'sctp');
const severity = words('error', 'warning', 'info');
const symptom = words('ok', 'refused', 'timeout', 'unreachable', 'unknown');
const cellState = words('ok', 'fault', 'by-design', 'pending', 'unknown');
const counts = Type.Object({ error: count, warning: count, info: count });
const latency = nullable(Type.Object({ count, p50Ms: number, p99Ms: number }));

const decider = Type.Object(
  {
    by: words('rule', 'policy', 'route', 'sysctl', 'socket', 'ipvs', 'map'),
    family: optional(text),
    table: optional(text),
    chain: optional(text),
    rule: optional(count),
    text,
    backend: optional(Type.Unsafe<NonNullable<Decider['backend']>>(text)),
    line: optional(count),
    handle: optional(count),
    packets: optional(text),
    others: optional(count),
  },
  { description: 'The rule (or policy, route, setting, socket) that decides.' },
);

const actor = Type.Object(
  {
    pid: optional(count),
    comm: optional(text),
    argv: optional(list(text)),
    unit: optional(text),
    parents: optional(list(Type.Object({ pid: count, comm: text }))),
    uid: optional(count),
    loginUid: optional(count),
    how: words('nft-generation', 'ebpf', 'audit', 'exec-event', 'manager-signal', 'api', 'file', 'unknown'),
  },
  { description: 'Who made a change, and how that is known.' },
);

/** Why the ledger may lack something. */
export const gapReasons = ['agent-down', 'spool-full', 'spool-damaged', 'folded', 'watch-overrun', 'lost'] as const satisfies readonly GapReason[];
const gapReason = words(...gapReasons);
const plainChange = {
  at: time('By the clock of the machine that saw it.'),
  node: Type.String({ description: 'Empty for changes of cluster objects.' }),
  kind: Type.Unsafe<SequencedChange['kind']>(text),
  subject: text,
  before: nullable(text),
  after: nullable(text),
  actor: optional(named<NonNullable<SequencedChange['actor']>>('Actor')),
  owner: optional(Type.Unsafe<NonNullable<SequencedChange['owner']>>(text)),
  gap: optional(Type.Object({ reason: gapReason, from: number, to: number })),
};
const change = Type.Object(plainChange, { description: 'What changed, and by whom.' });
const ledgerEntry = Type.Object(
  {
    ...plainChange,
    stream: Type.String({ description: 'One run of an agent, or of the watch of cluster objects.' }),
    seq: count,
    covers: optional(count),
    folded: optional(Type.Object({ count, from: number, to: number, by: list(text) })),
  },
  { description: 'A change with its place in the ledger.' },
);

const evidence = Type.Object({
  witness: words('rules', 'objects', 'sockets', 'settings', 'changes', 'counters', 'processes', 'kernel'),
  text,
  decider: optional(named<Decider>('Decider')),
});

const plainFinding = {
  id: Type.String({ description: 'Stable while the fault lasts.' }),
  cause: Type.String({ description: 'A01 … E01 of docs/causes.md, or "unknown".' }),
  title: text,
  severity,
  confidence: words('certain', 'likely', 'possible'),
  node: text,
  service: Type.String({ description: 'namespace/name:port; empty when the fault is not of one Service.' }),
  port: Type.Integer({ description: '0 when the fault is not of one NodePort.' }),
  protocol: words('tcp', 'udp', 'sctp', ''),
  family: Type.Unsafe<0 | 4 | 6>(Type.Enum([0, 4, 6])),
  symptom,
  summary: text,
  evidence: list(named<Finding['evidence'][number]>('Evidence')),
  remedy: list(Type.String({ description: 'A command to copy.' })),
  since: optional(time('When the fault began, as far as is known.')),
  trigger: optional(named<NonNullable<Finding['trigger']>>('Change')),
  actor: optional(named<NonNullable<Finding['actor']>>('Actor')),
  consequences: optional(list(text)),
};
const finding = Type.Object(
  { ...plainFinding, openedAt: optional(number), closedAt: optional(nullable(number)) },
  { description: 'A diagnosed fault or drift. closedAt is null while it lasts.' },
);

const node = Type.Object({
  name: text,
  agent: words('connected', 'disconnected', 'never'),
  since: nullable(number),
  version: nullable(text),
  clockOffsetMs: nullable(number),
  viewAgeMs: nullable(number),
  stateAt: nullable(number),
  ready: nullable(Type.Boolean()),
  addresses: list(text),
  proxy: text,
  nodePorts: Type.Object({ ok: count, fault: count, 'by-design': count, pending: count, unknown: count }),
  findings: counts,
  pending: count,
  programming: latency,
  failedSources: list(Type.Object({ source: text, reason: text })),
});

const cell = Type.Object({
  node: text,
  family,
  state: cellState,
  expect: words('forward', 'reject', 'drop'),
  symptom,
  endpoints: count,
  causes: list(text),
});
const nodePort = Type.Object({ port: count, protocol, service: text, state: cellState, nodes: list(cell) });

const servicePort = Type.Object({}, { additionalProperties: true, description: 'name, protocol, port, targetPort, nodePort …' });
const service = Type.Object({
  namespace: text,
  name: text,
  type: text,
  externalTrafficPolicy: text,
  ports: Type.Unsafe<ServiceItem['ports']>(list(servicePort)),
  endpoints: Type.Object({ ready: count, total: count }),
  findings: counts,
  programming: latency,
});

const assignment = Type.Object({
  port: count,
  protocol,
  service: text,
  portName: text,
  targetPort: Type.Union([number, text]),
  externalTrafficPolicy: words('Cluster', 'Local'),
  owner: text,
  purpose: text,
  kind: words('nodePort', 'healthCheckNodePort'),
});

const lane = words('firewall', 'kube-proxy', 'interface', 'service', 'security group', 'cni', 'network policy', 'other');
const event = Type.Object({
  at: number,
  event: words('change', 'finding-opened', 'finding-closed'),
  node: text,
  lane: optional(lane),
  change: optional(named<SequencedChange>('LedgerEntry')),
  finding: optional(named<Finding>('Finding')),
});

const correlation = Type.Object({
  change: named<Correlation['change']>('Change'),
  score: Type.Number({ minimum: 0, maximum: 1 }),
  window: words('usual', 'extended', 'gradual'),
  reasons: list(text),
  steps: optional(list(named<Correlation['change']>('Change'))),
});

const explanation = Type.Object({
  kind: words('faulty', 'by-design', 'healthy', 'unknown', 'none'),
  node: text,
  port: count,
  protocol,
  service: text,
  address: optional(text),
  summary: text,
  walk: list(Type.Object({ hook: text, table: text, text, decides: Type.Boolean(), packets: optional(text) })),
  cause: optional(Type.Object({ cause: text, title: text, confidence: words('certain', 'likely', 'possible') })),
  who: optional(text),
  seenBy: list(text),
  notIt: list(text),
  fix: list(text),
  findings: list(named<Finding>('Finding')),
});

const rankedCause = Type.Object(
  {
    cause: Type.String({ description: 'An id of docs/causes.md; empty for a change alone.' }),
    title: text,
    confidence: words('certain', 'likely', 'possible'),
    score: Type.Number({ minimum: 0, maximum: 1 }),
    node: text,
    summary: text,
    remedy: list(text),
    reasons: list(text),
    finding: optional(text),
    change: optional(named<NonNullable<Incident['causes'][number]['change']>>('Change')),
  },
  { description: 'One of the likely causes of an incident.' },
);
const incident = Type.Object(
  {
    id: text,
    at: time('When clients could not get in.'),
    endedAt: nullable(number),
    createdAt: number,
    createdBy: text,
    origin: words('report', 'alertmanager'),
    service: text,
    node: Type.String({ description: 'Empty: any node.' }),
    port: Type.Integer({ description: '0: any NodePort of the Service.' }),
    protocol: words('tcp', 'udp', 'sctp', ''),
    source: Type.String({ description: 'Address of the client; empty when not told.' }),
    text,
    labels: Type.Record(text, text),
    causes: list(named<Incident['causes'][number]>('RankedCause')),
    notFound: list(text),
  },
  { description: 'It failed at some time: what was wrong, and what had changed before. Most likely cause first.' },
);

const matrixColumn = Type.Object({ port: count, protocol, family, service: text });
const matrixRow = Type.Object({
  node: text,
  agent: words('connected', 'disconnected', 'never'),
  codes: Type.String({
    description:
      'One code a column, runs counted: "o998t2" is 998 × o and 2 × t. o answers, t times out, r refused, x unreachable, w open with a warning, d by design, p pending, ? unknown, - not of this node.',
  }),
});

const gap = Type.Object({
  node: text,
  reason: gapReason,
  from: number,
  to: number,
  detail: text,
  seqs: optional(Type.Object({ stream: text, from: count, to: count })),
});

const coverage = Type.Object(
  {
    node: text,
    agent: words('connected', 'disconnected', 'never'),
    from: time('The span begins.'),
    to: time('It ends.'),
    observed: Type.Number({ minimum: 0, maximum: 1, description: 'Share of the span that an agent observed, as far as gaps tell.' }),
    unobservedMs: number,
    gaps: Type.Unsafe<CoverageItem['gaps']>(Type.Record(text, count, { description: 'Gaps in the span by reason.' })),
    lastGapAt: nullable(time('The end of the last gap.')),
  },
  { description: 'How well a node was observed in a span of time.' },
);

const replica = Type.Object(
  {
    id: text,
    address: Type.String({ description: 'Where it listens; empty until that is known.' }),
    version: text,
    startedAt: time('When its process began.'),
    seenAgoMs: number,
    alive: Type.Boolean(),
    leader: Type.Boolean({ description: 'Whether it does what one does for all.' }),
    self: Type.Boolean({ description: 'Whether it is the one that answers.' }),
    agents: Type.Integer({ minimum: 0, description: 'Nodes whose agents are connected there.' }),
  },
  { description: 'One of the collectors that share the store.' },
);

const view = Type.Object(
  { objectsAgeMs: nullable(number), stale: Type.Boolean(), doubts: list(text) },
  { description: 'How old what is known of the cluster is, and what is amiss with it.' },
);
const problem = Type.Object({ type: text, title: text, status: count, detail: text }, { description: 'RFC 9457.' });

/** Every named schema, by the name under which others and the document refer to it. */
export const models: Readonly<Record<string, TSchema>> = {
  Decider: decider,
  Actor: actor,
  Change: change,
  LedgerEntry: ledgerEntry,
  Evidence: evidence,
  Finding: finding,
  Node: node,
  Cell: cell,
  NodePort: nodePort,
  Service: service,
  Assignment: assignment,
  Event: event,
  Correlation: correlation,
  Explanation: explanation,
  RankedCause: rankedCause,
  Incident: incident,
  MatrixColumn: matrixColumn,
  MatrixRow: matrixRow,
  Gap: gap,
  Coverage: coverage,
  Replica: replica,
  View: view,
  Problem: problem,
};

/** A reference to one of the models. */
export const model = (name: keyof typeof models & string): TSchema => named(name);

// The compiler holds the schemas to the types that the answers are made from: each of our values fits its schema.
type Fits<Ours extends Theirs, Theirs> = [Ours, Theirs];
export type Checked = [
  Fits<Decider, Static<typeof decider>>,
  Fits<SequencedChange, Static<typeof ledgerEntry>>,
  Fits<Finding, Omit<Static<typeof finding>, 'openedAt' | 'closedAt'>>,
  Fits<FindingItem, Static<typeof finding>>,
  Fits<NodeItem, Static<typeof node>>,
  Fits<NodePortItem, Static<typeof nodePort>>,
  Fits<ServiceItem, Static<typeof service>>,
  Fits<Assignment, Static<typeof assignment>>,
  Fits<TimelineItem, Static<typeof event>>,
  Fits<Correlation, Static<typeof correlation>>,
  Fits<Explanation, Static<typeof explanation>>,
  Fits<Incident, Static<typeof incident>>,
  Fits<MatrixColumn, Static<typeof matrixColumn>>,
  Fits<MatrixRow, Static<typeof matrixRow>>,
  Fits<Gap, Static<typeof gap>>,
  Fits<CoverageItem, Static<typeof coverage>>,
  Fits<ReplicaItem, Static<typeof replica>>,
  Fits<Freshness, Static<typeof view>>,
];
