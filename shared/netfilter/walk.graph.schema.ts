// The schema of a drawing as data: an agent may be older or newer than who draws, so what it sends is checked before it is drawn.
import Type, { type Static, type TSchema } from 'typebox';
import { limits } from '../limits.ts';
import type { WalkGraph } from './walk.graph.model.ts';

const text = Type.String({ maxLength: limits.drawingTextMax });
const word = Type.String({ maxLength: 64 });
const share = Type.Number({ minimum: 0, maximum: 1 });
const verdict = Type.Enum(['forward', 'local', 'refused', 'drop', 'reject', 'unknown']);
const list = <Item extends TSchema>(item: Item) =>
  Type.Object({ shown: Type.Array(item, { maxItems: limits.drawingListMax }), more: Type.Integer({ minimum: 0 }) });
const decider = Type.Object({
  by: Type.Enum(['rule', 'policy', 'route', 'sysctl', 'socket', 'ipvs']),
  family: Type.Optional(word),
  table: Type.Optional(text),
  chain: Type.Optional(text),
  rule: Type.Optional(Type.Integer()),
  text,
  backend: Type.Optional(Type.Enum(['legacy', 'iptables-nft', 'nft'])),
  line: Type.Optional(Type.Integer()),
  handle: Type.Optional(Type.Integer()),
  packets: Type.Optional(word),
});
const rule = Type.Object({ decider, effect: text, share });
const placed = { id: word, lane: word, share };
const actor = Type.Optional(text);

const node = Type.Union([
  Type.Object({ ...placed, kind: Type.Literal('client'), text }),
  Type.Object({ ...placed, kind: Type.Literal('chain'), hook: word, priority: Type.Integer(), backend: word, family: word, table: text, chain: text }),
  Type.Object({
    ...placed,
    kind: Type.Literal('rule'),
    rules: list(rule),
    does: Type.Enum(['jumps', 'translates', 'other']),
    certain: Type.Boolean(),
    decides: Type.Boolean(),
    owner: Type.Enum([
      'kube-proxy',
      'kubelet',
      'cni',
      'network-policy',
      'docker',
      'podman',
      'libvirt',
      'tailscale',
      'ufw',
      'firewalld',
      'fail2ban',
      'admin',
      'unknown',
    ]),
    actor,
  }),
  Type.Object({ ...placed, kind: Type.Literal('policy'), decider, decides: Type.Boolean(), actor }),
  Type.Object({ ...placed, kind: Type.Literal('route'), routes: list(text) }),
  Type.Object({ ...placed, kind: Type.Literal('passed'), jumps: list(rule) }),
  Type.Object({ ...placed, kind: Type.Literal('gap'), steps: Type.Integer() }),
  Type.Object({
    ...placed,
    kind: Type.Literal('end'),
    verdict,
    rejectWith: Type.Optional(text),
    masquerade: Type.Boolean(),
    targets: list(Type.Object({ address: word, share })),
    deciders: list(decider),
    unless: list(decider),
  }),
  Type.Object({
    ...placed,
    kind: Type.Literal('loss'),
    lost: Type.Enum(['reply', 'later']),
    verdict: Type.Enum(['drop', 'reject', 'unknown']),
    deciders: list(decider),
  }),
]);

const edge = Type.Object({
  from: word,
  to: word,
  weight: share,
  sources: Type.Optional(list(word)),
  most: Type.Optional(Type.Literal(true)),
  unless: Type.Optional(
    Type.Array(Type.Object({ decider, matched: Type.Union([Type.Boolean(), Type.Literal('either')]), more: Type.Integer() }), {
      maxItems: limits.drawingListMax,
    }),
  ),
});

/** What `graphOf` makes, and `walkSvg` and `walkMermaid` draw. */
export const walkGraph = Type.Object({
  packet: text,
  verdict: Type.Union([verdict, Type.Literal('mixed')]),
  lanes: Type.Array(Type.Object({ id: word, kind: word, title: word }), { minItems: 1, maxItems: limits.drawingNodesMax }),
  nodes: Type.Array(node, { minItems: 1, maxItems: limits.drawingNodesMax }),
  edges: Type.Array(edge, { maxItems: limits.drawingNodesMax * limits.drawingListMax }),
  more: Type.Integer({ minimum: 0 }),
});

/** Whether edges lead only from nodes to later ones, and every node stands in a lane: what a schema cannot say. */
export function isDrawable({ lanes, nodes, edges }: WalkGraph): boolean {
  const places = new Map(nodes.map(({ id }, index) => [id, index]));
  const kinds = new Set(lanes.map(({ id }) => id));
  const isForward = ({ from, to }: WalkGraph['edges'][number]): boolean => (places.get(from) ?? nodes.length) < (places.get(to) ?? -1);
  const inOrder = nodes.map(({ lane }) => lanes.findIndex(({ id }) => id === lane));
  return (
    places.size === nodes.length &&
    kinds.size === lanes.length &&
    edges.every(isForward) &&
    inOrder.every((lane, index) => lane >= 0 && lane >= (inOrder[index - 1] ?? 0)) &&
    nodes.slice(1).every(({ id }) => edges.some(({ to }) => to === id)) &&
    lanes.every(({ id }) => nodes.some(({ lane }) => lane === id))
  );
}

/** Held by the compiler: the schema says what the model says. */
export const schemaIsModel: readonly [Static<typeof walkGraph>] extends readonly [WalkGraph] ? true : false = true;
