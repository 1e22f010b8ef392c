// Watches firewalld through its signals on the system bus: reloads, changes of zones and policies, panic mode, its start and its end.
import { type Bus, type BusSignal, connectBus } from '../host/bus.ts';
import type { Wake } from '../sources/source.ts';

export interface FirewalldEvents {
  /** `signal` is what firewalld said: `Reloaded`, `PortAdded public 30080 tcp` …; `started` or `ended` when it came or went. */
  readonly onChange: (wake: Wake, signal: string) => void;
  /** It hears (again): everything may have changed. */
  readonly onUncertain: (reason: string) => void;
  readonly onEnd: (reason: string) => void;
}

export const firewalldWakes: readonly Wake[] = ['firewalld'];

const name = 'org.fedoraproject.FirewallD1';
/**
 * Signals of the run time, and who holds firewalld's name. Those of its configuration (path …/config) are left out: a start sends hundreds of them, and a
 * change of what is kept changes nothing until a reload, which is a signal of the run time.
 */
const rules = [
  `type='signal',sender='${name}',path='/org/fedoraproject/FirewallD1'`,
  `type='signal',sender='org.freedesktop.DBus',interface='org.freedesktop.DBus',member='NameOwnerChanged',arg0='${name}'`,
];

/** The pause before the first new try, and the longest, in milliseconds. A system without a bus stays without one. */
const pauseMinMs = 500;
const pauseMaxMs = 60_000;
const wellMs = 30_000;
const signalLengthMax = 300;

/** Follows the signals and connects again when the bus goes. `socket` is the bus's; only tests name one. */
export function monitorFirewalld(events: FirewalldEvents, socket?: string): FirewalldMonitor {
  return new FirewalldMonitor(events, socket);
}

export class FirewalldMonitor {
  readonly #events: FirewalldEvents;
  readonly #socket: string | undefined;
  #bus: Bus | undefined;
  #timer: NodeJS.Timeout | undefined;
  #pauseMs = pauseMinMs;
  #closed = false;
  #running = false;
  #connecting: Promise<void>;

  constructor(events: FirewalldEvents, socket?: string) {
    this.#events = events;
    this.#socket = socket;
    this.#connecting = this.#connect();
  }

  /** Whether signals are heard now. */
  get running(): boolean {
    return this.#running;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#running = false;
    clearTimeout(this.#timer);
    await this.#connecting;
    await this.#bus?.close();
  }

  async #connect(): Promise<void> {
    const startedAt = performance.now();
    const ended = (reason: string) => this.#ended(reason, performance.now() - startedAt);
    const connected = await connectBus({
      ...(this.#socket === undefined ? {} : { socket: this.#socket }),
      onSignal: (signal) => this.#heard(signal),
      onEnd: ended,
    });
    if (connected.kind !== 'bus') return ended(connected.kind === 'absent' ? 'there is no system bus' : connected.reason);
    try {
      for (const rule of rules) await connected.bus.watch(rule);
    } catch (error) {
      await connected.bus.close();
      return ended(`the bus refuses its signals: ${(error as Error).message}`);
    }
    if (this.#closed) return await connected.bus.close();
    this.#bus = connected.bus;
    this.#running = true;
    this.#events.onUncertain('signals of firewalld are heard');
  }

  #heard({ interface: from, member, body }: BusSignal): void {
    if (this.#closed) return;
    if (member === 'NameOwnerChanged') {
      if (body[0] === name) this.#events.onChange('firewalld', body[2] === '' ? 'ended' : 'started');
    } else if (from.startsWith(name)) {
      this.#events.onChange('firewalld', [member, ...body.filter((value) => typeof value === 'string')].join(' ').slice(0, signalLengthMax));
    }
  }

  #ended(reason: string, ranMs: number): void {
    if (this.#closed) return;
    this.#running = false;
    this.#bus = undefined;
    this.#events.onEnd(reason);
    this.#pauseMs = ranMs >= wellMs ? pauseMinMs : Math.min(this.#pauseMs * 2, pauseMaxMs);
    this.#timer = setTimeout(() => {
      this.#connecting = this.#connect();
    }, this.#pauseMs);
  }
}
