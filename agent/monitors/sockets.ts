// Watches for sockets that end through `ss -E`, as long as few do: the kernel tells of every connection that ends, and on a busy node that costs more than it is
// worth (measured: 4 µs of ss and 7 µs of the connection's own time for each; 80,000 of them took 0.34 s of a core).
import type { Wake } from '../sources/source.ts';
import { Monitor } from './monitor.ts';
import { isTakerEnd } from './sockets.parse.ts';

export interface SocketEvents {
  readonly onChange: (wake: Wake) => void;
  /** It runs (again): everything may have changed. */
  readonly onUncertain: (reason: string) => void;
  readonly onEnd: (reason: string) => void;
}

export const socketWakes: readonly Wake[] = ['listener'];

/** More sockets than this that end within a window, and nobody listens for the rest until the pause is over. */
const socketsMax = 2_000;
const windowMs = 10_000;
const pauseMs = 300_000;

export interface SocketMonitor {
  readonly running: boolean;
  /** Process id; undefined when it does not run. */
  readonly pid: number | undefined;
  close(): Promise<void>;
}

/** Follows `ss -E` (text). That a socket is new is told by nobody: sockets are polled all the same. `max` is for tests. */
export function monitorSockets(events: SocketEvents, max = socketsMax): SocketMonitor {
  let monitor: Monitor | undefined;
  let timer: NodeJS.Timeout | undefined;
  let closed = false;
  let [count, since] = [0, performance.now()];
  const start = () => {
    [count, since] = [0, performance.now()];
    const program = (): readonly [string, ...string[]] => ['stdbuf', '-oL', 'ss', '-E', '-H', '-tun'];
    monitor = new Monitor({ program, onLine, onStart: () => events.onUncertain('the monitor of sockets was started'), onEnd: events.onEnd });
  };
  const onLine = (line: string) => {
    const now = performance.now();
    if (now - since > windowMs) [count, since] = [0, now];
    if (++count > max && monitor !== undefined) return pause(monitor);
    if (isTakerEnd(line)) events.onChange('listener');
  };
  const pause = (busy: Monitor) => {
    monitor = undefined;
    void busy.close();
    events.onEnd(`more than ${max} sockets ended within ${windowMs / 1000} s: they are not followed for ${pauseMs / 1000} s`);
    timer = setTimeout(() => {
      if (!closed) start();
    }, pauseMs);
  };
  start();
  return {
    get running() {
      return monitor?.running ?? false;
    },
    get pid() {
      return monitor?.pid;
    },
    close: async () => {
      closed = true;
      clearTimeout(timer);
      await monitor?.close();
    },
  };
}
