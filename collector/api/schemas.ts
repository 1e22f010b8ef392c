// Schemas of the API's questions and of its answers: validation, the OpenAPI document and the client's types are made from them.
import Type, { type Static, type TSchema } from 'typebox';
import { limits } from '../../shared/limits.ts';
import type { GapReason } from '../../shared/model/change.ts';
import { drawingForms } from '../explain/drawing.ts';
import { gapReasons, model } from './models.ts';

export const apiVersion = 'portreeve/v1';

const text = Type.String({ maxLength: 1_024 });
const limit = Type.Integer({ minimum: 1, maximum: limits.apiItemsMax, default: 100, description: 'Items in the answer.' });
const many = { ...limit, default: limits.apiItemsMax };
const cursor = Type.Optional(Type.String({ maxLength: 1_024, description: 'The "next" of the page before.' }));
const time = (description: string) => Type.Optional(Type.String({ maxLength: 40, description: `${description} RFC 3339, or milliseconds since 1970.` }));
const at = time('What was believed at this time, instead of now.');
const from = time('From this time on.');
const to = time('Up to this time.');
const port = Type.Integer({ minimum: 1, maximum: 65_535 });
const protocol = Type.Enum(['tcp', 'udp', 'sctp']);
const severity = Type.Enum(['error', 'warning', 'info']);
const namespace = Type.Optional(Type.String({ maxLength: 253, description: 'Only Services of this namespace.' }));
const cellState = Type.Enum(['ok', 'fault', 'by-design', 'pending', 'unknown']);

export const nodeParameters = Type.Object({ name: text });
export const portParameters = Type.Object({ port });
export const idParameters = Type.Object({ id: Type.String({ maxLength: 64 }) });
export const atQuery = Type.Object({ at });
export const nodesQuery = Type.Object({
  at,
  name: Type.Optional(Type.String({ maxLength: 253, description: 'Only nodes whose name holds this text.' })),
  agent: Type.Optional(Type.Enum(['connected', 'disconnected', 'never'])),
  faulty: Type.Optional(Type.Boolean({ description: 'Only nodes with a NodePort in the state fault.' })),
  limit: many,
  cursor,
});
export const nodePortsQuery = Type.Object({
  at,
  namespace,
  service: Type.Optional(Type.String({ maxLength: 512, description: 'Only of this Service, namespace/name.' })),
  node: Type.Optional(Type.String({ maxLength: 253, description: 'Only the cells of this node.' })),
  state: Type.Optional(cellState),
  protocol: Type.Optional(protocol),
  limit: many,
  cursor,
});
export const servicesQuery = Type.Object({
  namespace,
  name: Type.Optional(Type.String({ maxLength: 253, description: 'Only Services whose name holds this text.' })),
  faulty: Type.Optional(Type.Boolean({ description: 'Only Services with a finding of severity error or warning.' })),
  limit: many,
  cursor,
});
export const findingsQuery = Type.Object({
  node: Type.Optional(text),
  cause: Type.Optional(text),
  namespace,
  service: Type.Optional(text),
  port: Type.Optional(port),
  severity: Type.Optional(severity),
  state: Type.Enum(['open', 'closed', 'all'], { default: 'open', description: 'Open ones are answered from memory, the others from the history.' }),
  at,
  from,
  to,
  limit: many,
  cursor,
});
export const changesQuery = Type.Object({
  node: Type.Optional(Type.String({ maxLength: 253, description: 'Empty: changes of cluster objects.' })),
  kind: Type.Optional(text),
  subject: Type.Optional(Type.String({ maxLength: 1_024, description: 'Text that the subject holds.' })),
  owner: Type.Optional(text),
  text: Type.Optional(Type.String({ maxLength: 1_024, description: 'Text that the subject, the state before or after, or the actor holds.' })),
  at: time('The ledger as it ended at this time.'),
  from,
  to,
  limit,
  cursor,
});
export const timelineQuery = Type.Object({ node: Type.Optional(text), service: Type.Optional(text), from, to, at: time('Up to this time.'), limit });
const drawing = Type.Optional(
  Type.Enum([...drawingForms], { description: "Also the walk on the agent's live rules: as SVG, as Mermaid, or as data for a page that draws." }),
);
export const explainQuery = Type.Object({ node: text, port, protocol: Type.Optional(protocol), drawing, at });
export const captureBody = Type.Object({ node: text }, { additionalProperties: false });
export const traceBody = Type.Object(
  {
    node: text,
    packet: Type.Record(Type.String({ maxLength: 32 }), Type.String({ maxLength: 256 }), {
      description: 'vantage, src (an address or a prefix; without it the whole outside world), dst, proto, sport, dport, iif.',
    }),
    drawing,
  },
  { additionalProperties: false },
);
export const incidentBody = Type.Object(
  {
    at: Type.Optional(
      Type.Union([Type.Number(), Type.String({ maxLength: 40 })], { description: 'When it failed; now, when absent. RFC 3339, or milliseconds since 1970.' }),
    ),
    service: Type.Optional(Type.String({ maxLength: 512, description: 'namespace/name; the name alone where it is the only one with a NodePort.' })),
    node: Type.Optional(Type.String({ maxLength: 253 })),
    port: Type.Optional(port),
    protocol: Type.Optional(protocol),
    source: Type.Optional(Type.String({ maxLength: 64, description: 'Address of the client.' })),
    text: Type.Optional(Type.String({ maxLength: 4_096 })),
  },
  { additionalProperties: false },
);
export const incidentsQuery = Type.Object({
  service: Type.Optional(text),
  node: Type.Optional(text),
  state: Type.Enum(['open', 'closed', 'all'], { default: 'all' }),
  from,
  to,
  limit,
  cursor,
});
export const gapsQuery = Type.Object({
  node: Type.Optional(text),
  reason: Type.Optional(Type.Unsafe<GapReason>(Type.Enum([...gapReasons]))),
  from,
  to,
  limit,
  cursor,
});
export const coverageQuery = Type.Object({
  node: Type.Optional(text),
  from: time('From this time on; a day before the end when absent.'),
  to: time('Up to this time; now when absent.'),
  limit: many,
  cursor,
});
export const registerQuery = Type.Object({ namespace, format: Type.Enum(['json', 'csv'], { default: 'json' }) });
export const liveQuery = Type.Object({
  events: Type.Optional(Type.String({ maxLength: 256, description: 'Only these events, separated by commas.' })),
  node: Type.Optional(Type.String({ maxLength: 253, description: 'Only events of this node.' })),
  after: Type.Optional(Type.String({ maxLength: 64, description: 'Id of the last event that was seen, for readers that cannot send Last-Event-ID.' })),
});

export type NodesQuery = Static<typeof nodesQuery>;
export type NodePortsQuery = Static<typeof nodePortsQuery>;
export type ServicesQuery = Static<typeof servicesQuery>;
export type FindingsQuery = Static<typeof findingsQuery>;
export type ChangesQuery = Static<typeof changesQuery>;
export type TimelineQuery = Static<typeof timelineQuery>;
export type ExplainQuery = Static<typeof explainQuery>;
export type CaptureBody = Static<typeof captureBody>;
export type TraceBody = Static<typeof traceBody>;
export type IncidentBody = Static<typeof incidentBody>;
export type IncidentsQuery = Static<typeof incidentsQuery>;
export type GapsQuery = Static<typeof gapsQuery>;
export type CoverageQuery = Static<typeof coverageQuery>;
export type RegisterQuery = Static<typeof registerQuery>;
export type LiveQuery = Static<typeof liveQuery>;

const head = (kind: string) => ({
  apiVersion: Type.Literal(apiVersion),
  kind: Type.Literal(kind),
  view: model('View'),
  at: Type.Optional(Type.Number({ description: 'The time that was asked for.' })),
});

/** The answer of a list: `kind` is its name, items are of a model; `more` stands beside them. */
export const listOf = (kind: string, item: string, more: Readonly<Record<string, TSchema>> = {}) =>
  Type.Object({ ...head(kind), items: Type.Array(model(item)), next: Type.Optional(Type.String({ description: 'Cursor of the next page.' })), ...more });

/** The answer of a single object. */
export const objectOf = (kind: string, fields: Readonly<Record<string, TSchema>>) => Type.Object({ ...head(kind), ...fields });

/** All fields of a model of which an answer is one. */
export const withModel = (kind: string, name: string, more: Readonly<Record<string, TSchema>> = {}) =>
  Type.Unsafe<unknown>({ allOf: [Type.Object({ ...head(kind), ...more }), model(name)] });

const cellOfNode = Type.Object({ port: Type.Integer(), protocol, service: Type.String(), cell: model('Cell') });
const open = Type.Object({}, { additionalProperties: true });

/** Answers by kind. */
export const answers = {
  NodeList: listOf('NodeList', 'Node'),
  Node: withModel('Node', 'Node', {
    ports: Type.Array(cellOfNode),
    facts: Type.Array(open),
    open: Type.Array(model('Finding')),
    waiting: Type.Array(model('Finding')),
  }),
  NodePortList: listOf('NodePortList', 'NodePort'),
  NodePortMatrix: objectOf('NodePortMatrix', {
    columnsId: Type.String({ description: 'Other columns have another id; events of rows name it.' }),
    columns: Type.Array(model('MatrixColumn')),
    rows: Type.Array(model('MatrixRow')),
  }),
  ServiceList: listOf('ServiceList', 'Service'),
  FindingList: listOf('FindingList', 'Finding'),
  ChangeList: listOf('ChangeList', 'LedgerEntry'),
  EventList: listOf('EventList', 'Event', {
    windows: Type.Record(Type.String(), Type.Number(), { description: 'Minutes before an onset in which changes of each lane are looked for first.' }),
  }),
  Explanation: objectOf('Explanation', {
    explanation: model('Explanation'),
    connected: Type.Boolean(),
    caution: Type.Optional(Type.String()),
    text: Type.String({ description: 'The explanation for a terminal.' }),
    before: Type.Array(model('Correlation'), { description: 'What had changed before the onset, most telling first.' }),
    onset: Type.Optional(Type.Number({ description: 'When the fault began. Milliseconds since 1970.' })),
    drawing: Type.Optional(Type.Unknown()),
    drawingProblem: Type.Optional(Type.String()),
  }),
  Trace: objectOf('Trace', { node: Type.String(), result: Type.Unknown(), drawing: Type.Optional(Type.Unknown()) }),
  Capture: objectOf('Capture', { node: Type.String(), archive: Type.String({ contentEncoding: 'base64' }) }),
  Incident: withModel('Incident', 'Incident'),
  IncidentList: listOf('IncidentList', 'Incident'),
  NodePortRegister: listOf('NodePortRegister', 'Assignment'),
  GapList: listOf('GapList', 'Gap'),
  CoverageList: listOf('CoverageList', 'Coverage'),
  ReplicaList: listOf('ReplicaList', 'Replica'),
} as const satisfies Readonly<Record<string, TSchema>>;
export type AnswerKind = keyof typeof answers;
