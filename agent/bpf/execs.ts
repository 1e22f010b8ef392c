// Remembers which programs were started, by whom and from where, so that a change of which only a process number is known has a name, and what they did.
import { limits } from '../../shared/limits.ts';
import type { Actor, Owner } from '../../shared/model/change.ts';
import { glimpse, unitOf } from '../host/files.ts';
import { type AuditedChange, replacesTable } from './audit.parse.ts';
import type { ExecEvent, ExitEvent, NetlinkEvent, ReplaceEvent, SignalEvent } from './events.parse.ts';
import { type Wrote, wroteOf } from './tools.ts';

/** What a process did that changed something of which the kernel itself names nobody. */
export interface Act {
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly wrote: Wrote;
  /** What exactly: `ip filter` for tables, the name of a set; absent when it is not known. */
  readonly object?: string;
  /** Seen as the act itself; false: a program that does such things ran. */
  readonly exact: boolean;
  /** It was not seen but said by the actor itself, which can have changed only what is its own. */
  readonly owner?: Owner;
  readonly actor: Actor;
}

interface Run {
  readonly event: ExecEvent;
  readonly wrote: readonly Wrote[];
  /** Milliseconds since 1970; absent while it runs. */
  endedAt?: number;
}

/** Limits of the wire on what an actor holds. */
const argumentsMax = 64;
const argumentLengthMax = 1024;
/** Names of processes are cut to this by the kernel, but not by all who tell them. */
const commLength = 15;

/** Bounded: the oldest are forgotten first. */
export class Execs {
  readonly #runs: Run[] = [];
  readonly #byPid = new Map<number, Run[]>();
  readonly #acts: Act[] = [];
  readonly #audited = new Map<number, Actor>();

  /** Takes the start of a program; returns what it may change, empty when it is of no interest. */
  exec(event: ExecEvent): readonly Wrote[] {
    const wrote = wroteOf(event);
    if (wrote.length === 0) return wrote;
    const run = { event: sharing(event, this.#runs.at(-1)?.event), wrote };
    this.#runs.push(run);
    const known = this.#byPid.get(event.pid);
    if (known === undefined) this.#byPid.set(event.pid, [run]);
    else known.push(run);
    if (this.#runs.length > limits.execsMax) this.#forget(this.#runs.shift() as Run);
    return wrote;
  }

  /** Takes the end of a process; returns what its programs may have changed. */
  exit(event: ExitEvent): readonly Wrote[] {
    const runs = (this.#byPid.get(event.pid) ?? []).filter(({ endedAt }) => endedAt === undefined);
    for (const run of runs) run.endedAt = event.at;
    return [...new Set(runs.flatMap(({ wrote }) => wrote))];
  }

  /** Takes a signal that ends or stops a daemon: who sent it ended it, if it ends. */
  signal({ sender, target }: SignalEvent): void {
    this.#push({ at: sender.at, wrote: 'process', object: target.comm, exact: true, actor: { ...actorOf(sender), how: 'ebpf' } });
  }

  /** Takes a call that changed a table or IPVS. One that failed changed nothing. */
  replace(event: ReplaceEvent): void {
    if (event.result !== 0) return;
    const object = event.what === 'ipvs' ? {} : { object: `${event.what} ${event.table}` };
    this.#act({ ...event, wrote: event.what === 'ipvs' ? 'ipvs' : 'legacy', ...object });
  }

  netlink(event: NetlinkEvent): void {
    const wrote = event.what === 'rule' ? 'route' : event.what;
    this.#act({ ...event, wrote, ...(event.object === undefined ? {} : { object: event.object }) });
  }

  /** Takes a change of rules from audit: who it was is in it. Several changes of one process make one start of a program. */
  audited(change: AuditedChange): void {
    const { at, pid, comm, argv, uid, loginUid, parentPid } = change;
    const actor: Actor = {
      pid,
      comm,
      ...(argv === undefined ? {} : { argv: cutArguments(argv) }),
      ...(uid === undefined ? {} : { uid }),
      ...(loginUid === undefined ? {} : { loginUid }),
      how: 'audit',
    };
    this.#audited.delete(pid);
    this.#audited.set(pid, parentPid === undefined ? actor : { ...actor, parents: parentsOf(parentPid) });
    if (this.#audited.size > limits.execsMax) this.#audited.delete(this.#audited.keys().next().value as number);
    if (!replacesTable(change)) return;
    this.#push({ at, wrote: 'legacy', object: `${change.family} ${change.table}`, exact: true, actor: this.#audited.get(pid) as Actor });
  }

  /** An actor of whom pid and name are known, with all that its start has told. Unknown ones come back as they are. */
  complete(actor: Actor): Actor {
    const run = actor.pid === undefined ? undefined : this.#runOf(actor.pid, actor.comm);
    if (run !== undefined) return { ...actor, ...actorOf(run.event), how: 'ebpf' };
    const audited = this.#audited.get(actor.pid ?? -1);
    return audited === undefined || (actor.comm !== undefined && audited.comm?.slice(0, commLength) !== actor.comm.slice(0, commLength))
      ? actor
      : { ...actor, ...audited };
  }

  /** What changed something between two moments (milliseconds since 1970), in order of time: acts that were seen, and runs of programs that may have. */
  acts(from: number, to: number): readonly Act[] {
    const runs = this.#runs
      .filter(({ event, endedAt }) => event.class !== 'daemon' && event.own && event.at <= to && (endedAt ?? to) >= from)
      .flatMap(({ event, wrote, endedAt }) =>
        wrote.map((each): Act => ({ at: endedAt ?? event.at, wrote: each, exact: false, actor: { ...actorOf(event), how: 'exec-event' } })),
      );
    return [...runs, ...this.#acts.filter(({ at }) => at >= from && at <= to)].sort((a, b) => a.at - b.at);
  }

  #act(event: {
    readonly at: number;
    readonly pid: number;
    readonly comm: string;
    readonly uid: number;
    readonly wrote: Wrote;
    readonly object?: string;
  }): void {
    const { at, pid, comm, uid, wrote, object } = event;
    const actor = this.complete({ pid, comm, uid, how: 'ebpf' });
    this.#push({ at, wrote, ...(object === undefined ? {} : { object }), exact: true, actor });
  }

  #push(act: Act): void {
    this.#acts.push(act);
    if (this.#acts.length > limits.execsMax) this.#acts.shift();
  }

  /** The latest program of a process; where it has been several, the latest of that name. */
  #runOf(pid: number, comm: string | undefined): Run | undefined {
    const runs = this.#byPid.get(pid);
    return (
      runs?.findLast(({ event }) => comm !== undefined && event.comm.slice(0, commLength) === comm.slice(0, commLength)) ??
      (comm === undefined ? runs?.at(-1) : undefined)
    );
  }

  #forget(run: Run): void {
    const left = this.#byPid.get(run.event.pid)?.filter((each) => each !== run) ?? [];
    if (left.length === 0) this.#byPid.delete(run.event.pid);
    else this.#byPid.set(run.event.pid, left);
  }
}

/** Programs that one script starts have its ancestors and its control group in common: those are most of what is remembered. */
function sharing(event: ExecEvent, last: ExecEvent | undefined): ExecEvent {
  if (last === undefined) return event;
  const parents = sameJson(event.parents, last.parents) ? last.parents : event.parents;
  const cgroup = sameJson(event.cgroup, last.cgroup) ? last.cgroup : event.cgroup;
  return { ...event, parents, cgroup };
}

const sameJson = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

const cutArguments = (argv: readonly string[]): readonly string[] => argv.slice(0, argumentsMax).map((word) => word.slice(0, argumentLengthMax));

/** The parent of a process that audit has told of by number alone, if it still runs. */
function parentsOf(pid: number): NonNullable<Actor['parents']> {
  const { comm } = glimpse(pid);
  return comm === undefined ? [] : [{ pid, comm }];
}

function actorOf({ pid, comm, argv, parents, uid, loginUid, cgroup }: ExecEvent): Omit<Actor, 'how'> {
  const unit = unitOf(cgroup.map((name) => `/${name}`).join(''));
  return {
    pid,
    comm,
    argv: cutArguments(argv),
    parents,
    uid,
    ...(loginUid === undefined ? {} : { loginUid }),
    ...(unit === undefined ? {} : { unit: unit.slice(0, 256) }),
  };
}
