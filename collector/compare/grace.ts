// How long a difference may last before it counts: what kube-proxy of this cluster has been measured to need, with room above it. Pure.

/** What is known of the time from a change of objects to the rules that follow it. */
export interface MeasuredLatency {
  readonly count: number;
  /** Milliseconds within which 99 of 100 were seen. */
  readonly p99Ms: number;
}

/** Changes that must have been measured before their times are trusted. */
export const graceSamplesMin = 50;
/** Room above the slowest usual change: a full sync between partial ones takes longer than both. */
const graceFactor = 3;
/** Never less: an agent needs a moment to notice, and a reload of a firewall is no fault. */
export const graceMinMs = 10_000;
/** Never more: a kube-proxy that needs longer is a fault, however usual it has become. */
export const graceMaxMs = 300_000;

/** The grace period in milliseconds; `before` is what it was, and stays where too little has been measured. */
export function graceOf({ count, p99Ms }: MeasuredLatency, before: number): number {
  if (count < graceSamplesMin) return before;
  return Math.round(Math.min(graceMaxMs, Math.max(graceMinMs, graceFactor * p99Ms)));
}
