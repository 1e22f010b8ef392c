// What a daemon tells the service manager that started it (sd_notify(3)): ready, reloading, stopping, and that it is alive. Without one nothing is told.
import { writeSync } from 'node:fs';

/** A daemon as its service manager sees it. */
export interface Service {
  /** It does its work from now on. `status` is a sentence for `systemctl status`. */
  readonly ready: (status: string) => void;
  /** What SIGHUP asks for. Without a service manager SIGHUP ends the process, as the end of its terminal should. */
  readonly onReload: (act: () => unknown) => void;
  readonly close: () => void;
}

/**
 * Reads what portreeve-launch has left in the environment: `PORTREEVE_NOTIFY_FD`, a datagram socket that leads to the service manager, and `WATCHDOG_USEC`, the
 * time within which it wants to hear of us. The signs of life come from the event loop, so a loop that hangs is noticed. The signal says that the daemon stops.
 */
export function startService(env: Readonly<Record<string, string | undefined>>, signal: AbortSignal): Service {
  const descriptor = Number(env['PORTREEVE_NOTIFY_FD']);
  if (!Number.isInteger(descriptor) || descriptor < 3) return absentService;
  const tell = (...lines: readonly string[]): void => notify(descriptor, lines);
  const watchdogMs = Number(env['WATCHDOG_USEC']) / 1_000;
  const alive = watchdogMs > 0 ? setInterval(() => tell('WATCHDOG=1'), watchdogMs / 3).unref() : undefined;
  const stopping = (): void => tell('STOPPING=1', 'STATUS=stopping');
  signal.addEventListener('abort', stopping, { once: true });
  let status = 'starting';
  let reload = (): unknown => undefined;
  const reloaded = (): void => tell('READY=1', `STATUS=${status}`);
  const hangUp = (): void => {
    tell('RELOADING=1', `MONOTONIC_USEC=${process.hrtime.bigint() / 1_000n}`, 'STATUS=reading everything anew');
    Promise.resolve()
      .then(() => reload())
      .then(reloaded, reloaded);
  };
  process.on('SIGHUP', hangUp);
  return {
    ready: (text) => {
      status = text.replaceAll('\n', ' ');
      tell('READY=1', `STATUS=${status}`);
    },
    onReload: (act) => {
      reload = act;
    },
    close: () => {
      clearInterval(alive);
      signal.removeEventListener('abort', stopping);
      process.off('SIGHUP', hangUp);
    },
  };
}

const absentService: Service = { ready: () => {}, onReload: () => {}, close: () => {} };

// A service manager that is restarting takes nothing for a moment; the next sign of life reaches it.
function notify(descriptor: number, lines: readonly string[]): void {
  try {
    writeSync(descriptor, lines.join('\n'));
  } catch {}
}
