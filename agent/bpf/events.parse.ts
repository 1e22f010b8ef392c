// Decodes the lines of portreeve-bpf: each is an event of a known shape, or garbage with the reason.
import type { Protocol } from '../../shared/model/fact.ts';

/** What is attached; `ok`, or why it is not. */
export interface HelloEvent {
  readonly kind: 'hello';
  readonly kernel: string;
  /** Backends that it has room for. */
  readonly backends: number;
  readonly drops: string;
  readonly exec: string;
  readonly callsBy: 'kprobe' | 'tracepoint' | 'none';
  readonly calls: string;
  readonly netlink: string;
}

/** It cannot start: `btf` is missing, `load` is refused … */
export interface RefusedStartEvent {
  readonly kind: 'refused-start';
  readonly stage: string;
  /** `EPERM` …; empty when it has no name. */
  readonly code: string;
  readonly reason: string;
}

/** Packets of one sort that were dropped (or, for `reset`, sent) since the programs run. */
export interface DropEvent {
  readonly kind: 'drop';
  /** On its way to a NodePort, to a backend, an answer, or a reset that was sent. */
  readonly of: 'nodeport' | 'backend' | 'reply' | 'reset';
  /** Number of the reason, by the kernel's own enumeration; absent for resets. */
  readonly reason?: number;
  /** Function of the kernel that dropped it, where no reason tells. */
  readonly place?: string;
  readonly protocol: Protocol;
  readonly family: 4 | 6;
  /** As the client addressed it; absent when it is not known. */
  readonly nodePort?: number;
  /** As the packet had it when it was dropped, so after translation. */
  readonly port: number;
  /** Network of the clients, /24 or /64; absent where there were too many to tell apart. */
  readonly prefix?: string;
  readonly backend?: string;
  /** Whether it was in the agent's own network namespace. */
  readonly own: boolean;
  readonly netns: number;
  readonly device: string;
  /** Of the first packet. */
  readonly client: string;
  readonly destination: string;
  /** TCP flags of the first packet, e.g. `S`. */
  readonly flags?: string;
  readonly count: number;
  /** Milliseconds since 1970. */
  readonly firstAt: number;
  readonly lastAt: number;
}

export interface ExecEvent {
  readonly kind: 'exec';
  readonly class: 'tool' | 'interpreter' | 'daemon';
  readonly at: number;
  readonly pid: number;
  readonly comm: string;
  readonly file: string;
  readonly argv: readonly string[];
  readonly uid: number;
  /** Who had logged in, also after sudo; absent for what no login started. */
  readonly loginUid?: number;
  readonly own: boolean;
  /** The parent first. */
  readonly parents: readonly { readonly pid: number; readonly comm: string }[];
  /** Names of the control group, outermost first; at most four. */
  readonly cgroup: readonly string[];
}

export interface ExitEvent {
  readonly kind: 'exit';
  readonly at: number;
  readonly pid: number;
  readonly comm: string;
}

/** A signal that ends or stops a daemon, and who sent it. */
export interface SignalEvent {
  readonly kind: 'signal';
  readonly sender: ExecEvent;
  readonly signal: number;
  readonly target: { readonly pid: number; readonly comm: string };
}

/** A whole table of x_tables was replaced, or IPVS changed, by setsockopt. */
export interface ReplaceEvent {
  readonly kind: 'replace';
  readonly what: 'ip' | 'ip6' | 'arp' | 'bridge' | 'ipvs';
  /** `filter` …; empty for IPVS. */
  readonly table: string;
  /** 0, or a negative error number: then nothing changed. */
  readonly result: number;
  readonly at: number;
  readonly pid: number;
  readonly comm: string;
  readonly uid: number;
  readonly own: boolean;
}

/** A netlink message that changes something. */
export interface NetlinkEvent {
  readonly kind: 'netlink';
  readonly what: 'ipset' | 'ipvs' | 'conntrack' | 'link' | 'address' | 'route' | 'rule';
  /** Name of the set. */
  readonly object?: string;
  readonly at: number;
  readonly pid: number;
  readonly comm: string;
  readonly uid: number;
  readonly own: boolean;
}

/** A sender went on; what it sent is of the same sort as before. */
export interface NetlinkMoreEvent {
  readonly kind: 'netlink-more';
  readonly what: NetlinkEvent['what'];
  readonly pid: number;
}

/** What could not be told, since the programs run. */
export interface LostEvent {
  readonly kind: 'lost';
  readonly events: number;
  readonly lines: number;
}

export type BpfEvent =
  | HelloEvent
  | RefusedStartEvent
  | DropEvent
  | ExecEvent
  | ExitEvent
  | SignalEvent
  | ReplaceEvent
  | NetlinkEvent
  | NetlinkMoreEvent
  | LostEvent
  | { readonly kind: 'pong'; readonly id: string }
  | { readonly kind: 'refused'; readonly line: string; readonly reason: string }
  | { readonly kind: 'garbage'; readonly reason: string };

/** Decodes one line. Never throws. */
export function readBpfLine(line: string): BpfEvent {
  try {
    return decode(line);
  } catch (error) {
    return { kind: 'garbage', reason: error instanceof Error ? error.message : String(error) };
  }
}

type Fields = Readonly<Record<string, unknown>>;

function decode(line: string): BpfEvent {
  const fields: unknown = JSON.parse(line);
  if (typeof fields !== 'object' || fields === null) throw new Error('not an object');
  const event = fields as Fields;
  switch (event.ev) {
    case 'hello':
      return hello(event);
    case 'refused-start':
      return { kind: 'refused-start', stage: text(event, 'stage'), code: text(event, 'code'), reason: text(event, 'reason') };
    case 'drop':
      return drop(event);
    case 'exec':
      return exec(event);
    case 'exit':
      return { kind: 'exit', at: number(event, 'at'), pid: number(event, 'pid'), comm: text(event, 'comm') };
    case 'signal':
      return {
        kind: 'signal',
        sender: exec(event),
        signal: number(event, 'signal'),
        target: { pid: number(event, 'target'), comm: text(event, 'targetComm') },
      };
    case 'replace':
      return { kind: 'replace', what: word(event, 'what', replaced), table: text(event, 'table'), result: number(event, 'result'), ...caller(event) };
    case 'netlink':
      return netlink(event);
    case 'netlink-more':
      return { kind: 'netlink-more', what: subjectOf(number(event, 'protocol'), number(event, 'subject')), pid: number(event, 'pid') };
    case 'lost':
      return { kind: 'lost', events: number(event, 'events'), lines: number(event, 'lines') };
    case 'pong':
      return { kind: 'pong', id: text(event, 'id') };
    case 'refused':
      return { kind: 'refused', line: text(event, 'line'), reason: text(event, 'reason') };
    default:
      throw new Error('no event of that name');
  }
}

const replaced = ['ip', 'ip6', 'arp', 'bridge', 'ipvs'] as const;
const protocols = ['tcp', 'udp', 'sctp'] as const;

const hello = (event: Fields): HelloEvent => ({
  kind: 'hello',
  kernel: text(event, 'kernel'),
  backends: number(event, 'backends'),
  drops: text(event, 'drops'),
  exec: text(event, 'exec'),
  callsBy: word(event, 'callsBy', ['kprobe', 'tracepoint', 'none'] as const),
  calls: text(event, 'calls'),
  netlink: text(event, 'netlink'),
});

function drop(event: Fields): DropEvent {
  return {
    kind: 'drop',
    of: word(event, 'kind', ['nodeport', 'backend', 'reply', 'reset'] as const),
    ...optional(event, 'reason', number),
    ...optional(event, 'place', text),
    protocol: word(event, 'protocol', protocols),
    family: number(event, 'family') === 6 ? 6 : 4,
    ...optional(event, 'nodePort', number),
    port: number(event, 'port'),
    ...optional(event, 'prefix', text),
    ...optional(event, 'backend', text),
    own: event.own === true,
    netns: number(event, 'netns'),
    device: text(event, 'device'),
    client: text(event, 'client'),
    destination: text(event, 'destination'),
    ...optional(event, 'flags', text),
    count: number(event, 'count'),
    firstAt: number(event, 'firstAt'),
    lastAt: number(event, 'lastAt'),
  };
}

function exec(event: Fields): ExecEvent {
  return {
    kind: 'exec',
    class: word(event, 'class', ['tool', 'interpreter', 'daemon'] as const),
    at: number(event, 'at'),
    pid: number(event, 'pid'),
    comm: text(event, 'comm'),
    file: text(event, 'file'),
    argv: list(event, 'argv').map(asText),
    uid: number(event, 'uid'),
    ...optional(event, 'loginUid', number),
    own: event.own === true,
    parents: list(event, 'parents').map((parent) => ({ pid: number(parent as Fields, 'pid'), comm: text(parent as Fields, 'comm') })),
    cgroup: list(event, 'cgroup').map(asText),
  };
}

const caller = (event: Fields) => ({
  at: number(event, 'at'),
  pid: number(event, 'pid'),
  comm: text(event, 'comm'),
  uid: number(event, 'uid'),
  own: event.own === true,
});

function netlink(event: Fields): NetlinkEvent {
  const [protocol, type] = [number(event, 'protocol'), number(event, 'type')];
  const what = subjectOf(protocol, type);
  const object = what === 'ipset' ? setName(Buffer.from(text(event, 'message'), 'hex')) : undefined;
  return { kind: 'netlink', what, ...(object === undefined ? {} : { object }), ...caller(event) };
}

/** Families of netlink (linux/netlink.h), and what their messages change: the subsystem of nfnetlink, the group of four of rtnetlink. */
function subjectOf(protocol: number, type: number): NetlinkEvent['what'] {
  if (protocol === 16) return 'ipvs';
  if (protocol === 12) return type >> 8 === 6 ? 'ipset' : 'conntrack';
  if (protocol !== 0) throw new Error(`netlink protocol ${protocol}`);
  return type < 20 ? 'link' : type < 24 ? 'address' : type < 28 ? 'route' : 'rule';
}

/** IPSET_ATTR_SETNAME (2) among the attributes after the four bytes of nfgenmsg (linux/netfilter/ipset/ip_set.h). */
function setName(message: Buffer): string | undefined {
  for (let at = 4; at + 4 <= message.length; ) {
    const [length, type] = [message.readUInt16LE(at), message.readUInt16LE(at + 2) & 0x3fff];
    if (length < 4) return undefined;
    if (type === 2) return message.toString('utf8', at + 4, Math.min(at + length - 1, message.length)) || undefined;
    at += (length + 3) & ~3;
  }
  return undefined;
}

function text(fields: Fields, name: string): string {
  const value = fields[name];
  if (typeof value !== 'string') throw new Error(`${name} is no text`);
  return value;
}

function number(fields: Fields, name: string): number {
  const value = fields[name];
  if (typeof value !== 'number' || !Number.isFinite(value)) throw new Error(`${name} is no number`);
  return value;
}

function word<Word extends string>(fields: Fields, name: string, words: readonly Word[]): Word {
  const value = words.find((each) => each === fields[name]);
  if (value === undefined) throw new Error(`${name} is none of ${words.join(', ')}`);
  return value;
}

function list(fields: Fields, name: string): readonly unknown[] {
  const value = fields[name];
  if (!Array.isArray(value)) throw new Error(`${name} is no list`);
  return value;
}

const asText = (value: unknown): string => (typeof value === 'string' ? value : String(value));

function optional<Name extends string, Value>(
  fields: Fields,
  name: Name,
  read: (fields: Fields, name: string) => Value,
): Partial<Readonly<Record<Name, Value>>> {
  return fields[name] === undefined ? {} : ({ [name]: read(fields, name) } as Partial<Readonly<Record<Name, Value>>>);
}
