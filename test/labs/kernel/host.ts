// The hosts of the arena as TypeScript sees them: a Perl program in each namespace that sends, answers and watches, spoken to in lines.
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

export type Protocol = 'tcp' | 'udp' | 'sctp';

/** A first packet to be sent. The TTL tells its packets from those of other probes wherever they are seen; a router takes one off. */
export interface Probe {
  readonly id: number;
  readonly protocol: Protocol;
  readonly from: string;
  readonly fromPort: number;
  readonly to: string;
  readonly port: number;
  readonly ttl: number;
}

/** What the sender of a probe was told. `connected`: the handshake is half through (SCTP) or through (TCP), `ok`: whoever took it has said who it is. */
export interface Meeting {
  readonly id: number;
  readonly word: 'connected' | 'ok' | 'refused' | 'reset' | 'ended' | 'unreachable' | 'forbidden' | 'error';
  readonly answer?: { readonly who: string; readonly port: number; readonly source: string };
  /** For `error`. */
  readonly number?: number;
}

/** Addresses and ports of a packet, as the wire has them. */
export interface Header {
  readonly protocol: string;
  readonly source: string;
  readonly sourcePort: number;
  readonly destination: string;
  readonly destinationPort: number;
  readonly ttl: number;
}

/** A packet on one of the node's interfaces. On its way in it has met no rule yet, on its way out it has met all. */
export interface SeenPacket extends Header {
  readonly device: string;
  readonly direction: 'in' | 'out';
  /** TCP flags (`S`, `SA`, `RA` …), `data`, the first chunk of SCTP, or type and code of an ICMP error. */
  readonly what: string;
  /** The packet that an ICMP error is about. */
  readonly about?: Header;
}

export interface HostOptions {
  readonly ports: Readonly<Partial<Record<Protocol, readonly number[]>>>;
  readonly own: readonly string[];
  /** Interfaces whose packets are told. */
  readonly watch?: readonly string[];
  /** Whether the kernel has SCTP itself. */
  readonly stack?: 'kernel';
}

/** The arguments of host.pl. */
export function hostArguments(name: string, { ports, own, watch, stack }: HostOptions): readonly string[] {
  const lists = Object.entries(ports).map(([protocol, list]) => `${protocol}=${list.join()}`);
  return [
    join(import.meta.dirname, 'host.pl'),
    name,
    ...lists,
    `own=${own.join()}`,
    ...(watch === undefined ? [] : [`watch=${watch.join()}`]),
    ...(stack === undefined ? [] : [`stack=${stack}`]),
  ];
}

/** A running host. What it tells gathers in `meetings` and `packets` until `close` takes it. */
export class Host {
  readonly meetings: Meeting[] = [];
  readonly packets: SeenPacket[] = [];
  /** When it last told something, in milliseconds of `performance.now()`. */
  heardAt = 0;
  readonly #child: ChildProcess;
  #closes = 0;
  #closed: (() => void) | undefined;
  #ended: ((error: Error) => void) | undefined;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  static start(namespace: string, args: readonly string[]): Promise<Host> {
    const command = ['--pdeathsig', 'KILL', 'ip', 'netns', 'exec', namespace, 'perl', ...args];
    const host = new Host(spawn('setpriv', command, { stdio: ['pipe', 'pipe', 'inherit'] }));
    return new Promise((resolve, reject) => {
      host.#child.once('exit', (code, signal) => {
        const error = new Error(`a host of the arena ended with ${code ?? signal}: ${args.join(' ')}`);
        reject(error);
        host.#ended?.(error);
      });
      host.#child.once('error', reject);
      createInterface({ input: host.#child.stdout as NodeJS.ReadableStream }).on('line', (line) => {
        if (line === 'ready') resolve(host);
        else host.#take(line);
      });
    });
  }

  send(probes: readonly Probe[]): void {
    const lines = probes.map(({ id, protocol, from, fromPort, to, port, ttl }) => `probe ${id} ${protocol} ${from} ${fromPort} ${to} ${port} ${ttl}\n`);
    if (lines.length > 0) this.#child.stdin?.write(lines.join(''));
  }

  /** Ends all connections; when it resolves, everything that was seen before has been told. */
  letGo(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#closed = resolve;
      this.#ended = reject;
      this.#child.stdin?.write(`close ${++this.#closes}\n`);
    });
  }

  /** Empties what has gathered. */
  forget(): void {
    this.meetings.length = 0;
    this.packets.length = 0;
  }

  close(): void {
    this.#child.removeAllListeners('exit');
    this.#child.kill('SIGKILL');
  }

  #take(line: string): void {
    const told = parseLine(line);
    if (told === undefined) throw new Error(`a host of the arena said "${line}"`);
    this.heardAt = performance.now();
    if ('closed' in told) {
      if (told.closed === this.#closes) this.#closed?.();
    } else if ('word' in told) this.meetings.push(told);
    else this.packets.push(told);
  }
}

/** Reads one line of host.pl. */
export function parseLine(line: string): Meeting | SeenPacket | { readonly closed: number } | undefined {
  const words = line.split(' ');
  if (words[0] === 'closed') return { closed: Number(words[1]) };
  if (words[0] === 'met') return parseMeeting(words);
  if (words[0] !== 'packet') return undefined;
  const [, device = '', direction, ...rest] = words;
  const header = parseHeader(rest.slice(0, 6));
  const about = rest[7] === 'of' ? { about: parseHeader(rest.slice(8)) } : {};
  return { device, direction: direction === 'in' ? 'in' : 'out', ...header, what: rest[6] ?? '', ...about };
}

function parseMeeting([, id, told = '', who, port, source]: readonly string[]): Meeting {
  const [word, number] = told.split(':') as [Meeting['word'], string | undefined];
  return {
    id: Number(id),
    word,
    ...(number === undefined ? {} : { number: Number(number) }),
    ...(who === undefined || source === undefined ? {} : { answer: { who, port: Number(port), source } }),
  };
}

function parseHeader([protocol = '', source = '', sourcePort, destination = '', destinationPort, ttl]: readonly string[]): Header {
  return { protocol, source, sourcePort: Number(sourcePort), destination, destinationPort: Number(destinationPort), ttl: Number(ttl) };
}
