// Adds up the drops that portreeve-bpf tells of into one fact for each NodePort, bounded in size and in how often it changes.
import { limits } from '../../shared/limits.ts';
import { type Drop, type DropsFact, dropsFactKey, isNetfilterDrop, type NodePortKey, nodePortFactKey } from '../../shared/model/fact.ts';
import type { Decider } from '../../shared/model/outcome.ts';
import type { DropEvent } from './events.parse.ts';

/** The NodePorts that lead to a backend `tcp 10.244.1.5 8080`. */
export type NodePortsOf = ReadonlyMap<string, readonly NodePortKey[]>;
export const backendKey = (protocol: string, address: string, port: number): string => `${protocol} ${address} ${port}`;

interface Sort {
  readonly of: Drop['of'];
  readonly reason: string;
  readonly port: number;
  readonly backend: string | undefined;
  readonly inPod: boolean;
  packets: number;
  firstAt: number;
  lastAt: number;
  readonly prefixes: Set<string>;
  more: boolean;
  device: string;
  rule: { readonly decider: Decider; readonly at: number } | undefined;
}

interface Port {
  readonly nodePort: NodePortKey;
  readonly sorts: Map<string, Sort>;
  /** The fact as it was last told. */
  told: DropsFact | undefined;
  toldAt: number;
  intervalMs: number;
  changed: boolean;
}

/** Times are milliseconds since 1970 and come in as arguments. */
export class Drops {
  readonly #ports = new Map<string, Port>();
  /** How many each key of the kernel had when it was last told; they count on, and begin again with the program. */
  #counted = new Map<string, number>();
  #reasons: ReadonlyMap<number, string> = new Map();

  /** Names of the reasons; without them they are told by number. */
  name(reasons: ReadonlyMap<number, string>): void {
    this.#reasons = reasons;
  }

  /** The program was started anew and counts from nothing. */
  restart(): void {
    this.#counted = new Map();
  }

  /** Takes an event; returns the NodePorts that it is of, none for what is no (known) NodePort's. */
  take(event: DropEvent, nodePortsOf: NodePortsOf): readonly NodePortKey[] {
    const packets = this.#fresh(event);
    const keys = event.nodePort === undefined ? ofBackend(event, nodePortsOf) : [keyOf(event, event.nodePort)];
    if (packets > 0) for (const key of keys) this.#add(key, event, packets);
    return keys;
  }

  /** Notes that a rule's counter rose with the drops of a NodePort by netfilter; `of` as in the drop, `at` is when it was read. */
  confirm(nodePort: NodePortKey, of: Drop['of'], rule: { readonly decider: Decider; readonly at: number }): void {
    const port = this.#ports.get(dropsFactKey(nodePort));
    if (port === undefined) return;
    for (const sort of port.sorts.values()) {
      if (sort.of !== of || sort.inPod || !isNetfilterDrop(sort)) continue;
      port.changed = true;
      sort.rule = rule;
    }
  }

  /** Forgets what is old, and makes the facts of the NodePorts whose time has come. Returns whether any is new, and when to ask again. */
  tell(now: number): { readonly changed: boolean; readonly againMs: number | undefined } {
    let changed = false;
    let again = Number.POSITIVE_INFINITY;
    for (const [key, port] of this.#ports) {
      for (const [name, sort] of port.sorts) {
        if (now - sort.lastAt < limits.dropKeptMs) continue;
        port.sorts.delete(name);
        port.changed = true;
      }
      const dueAt = port.toldAt + (port.sorts.size === 0 ? 0 : port.intervalMs);
      if (port.changed && dueAt <= now) {
        changed = true;
        this.#tell(key, port, now);
      } else if (port.changed) again = Math.min(again, dueAt - now);
      for (const sort of port.sorts.values()) again = Math.min(again, sort.lastAt + limits.dropKeptMs - now);
    }
    return { changed, againMs: Number.isFinite(again) ? Math.max(again, 10) : undefined };
  }

  facts(): readonly DropsFact[] {
    return [...this.#ports.values()].flatMap(({ told }) => told ?? []);
  }

  #tell(key: string, port: Port, now: number): void {
    port.changed = false;
    if (port.sorts.size === 0) {
      this.#ports.delete(key);
      return;
    }
    const quiet = now - port.toldAt > 2 * limits.dropToldMaxMs;
    port.intervalMs = quiet ? limits.dropToldMinMs : Math.min(port.intervalMs * 2, limits.dropToldMaxMs);
    port.toldAt = now;
    const drops = [...port.sorts.values()].sort((a, b) => b.lastAt - a.lastAt).map((sort) => dropOf(port.nodePort, sort));
    port.told = { kind: 'drops', key, nodePort: port.nodePort, drops };
  }

  #add(nodePort: NodePortKey, event: DropEvent, packets: number): void {
    const port = this.#portOf(nodePort);
    const sort = this.#sortOf(port, event);
    sort.packets += packets;
    sort.firstAt = Math.min(sort.firstAt, event.firstAt);
    sort.lastAt = Math.max(sort.lastAt, event.lastAt);
    sort.device = event.device;
    if (event.prefix === undefined || sort.prefixes.size >= limits.dropPrefixesMax)
      sort.more ||= event.prefix === undefined || !sort.prefixes.has(event.prefix);
    else sort.prefixes.add(event.prefix);
    port.changed = true;
  }

  #portOf(nodePort: NodePortKey): Port {
    const key = dropsFactKey(nodePort);
    const known = this.#ports.get(key);
    if (known !== undefined) return known;
    const port: Port = { nodePort, sorts: new Map(), told: undefined, toldAt: 0, intervalMs: limits.dropToldMinMs, changed: false };
    this.#ports.set(key, port);
    if (this.#ports.size > limits.dropFactsMax) this.#ports.delete(this.#ports.keys().next().value as string);
    return port;
  }

  #sortOf(port: Port, event: DropEvent): Sort {
    const of = event.of === 'reply' || event.of === 'reset' ? event.of : 'request';
    const reason = this.reasonOf(event);
    const key = [of, reason, event.port, event.backend, event.own].join(' ');
    const known = port.sorts.get(key);
    if (known !== undefined) return known;
    const sort: Sort = {
      of,
      reason,
      port: event.port,
      backend: event.backend,
      inPod: !event.own,
      packets: 0,
      firstAt: event.firstAt,
      lastAt: event.lastAt,
      prefixes: new Set(),
      more: false,
      device: event.device,
      rule: undefined,
    };
    port.sorts.set(key, sort);
    // A new sort of drop is told at once, whatever the pace was before.
    port.intervalMs = limits.dropToldMinMs;
    if (port.sorts.size > limits.dropSortsMax) port.sorts.delete([...port.sorts].reduce((old, each) => (each[1].lastAt < old[1].lastAt ? each : old))[0]);
    return sort;
  }

  /** The name of an event's reason, as the facts have it. */
  reasonOf({ reason, place }: DropEvent): string {
    const name = reason === undefined ? '' : (this.#reasons.get(reason) ?? (reason === 0 ? '' : `reason ${reason}`));
    // Kernels before 5.17 give no reason, later ones sometimes none: then the function says more.
    return place !== undefined && place !== '' && (name === '' || name === 'NOT_SPECIFIED') ? `in ${place}` : name;
  }

  /** Packets that were not counted before. */
  #fresh(event: DropEvent): number {
    const key = [event.of, event.reason, event.place, event.nodePort, event.port, event.protocol, event.prefix, event.backend, event.netns, event.device].join(
      ' ',
    );
    const before = this.#counted.get(key) ?? 0;
    this.#counted.delete(key);
    this.#counted.set(key, event.count);
    if (this.#counted.size > 2 * kernelKeysMax) this.#counted.delete(this.#counted.keys().next().value as string);
    // A key that the kernel had forgotten begins again.
    return event.count >= before ? event.count - before : event.count;
  }
}

/** Keys that the kernel's own map of drops has room for, on the largest machines. */
const kernelKeysMax = 8_192;

const keyOf = ({ protocol, family }: DropEvent, port: number): NodePortKey => ({ protocol, family, port });

function ofBackend(event: DropEvent, nodePortsOf: NodePortsOf): readonly NodePortKey[] {
  const found = nodePortsOf.get(backendKey(event.protocol, event.backend ?? event.destination, event.port)) ?? [];
  return [...new Map(found.filter(({ family }) => family === event.family).map((key) => [nodePortFactKey(key), key])).values()];
}

function dropOf(nodePort: NodePortKey, sort: Sort): Drop {
  return {
    of: sort.of,
    reason: sort.reason,
    ...(sort.port === nodePort.port ? {} : { port: sort.port }),
    ...(sort.backend === undefined ? {} : { backend: sort.backend }),
    ...(sort.inPod ? { inPod: true } : {}),
    packets: sort.packets,
    firstAt: sort.firstAt,
    lastAt: sort.lastAt,
    prefixes: [...sort.prefixes].sort(),
    ...(sort.more ? { more: true } : {}),
    ...(sort.device === '' ? {} : { device: sort.device }),
    ...(sort.rule === undefined ? {} : { rule: sort.rule.decider, countedAt: sort.rule.at }),
  };
}
