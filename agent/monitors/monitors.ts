// Everything that tells of changes by itself: the kernel, the files of firewall managers, firewalld on the system bus, and sockets that end.
import type { Wake } from '../sources/source.ts';
import { monitorFiles } from './files.ts';
import { type FirewalldMonitor, firewalldWakes, monitorFirewalld } from './firewalld.ts';
import { type KernelEvents, KernelMonitors } from './kernel.ts';
import { monitorSockets, type SocketMonitor, socketWakes } from './sockets.ts';

export interface MonitorEvents extends KernelEvents {
  /** firewalld says that it has changed something; `signal` as in `FirewalldEvents`. */
  readonly onSignal: (signal: string) => void;
}

/** Wakes of files. A directory that comes later, or is not in sight, is found by reading. */
const fileWakes: readonly Wake[] = ['ufw'];

export class Monitors {
  readonly #kernel: KernelMonitors;
  readonly #firewalld: FirewalldMonitor;
  readonly #sockets: SocketMonitor;
  readonly #files: { close(): void };

  constructor(events: MonitorEvents) {
    const { onWake, onSignal, onState } = events;
    // Of these the ledger tells by what is read: that they did not hear for a while leaves no gap in it.
    const lifeOf = (monitor: string, wakes: readonly Wake[]) => ({
      onUncertain: () => {
        onState(monitor);
        for (const wake of wakes) onWake(wake);
      },
      onEnd: (reason: string) => onState(monitor, reason),
    });
    this.#kernel = new KernelMonitors(events);
    this.#files = monitorFiles(onWake);
    this.#sockets = monitorSockets({ onChange: onWake, ...lifeOf('sockets', socketWakes) });
    this.#firewalld = monitorFirewalld({
      onChange: (wake, signal) => {
        onSignal(signal);
        onWake(wake);
      },
      ...lifeOf('firewalld', firewalldWakes),
    });
  }

  /** Wakes that come by themselves now; what they are for need not be read by the clock. */
  get watched(): ReadonlySet<Wake> {
    return new Set([...this.#kernel.watched, ...fileWakes, ...(this.#firewalld.running ? firewalldWakes : []), ...(this.#sockets.running ? socketWakes : [])]);
  }

  /** Process ids of what runs. */
  get pids(): readonly number[] {
    return [...this.#kernel.pids, ...(this.#sockets.pid === undefined ? [] : [this.#sockets.pid])];
  }

  /** Resolves when the kernel's messages of all that had happened by now have come. */
  synced(): Promise<void> {
    return this.#kernel.synced();
  }

  async close(): Promise<void> {
    this.#files.close();
    await Promise.all([this.#firewalld.close(), this.#sockets.close(), this.#kernel.close()]);
  }
}
