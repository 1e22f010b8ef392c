// The messages between agent and collector, as schemas: one source for types, validation on both sides, and documentation. Subprotocol `portreeve.v1`.
import Type, { type Static } from 'typebox';
import { limits } from '../limits.ts';

export const subprotocol = 'portreeve.v1';

const text = (maxLength: number) => Type.String({ maxLength });
/** Milliseconds since 1970. */
const time = Type.Number({ minimum: 0, maximum: limits.timeMsMax });
const sequence = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
const nodePortKey = Type.Object({
  protocol: Type.Union([Type.Literal('tcp'), Type.Literal('udp'), Type.Literal('sctp')]),
  family: Type.Union([Type.Literal(4), Type.Literal(6)]),
  port: Type.Integer({ minimum: 1, maximum: 65535 }),
});

/** Agent → collector, first: who speaks. `stream` names this run of the agent; `acknowledged` is the last change that the agent knows to be stored. */
export const hello = Type.Object({
  type: Type.Literal('hello'),
  node: Type.String({ minLength: 1, maxLength: 253 }),
  version: text(64),
  bootId: text(64),
  stream: Type.String({ minLength: 1, maxLength: 64 }),
  acknowledged: sequence,
  /** Milliseconds since 1970 on the agent, for the offset of its clock. */
  clock: time,
  /** When this run of the agent began to observe; milliseconds since 1970. */
  startedAt: Type.Optional(time),
  /** Milliseconds since then by a clock that nobody sets. */
  ranMs: Type.Optional(Type.Number({ minimum: 0 })),
  /** Earlier runs whose changes still wait in the agent's spool, oldest first, and until when each was surely alive. */
  earlier: Type.Optional(
    Type.Array(Type.Object({ stream: Type.String({ minLength: 1, maxLength: 64 }), startedAt: time, aliveAt: time }), {
      maxItems: limits.earlierStreamsMax,
    }),
  ),
  /** What the agent understands beyond the plain protocol: `trace`, `zstd` … */
  capabilities: Type.Array(text(64), { maxItems: 64 }),
});

/** Collector → agent, the answer: go on after `resumeAfter` (the highest stored seq of this stream), and judge these NodePorts. */
export const welcome = Type.Object({
  type: Type.Literal('welcome'),
  session: text(64),
  resumeAfter: sequence,
  /** The same for the earlier streams that the hello named. */
  earlier: Type.Optional(Type.Array(Type.Object({ stream: text(64), resumeAfter: sequence }), { maxItems: limits.earlierStreamsMax })),
  /** What the collector understands beyond the plain protocol. */
  capabilities: Type.Optional(Type.Array(text(64), { maxItems: 64 })),
  limits: Type.Object({ frameBytesMax: Type.Integer(), heartbeatMs: Type.Integer() }),
});

/** Collector → agent, at any time after welcome: the NodePorts that Services have now, to be judged besides those found in rules, and the peers' addresses. */
export const want = Type.Object({
  type: Type.Literal('want'),
  nodePorts: Type.Array(nodePortKey, { maxItems: limits.wantedNodePortsMax }),
  /** InternalIPs of the other nodes: the sources of the vantage `peer`. */
  peers: Type.Array(text(45), { maxItems: 20_000 }),
  /** Pod networks of the whole cluster as prefixes. */
  podNetworks: Type.Array(text(49), { maxItems: 20_000 }),
  /** TCP ports that load balancers ask for health. */
  healthPorts: Type.Optional(Type.Array(Type.Integer({ minimum: 1, maximum: 65535 }), { maxItems: 20_000 })),
});

/** Agent → collector: facts put and deleted. Counted from 1 on each connection. The first after a welcome has `full: true` and replaces all that was known; a full state may come in several parts. */
export const state = Type.Object({
  type: Type.Literal('state'),
  seq: sequence,
  full: Type.Boolean(),
  /** Whether more parts of this full state follow. */
  more: Type.Boolean(),
  /** Milliseconds since 1970 when the facts were read. */
  at: time,
  put: Type.Array(Type.Object({ kind: text(32), key: text(512) }, { additionalProperties: true }), { maxItems: limits.stateFactsMax }),
  delete: Type.Array(text(512), { maxItems: limits.stateFactsMax }),
});

const actor = Type.Object({
  pid: Type.Optional(Type.Integer()),
  comm: Type.Optional(text(256)),
  argv: Type.Optional(Type.Array(text(4096), { maxItems: 256 })),
  unit: Type.Optional(text(256)),
  parents: Type.Optional(Type.Array(Type.Object({ pid: Type.Integer(), comm: text(256) }), { maxItems: 16 })),
  uid: Type.Optional(Type.Integer()),
  loginUid: Type.Optional(Type.Integer()),
  how: Type.Enum(['nft-generation', 'ebpf', 'audit', 'exec-event', 'manager-signal', 'api', 'file', 'unknown']),
});

const change = Type.Object({
  seq: sequence,
  stream: text(64),
  at: time,
  node: text(253),
  kind: text(32),
  subject: text(1024),
  before: Type.Union([Type.Null(), text(limits.changeTextBytesMax)]),
  after: Type.Union([Type.Null(), text(limits.changeTextBytesMax)]),
  actor: Type.Optional(actor),
  owner: Type.Optional(text(32)),
  covers: Type.Optional(sequence),
  folded: Type.Optional(Type.Object({ count: sequence, from: time, to: time, by: Type.Array(text(64), { maxItems: 16 }) })),
  gap: Type.Optional(
    Type.Object({
      reason: Type.Enum(['agent-down', 'spool-full', 'spool-damaged', 'folded', 'watch-overrun', 'lost']),
      from: time,
      to: time,
    }),
  ),
});

/** Agent → collector: ledger entries of one stream in order of seq, behind the one with the number `after`: where another came last, a frame was lost between. */
export const changes = Type.Object({
  type: Type.Literal('changes'),
  after: Type.Optional(sequence),
  changes: Type.Array(change, { minItems: 1, maxItems: limits.changesBatchMax }),
});

/** Collector → agent: everything of `stream` (of the hello's where it is absent) up to `changes` is committed, and state up to `state` is taken over. */
export const ack = Type.Object({ type: Type.Literal('ack'), stream: Type.Optional(text(64)), changes: sequence, state: sequence });

/** Collector → agent: walk this packet on the live ruleset; answered by `traced`. */
export const trace = Type.Object({ type: Type.Literal('trace'), id: text(64), packet: Type.Record(text(32), text(256)) });
export const traced = Type.Object({
  type: Type.Literal('traced'),
  id: text(64),
  result: Type.Optional(Type.Unknown()),
  error: Type.Optional(text(4096)),
});

/** What an agent says in `capabilities` when it makes captures on request. */
export const captureCapability = 'capture';

/** Collector → agent: read every source and send what was read; answered by `captured`, once for each part. */
export const capture = Type.Object({ type: Type.Literal('capture'), id: text(64) });

/** Agent → collector: a part (in order, from 0) of the capture, a tar archive packed by gzip; or why there is none. `last` says that it is whole. */
export const captured = Type.Object({
  type: Type.Literal('captured'),
  id: text(64),
  part: sequence,
  last: Type.Boolean(),
  /** Base64 of at most `limits.capturePartBytes`. */
  content: Type.Optional(text(limits.capturePartBytes * 1.5)),
  error: Type.Optional(text(4096)),
});

/** What a collector says in `capabilities` when it compares digests of state. */
export const digestCapability = 'digest';

/** Agent → collector, now and then, where that one compares digests: what it must hold of the node when everything sent so far is taken over, by kind of fact. */
export const digest = Type.Object({
  type: Type.Literal('digest'),
  kinds: Type.Record(text(32), Type.Object({ count: sequence, sum: sequence }), { maxProperties: 256 }),
});

/** Collector → agent, the answer where they differ: send the state whole again. */
export const resend = Type.Object({ type: Type.Literal('resend'), reason: text(1024) });

/** Either way, before closing: what was wrong. A collector may say when to come back: not before `retryAfterMs`, spread over as long again. */
export const failure = Type.Object({
  type: Type.Literal('error'),
  code: text(64),
  message: text(4096),
  retryAfterMs: Type.Optional(Type.Integer({ minimum: 0, maximum: limits.retryAfterMsMax })),
});

export const fromAgent = { hello, state, changes, traced, captured, digest, error: failure } as const;
export const fromCollector = { welcome, want, ack, trace, capture, resend, error: failure } as const;

export type Hello = Static<typeof hello>;
export type Welcome = Static<typeof welcome>;
export type Want = Static<typeof want>;
export type StateMessage = Static<typeof state>;
export type ChangesMessage = Static<typeof changes>;
export type Ack = Static<typeof ack>;
export type Trace = Static<typeof trace>;
export type Traced = Static<typeof traced>;
export type Capture = Static<typeof capture>;
export type Captured = Static<typeof captured>;
export type Digest = Static<typeof digest>;
export type Resend = Static<typeof resend>;
export type Failure = Static<typeof failure>;
export type AgentMessage = Hello | StateMessage | ChangesMessage | Traced | Captured | Digest | Failure;
export type CollectorMessage = Welcome | Want | Ack | Trace | Capture | Resend | Failure;
