// Schemas of the API's questions and of its answers: validation and the OpenAPI document are made from them.
import Type, { type Static } from 'typebox';
import { limits } from '../../shared/limits.ts';
import { drawingForms } from '../explain/drawing.ts';

export const apiVersion = 'portreeve/v1';

const text = Type.String({ maxLength: 1_024 });
const limit = Type.Integer({ minimum: 1, maximum: limits.apiItemsMax, default: 100, description: 'Items in the answer.' });
const time = Type.Number({ description: 'Milliseconds since 1970.' });
const port = Type.Integer({ minimum: 1, maximum: 65_535 });
const protocol = Type.Enum(['tcp', 'udp', 'sctp']);

export const nodeParameters = Type.Object({ name: text });
export const portParameters = Type.Object({ port });
export const findingsQuery = Type.Object({
  node: Type.Optional(text),
  cause: Type.Optional(text),
  service: Type.Optional(text),
  severity: Type.Optional(Type.Enum(['error', 'warning', 'info'])),
  state: Type.Enum(['open', 'closed', 'all'], { default: 'open', description: 'Open ones are answered from memory, the others from the history.' }),
  from: Type.Optional(time),
  to: Type.Optional(time),
  limit: { ...limit, default: limits.apiItemsMax },
});
export const changesQuery = Type.Object({
  node: Type.Optional(text),
  kind: Type.Optional(text),
  subject: Type.Optional(text),
  from: Type.Optional(time),
  to: Type.Optional(time),
  limit,
  cursor: Type.Optional(text),
});
export const timelineQuery = Type.Object({ node: Type.Optional(text), from: Type.Optional(time), to: Type.Optional(time), limit });
const drawing = Type.Optional(
  Type.Enum([...drawingForms], { description: "Also the walk on the agent's live rules: as SVG, as Mermaid, or as data for a page that draws." }),
);
export const explainQuery = Type.Object({ node: text, port, protocol: Type.Optional(protocol), drawing });
export const traceBody = Type.Object(
  { node: text, packet: Type.Record(Type.String({ maxLength: 32 }), Type.String({ maxLength: 256 })), drawing },
  { additionalProperties: false },
);

export type FindingsQuery = Static<typeof findingsQuery>;
export type ChangesQuery = Static<typeof changesQuery>;
export type TimelineQuery = Static<typeof timelineQuery>;
export type ExplainQuery = Static<typeof explainQuery>;
export type TraceBody = Static<typeof traceBody>;

/** Beside every answer: how old the collector's view of the cluster is. */
const view = Type.Object(
  { objectsAgeMs: Type.Union([Type.Null(), Type.Number()]), stale: Type.Boolean(), doubts: Type.Array(Type.String()) },
  { description: 'How old what is known of the cluster is, and what is amiss with it.' },
);

/** The answer of a list: `kind` is its name, items are objects. */
export const listOf = (kind: string) =>
  Type.Object({
    apiVersion: Type.Literal(apiVersion),
    kind: Type.Literal(kind),
    view,
    items: Type.Array(Type.Object({}, { additionalProperties: true })),
    next: Type.Optional(Type.String({ description: 'Cursor of the next page.' })),
  });
/** The answer of a single object. */
export const objectOf = (kind: string) => Type.Object({ apiVersion: Type.Literal(apiVersion), kind: Type.Literal(kind), view }, { additionalProperties: true });
export const problem = Type.Object({ type: Type.String(), title: Type.String(), status: Type.Integer(), detail: Type.String() });
