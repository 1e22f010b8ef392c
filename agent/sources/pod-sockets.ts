// Ports on which the containers of this node's pods listen, by the pods' addresses: says whether a Service's target port is anybody's.
// Read from the network namespaces of processes: it takes the host's process ids (hostPID) and CAP_SYS_PTRACE. With CAP_SYS_ADMIN, ss is run inside each
// namespace; without it, /proc/PID/net/tcp is read, for which the kernel walks its whole table of connections (20 ms a file on a machine with 24 GB), so
// every namespace is looked at soon after it appears and then seldom, a few at a time.
import { linkOf } from '../host/files.ts';
import type { Machine } from '../host/machine.ts';
import { lackingCapabilities } from './capability.ts';
import { socketLines, steadySockets } from './listeners.parse.ts';
import { addressesIn, namespaceText } from './pod-sockets.parse.ts';
import { madeFile, type Source } from './source.ts';

const file = 'pod-sockets.txt';

export const podSockets: Source = {
  name: 'pod-sockets',
  needs: {
    commands: ['nsenter', 'ss'],
    capabilities: ['CAP_SYS_PTRACE'],
    adds: { CAP_SYS_ADMIN: 'the cheap way into namespaces (nsenter): they are looked at less often' },
  },
  files: [file],
  wakes: [],
  pollMs: () => 15_000,
  read: async (machine) => {
    const own = linkOf('/proc/self/ns/net');
    const pids = (await machine.list('/proc')).filter((name) => /^\d+$/.test(name));
    const found = namespacesOf(pids, own);
    if (found.hidden > 0 && found.processes.size === 0) return { outcome: 'failed', reason: `the namespaces of ${found.hidden} processes cannot be seen` };
    if (found.processes.size === 0)
      return { outcome: 'absent', reason: 'no process here is in a network namespace of its own (hostPID is needed in a container)' };
    const looked = await Looks.of(machine).look(found.processes);
    return {
      ...madeFile(file, looked.text, 'ss -H -tuln, or /proc/PID/net/{tcp,tcp6,udp,udp6}, in each network namespace'),
      ...(looked.lacks === '' ? {} : { lacks: looked.lacks }),
    };
  },
};

/** Namespaces looked at; a node has 110 pods if it is not told otherwise. */
export const namespacesMax = 512;

/** Namespaces with one process of each (the oldest: a pod's sandbox), and how many processes do not show theirs. Threads of the kernel have none. */
function namespacesOf(pids: readonly string[], own: string | undefined): { readonly processes: ReadonlyMap<string, string>; readonly hidden: number } {
  const processes = new Map<string, string>();
  let hidden = 0;
  for (const pid of pids.toSorted((a, b) => Number(a) - Number(b))) {
    const namespace = linkOf(`/proc/${pid}/ns/net`);
    if (namespace === undefined) hidden++;
    else if (namespace !== own && !processes.has(namespace) && processes.size < namespacesMax) processes.set(namespace, pid);
  }
  return { processes, hidden };
}

interface Look {
  readonly text: string;
  /** Milliseconds of performance.now(). */
  readonly at: number;
  /** Looks so far. */
  readonly count: number;
}

/** Pauses between the looks at one namespace: a container opens its ports in its first seconds and minutes, and seldom later. */
const pausesMs = [0, 10_000, 30_000, 120_000] as const;
const laterPauseMs = 600_000;
/** Time that one reading may take; the rest is looked at by the next. */
const readingMs = 150;

/** What was seen of each namespace, and when. */
class Looks {
  static readonly #all = new WeakMap<Machine, Looks>();
  readonly #machine: Machine;
  #seen = new Map<string, Look>();

  /** Those of one machine: a reading builds on the one before. */
  static of(machine: Machine): Looks {
    const known = Looks.#all.get(machine) ?? new Looks(machine);
    Looks.#all.set(machine, known);
    return known;
  }

  constructor(machine: Machine) {
    this.#machine = machine;
  }

  async look(processes: ReadonlyMap<string, string>): Promise<{ readonly text: string; readonly lacks: string }> {
    this.#seen = new Map([...this.#seen].filter(([namespace]) => processes.has(namespace)));
    const enters = (await lackingCapabilities(this.#machine, { commands: [], capabilities: ['CAP_SYS_ADMIN'] })).length === 0;
    const start = performance.now();
    for (const [namespace, pid] of this.#due(processes, start)) {
      const text = await this.#read(pid, enters);
      // It may have ended meanwhile, and its number may be another's now.
      if (text !== undefined && linkOf(`/proc/${pid}/ns/net`) === namespace)
        this.#seen.set(namespace, { text, at: performance.now(), count: (this.#seen.get(namespace)?.count ?? 0) + 1 });
      if (performance.now() - start > readingMs) break;
      await new Promise((resolve) => setImmediate(resolve));
    }
    const unseen = [...processes.keys()].filter((namespace) => !this.#seen.has(namespace)).length;
    const texts = [...this.#seen.values()].map(({ text }) => text).filter((text) => text !== '');
    return { text: texts.sort().join(''), lacks: unseen === 0 ? '' : `${unseen} of ${processes.size} namespaces: they are looked at in the next readings` };
  }

  /** Those whose pause is over, the longest overdue first. */
  #due(processes: ReadonlyMap<string, string>, now: number): readonly (readonly [string, string])[] {
    const dueAt = (namespace: string): number => {
      const look = this.#seen.get(namespace);
      return look === undefined ? Number.NEGATIVE_INFINITY : look.at + (pausesMs[look.count] ?? laterPauseMs);
    };
    return [...processes].filter(([namespace]) => dueAt(namespace) <= now).sort(([a], [b]) => (dueAt(a) < dueAt(b) ? -1 : 1));
  }

  /** The text of one namespace; empty for one without an address of its own, undefined when it could not be read. */
  async #read(pid: string, enters: boolean): Promise<string | undefined> {
    const [trie, inet6] = await Promise.all([this.#text(`/proc/${pid}/net/fib_trie`), this.#text(`/proc/${pid}/net/if_inet6`)]);
    if (trie === undefined && inet6 === undefined) return undefined;
    const addresses = addressesIn(trie ?? '', inet6 ?? '');
    if (addresses.length === 0) return '';
    const sockets = (enters ? await this.#inside(pid) : undefined) ?? (await this.#fromProc(pid));
    return namespaceText(addresses, sockets);
  }

  async #inside(pid: string): Promise<readonly string[] | undefined> {
    const outcome = await this.#machine.run('nsenter', [`--net=/proc/${pid}/ns/net`, '--', 'ss', '-H', '-tuln'], 5_000);
    return outcome.kind === 'done'
      ? steadySockets(outcome.stdout.toString('utf8'))
          .split('\n')
          .filter((line) => line !== '')
      : undefined;
  }

  async #fromProc(pid: string): Promise<readonly string[]> {
    const lines: string[] = [];
    for (const list of ['tcp', 'tcp6', 'udp', 'udp6']) {
      lines.push(...socketLines((await this.#text(`/proc/${pid}/net/${list}`)) ?? '', list));
      await new Promise((resolve) => setImmediate(resolve));
    }
    return lines;
  }

  async #text(path: string): Promise<string | undefined> {
    const outcome = await this.#machine.read(path);
    return outcome.kind === 'done' ? outcome.content.toString('latin1') : undefined;
  }
}
