// Notices when somebody sets the machine's clock: a node without a battery starts in the past and is put right by NTP when the agent has long been running.

const lookMs = 1_000;
/** Adjusting a clock slowly, or a process that was held up, is less than this in a second. */
const jumpMinMs = 500;

/** Calls back with the milliseconds by which the clock was put forward (or, negative, back). Does not keep the process running. */
export function watchClock(onJump: (byMs: number) => void): { close(): void } {
  const offset = () => Date.now() - performance.now();
  let known = offset();
  const timer = setInterval(() => {
    const now = offset();
    const by = now - known;
    known = now;
    if (Math.abs(by) >= jumpMinMs) onJump(Math.round(by));
  }, lookMs);
  timer.unref();
  return { close: () => clearInterval(timer) };
}
