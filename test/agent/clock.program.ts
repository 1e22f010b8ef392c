// The agent on a machine whose clock is set: SIGUSR1 puts it an hour forward, SIGUSR2 two hours back. `node clock.program.ts URL`; SIGTERM ends it.
const real = Date.now;
let aheadMs = 0;
Date.now = () => real() + aheadMs;
process.on('SIGUSR1', () => (aheadMs += 3_600_000));
process.on('SIGUSR2', () => (aheadMs -= 7_200_000));
await import('./agent.program.ts');

export {};
