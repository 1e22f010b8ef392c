// Checks the facts that an agent sends, kind by kind: what diagnosis reads later must have the shape it relies on.
import Type from 'typebox';
import { Compile, type Validator } from 'typebox/compile';
import type { Fact } from '../../shared/model/fact.ts';

/** A fact as it came in, or why it is none. Properties that are not known are let through: an agent may be newer. */
export function readFact(raw: { readonly kind: string; readonly key: string }): { readonly fact?: Fact; readonly reason?: string } {
  const check = checks.get(raw.kind);
  if (check === undefined) return { reason: `kind ${JSON.stringify(raw.kind)} is not known` };
  const fits: boolean = check.Check(raw);
  if (fits) return { fact: raw as unknown as Fact };
  const [first] = check.Errors(raw);
  return { reason: `fact ${JSON.stringify(raw.key)}: ${first?.instancePath || '/'} ${first?.message ?? 'is not as the schema says'}` };
}

const text = Type.String({ maxLength: 65_536 });
const texts = Type.Array(text);
const family = Type.Union([Type.Literal(4), Type.Literal(6)]);
const protocol = Type.Union([Type.Literal('tcp'), Type.Literal('udp'), Type.Literal('sctp')]);
const port = Type.Integer({ minimum: 0, maximum: 65_535 });
const mode = Type.Enum(['iptables', 'nftables', 'ipvs', 'none']);
const decider = Type.Object({
  by: Type.Enum(['rule', 'policy', 'route', 'sysctl', 'socket', 'ipvs', 'map']),
  text,
  family: Type.Optional(text),
  table: Type.Optional(text),
  chain: Type.Optional(text),
  rule: Type.Optional(Type.Number()),
  backend: Type.Optional(text),
  line: Type.Optional(Type.Number()),
  handle: Type.Optional(Type.Number()),
  packets: Type.Optional(text),
  others: Type.Optional(Type.Number()),
});
const loss = Type.Object({ verdict: Type.Enum(['drop', 'reject', 'unknown']), decidedBy: Type.Optional(decider) });
const outcome = Type.Object({
  verdict: Type.Enum(['forward', 'local', 'refused', 'drop', 'reject', 'unknown']),
  dnat: Type.Union([Type.Null(), text]),
  masquerade: Type.Boolean(),
  weight: Type.Number(),
  rejectWith: Type.Optional(text),
  decidedBy: Type.Optional(decider),
  sources: Type.Optional(texts),
  sourcesLeft: Type.Optional(Type.Number()),
  unless: Type.Optional(Type.Array(decider)),
  reply: Type.Optional(loss),
  later: Type.Optional(loss),
});
const outcomes = Type.Optional(Type.Array(outcome));
const key = { key: text };

const schemas = {
  nodeport: Type.Object({
    ...key,
    nodePort: Type.Object({ protocol, family, port }),
    address: text,
    outcomes: Type.Object({ external: outcomes, peer: outcomes, pod: outcomes, node: outcomes }),
    claimed: Type.Object({ by: Type.Enum(['rule', 'none']), service: Type.Optional(text) }),
  }),
  source: Type.Object({
    ...key,
    source: text,
    outcome: Type.Enum(['facts', 'absent', 'failed']),
    reason: Type.Optional(text),
    lacks: Type.Optional(text),
    watch: Type.Optional(Type.Enum(['events', 'poll'])),
    rung: Type.Optional(text),
    missed: Type.Optional(Type.Number()),
  }),
  reading: Type.Object({
    ...key,
    reason: text,
    delayMs: Type.Number(),
    cpuShare: Type.Number(),
    memoryBytes: Type.Number(),
    periods: Type.Record(text, Type.Number()),
  }),
  listener: Type.Object({ ...key, protocol, family, address: text, port, processes: Type.Array(Type.Object({ comm: text, pid: Type.Integer() })) }),
  interface: Type.Object({
    ...key,
    name: text,
    up: Type.Boolean(),
    addresses: texts,
    mtu: Type.Optional(Type.Number()),
    type: Type.Optional(text),
    master: Type.Optional(text),
    hairpin: Type.Optional(Type.Boolean()),
    offloads: Type.Optional(Type.Record(text, Type.Boolean())),
  }),
  sysctl: Type.Object({ ...key, name: text, value: text }),
  proxy: Type.Object({
    ...key,
    mode,
    running: Type.Enum(['yes', 'no', 'unknown']),
    evidence: text,
    startedAt: Type.Optional(Type.Number()),
    flags: Type.Optional(Type.Record(text, text)),
    sync: Type.Optional(
      Type.Object({
        lastAt: Type.Number(),
        queuedAt: Type.Number(),
        restoreFailures: Type.Number(),
        partialRestoreFailures: Type.Number(),
        lockedBy: Type.Optional(Type.Object({ pid: Type.Integer(), comm: text })),
      }),
    ),
    version: Type.Optional(text),
    health: Type.Optional(text),
    clusterNetworks: Type.Optional(texts),
  }),
  chains: Type.Object({
    ...key,
    family,
    mode,
    parts: Type.Record(text, Type.Boolean()),
    services: Type.Record(text, Type.Object({ nodePortRule: Type.Boolean(), chain: Type.Boolean(), endpoints: texts })),
  }),
  neighbours: Type.Object({ ...key, chains: Type.Array(Type.Object({ family: text, table: text, chain: text, backend: Type.Optional(text) })) }),
  port: Type.Object({
    ...key,
    port: Type.Object({ protocol, family, port }),
    purpose: Type.Enum(['health-check', 'overlay']),
    device: Type.Optional(text),
    outcomes: Type.Object({ external: outcomes, peer: outcomes, pod: outcomes, node: outcomes }),
  }),
  routing: Type.Object({
    ...key,
    family,
    defaultRoute: Type.Boolean(),
    device: Type.Optional(text),
    rules: texts,
    podNetworks: Type.Record(text, Type.Union([Type.Null(), text])),
  }),
  served: Type.Object({ ...key, family, prefixes: texts }),
  hostports: Type.Object({ ...key, family, ports: texts }),
  'repeated-rules': Type.Object({
    ...key,
    rules: Type.Array(Type.Object({ family: text, table: text, chain: text, text, count: Type.Number() })),
  }),
  process: Type.Object({ ...key, comm: text, pids: Type.Array(Type.Integer()), startedAt: Type.Optional(Type.Number()), units: Type.Optional(texts) }),
  counter: Type.Object({ ...key, name: text, value: Type.Number() }),
  flows: Type.Object({
    ...key,
    nodePort: Type.Object({ protocol, family, port }),
    targets: Type.Record(text, Type.Object({ count: Type.Number(), unanswered: Type.Number() })),
  }),
  drops: Type.Object({
    ...key,
    nodePort: Type.Object({ protocol, family, port }),
    drops: Type.Array(
      Type.Object({
        of: Type.Enum(['request', 'reply', 'reset']),
        reason: text,
        port: Type.Optional(port),
        backend: Type.Optional(text),
        inPod: Type.Optional(Type.Boolean()),
        packets: Type.Number(),
        firstAt: Type.Number(),
        lastAt: Type.Number(),
        prefixes: texts,
        more: Type.Optional(Type.Boolean()),
        device: Type.Optional(text),
        rule: Type.Optional(decider),
        countedAt: Type.Optional(Type.Number()),
      }),
    ),
  }),
  firewall: Type.Object({
    ...key,
    program: Type.Enum(['ufw', 'firewalld']),
    state: Type.Enum(['active', 'inactive', 'unknown']),
    settings: Type.Record(text, text),
    rules: texts,
    zones: Type.Optional(
      Type.Array(
        Type.Object({
          name: text,
          active: Type.Boolean(),
          target: text,
          interfaces: texts,
          sources: texts,
          services: texts,
          ports: texts,
          forward: Type.Boolean(),
          masquerade: Type.Boolean(),
          richRules: texts,
        }),
      ),
    ),
    pending: texts,
  }),
  tools: Type.Object({
    ...key,
    iptables: Type.Array(
      Type.Object({ command: text, origin: text, backend: Type.Optional(Type.Enum(['legacy', 'nf_tables'])), version: Type.Optional(text) }),
    ),
    versions: Type.Record(text, text),
  }),
  kernel: Type.Object({ ...key, user: Type.Enum(['iptables-legacy', 'iptables-nft', 'nftables', 'ipvs', 'none']), missing: texts, available: texts }),
  tunnel: Type.Object({ ...key, device: text, hops: Type.Number(), broken: Type.Record(text, text) }),
  'pod-sockets': Type.Object({ ...key, address: text, ports: texts, loopbackPorts: texts }),
  host: Type.Object({
    ...key,
    hostname: text,
    kernel: text,
    os: text,
    bootedAt: Type.Number(),
    virtual: Type.Optional(text),
    memoryBytes: Type.Optional(Type.Number()),
    processors: Type.Optional(Type.Number()),
  }),
} as const satisfies { readonly [K in Fact['kind']]: object };

const checks: ReadonlyMap<string, Validator> = new Map(Object.entries(schemas).map(([kind, schema]) => [kind, Compile(schema)]));

/** Whether facts of a kind are taken; those of others come from newer agents and are left out. */
export const isKnownKind = (kind: string): boolean => checks.has(kind);
