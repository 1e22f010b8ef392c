// A histogram of programming latency: milliseconds from a change of a Service or its slices to the rules that follow it, with fixed bounds.

/** Upper bounds in milliseconds; above the last there is one more class. */
export const latencyBoundsMs: readonly number[] = [50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 20_000, 30_000, 60_000, 120_000, 300_000];

/** Counts by bound. 70 bytes, so that each node and Service may have one. */
export class LatencyHistogram {
  readonly #counts = new Uint32Array(latencyBoundsMs.length + 1);
  #count = 0;
  #sumMs = 0;

  add(ms: number): void {
    const at = latencyBoundsMs.findIndex((bound) => ms <= bound);
    const index = at < 0 ? latencyBoundsMs.length : at;
    this.#counts[index] = (this.#counts[index] as number) + 1;
    this.#count++;
    this.#sumMs += ms;
  }

  get count(): number {
    return this.#count;
  }

  get sumMs(): number {
    return this.#sumMs;
  }

  /** How many took no longer than each bound, as Prometheus counts; the last is all. */
  cumulative(): number[] {
    let sum = 0;
    return [...this.#counts].map((count) => (sum += count));
  }

  /** Milliseconds within which the share of all was seen, read off between the bounds; the last bound for what lies above it. NaN for an empty histogram. */
  quantile(share: number): number {
    return quantileOf([...this.#counts], share);
  }

  /** The two together. */
  static quantileOfBoth(a: LatencyHistogram, b: LatencyHistogram, share: number): number {
    return quantileOf(
      [...a.#counts].map((count, index) => count + (b.#counts[index] as number)),
      share,
    );
  }
}

function quantileOf(counts: readonly number[], share: number): number {
  const wanted = counts.reduce((sum, count) => sum + count, 0) * share;
  let below = 0;
  for (const [index, count] of counts.entries()) {
    if (count > 0 && below + count >= wanted) {
      const [low, high] = [latencyBoundsMs[index - 1] ?? 0, latencyBoundsMs[index]];
      return high === undefined ? low : low + ((high - low) * Math.max(0, wanted - below)) / count;
    }
    below += count;
  }
  return Number.NaN;
}
