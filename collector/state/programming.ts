// How long it takes from a change of a Service or its slices to the rules of each node that follow it; and the grace period that follows from that.
import { graceOf } from '../compare/grace.ts';
import { LatencyHistogram } from '../compare/latency.ts';

/** Milliseconds after which the older half of what the grace period is learned from is forgotten. */
const halfWindowMs = 30 * 60_000;
/** Nodes and Services whose own latency is kept; those of more are counted for the cluster alone. */
const histogramsMax = 20_000;
/** NodePorts of one node that may wait for their rules; a node that has so many is not being measured but rebuilt. */
const waitingMax = 20_000;

/** What the latency of a node, a Service or the cluster comes to; times in milliseconds. */
export interface LatencySummary {
  readonly count: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

export interface Programmed {
  readonly key: string;
  /** `namespace/name`; undefined for a NodePort that is gone. */
  readonly service: string | undefined;
}

/** Measures. All times are by the collector's clock. */
export class ProgrammingLatency {
  readonly total = new LatencyHistogram();
  readonly #nodes = new Map<string, LatencyHistogram>();
  readonly #services = new Map<string, LatencyHistogram>();
  /** When the NodePorts of each node came to be expected otherwise, for those whose rules have not followed yet. */
  readonly #waiting = new Map<string, Map<string, number>>();
  #recent = new LatencyHistogram();
  #older = new LatencyHistogram();
  #recentSince = 0;
  #graceMs: number;

  /** `graceMs`: the grace period before anything was measured. */
  constructor(graceMs: number) {
    this.#graceMs = graceMs;
  }

  /** The grace period that is learned. */
  get graceMs(): number {
    return this.#graceMs;
  }

  /** Something else is expected of a NodePort of a node since now. A change before its rules have followed begins anew: they may never have been those of before. */
  expect(node: string, key: string, at: number): void {
    const waiting = this.#waiting.get(node) ?? new Map<string, number>();
    if (waiting.size >= waitingMax) return;
    this.#waiting.set(node, waiting.set(key, at));
  }

  /** NodePorts of a node whose rules have not followed yet. */
  waiting(node: string): readonly string[] {
    return [...(this.#waiting.get(node)?.keys() ?? [])];
  }

  /** The rules of a NodePort have followed, as the node has seen at that time. */
  programmed(node: string, { key, service }: Programmed, seenAt: number): void {
    const since = this.#waiting.get(node)?.get(key);
    if (since === undefined) return;
    this.#drop(node, key);
    const ms = Math.max(0, seenAt - since);
    this.total.add(ms);
    addTo(this.#nodes, node, ms);
    if (service !== undefined) addTo(this.#services, service, ms);
    this.#learn(ms, seenAt);
  }

  /** A node is not heard of any more: what it does meanwhile cannot be measured. */
  forget(node: string): void {
    this.#waiting.delete(node);
  }

  /** Services that are gone need no histogram. */
  forgetService(service: string): void {
    this.#services.delete(service);
  }

  ofNode(node: string): LatencySummary | undefined {
    return summaryOf(this.#nodes.get(node));
  }

  ofService(service: string): LatencySummary | undefined {
    return summaryOf(this.#services.get(service));
  }

  #drop(node: string, key: string): void {
    const waiting = this.#waiting.get(node);
    waiting?.delete(key);
    if (waiting?.size === 0) this.#waiting.delete(node);
  }

  #learn(ms: number, at: number): void {
    if (at - this.#recentSince > halfWindowMs) {
      this.#older = at - this.#recentSince > 2 * halfWindowMs ? new LatencyHistogram() : this.#recent;
      this.#recent = new LatencyHistogram();
      this.#recentSince = at;
    }
    this.#recent.add(ms);
    const count = this.#recent.count + this.#older.count;
    this.#graceMs = graceOf({ count, p99Ms: LatencyHistogram.quantileOfBoth(this.#recent, this.#older, 0.99) }, this.#graceMs);
  }
}

function addTo(histograms: Map<string, LatencyHistogram>, name: string, ms: number): void {
  const known = histograms.get(name);
  if (known !== undefined) known.add(ms);
  else if (histograms.size < histogramsMax) {
    const histogram = new LatencyHistogram();
    histogram.add(ms);
    histograms.set(name, histogram);
  }
}

const summaryOf = (histogram: LatencyHistogram | undefined): LatencySummary | undefined =>
  histogram === undefined ? undefined : { count: histogram.count, p50Ms: Math.round(histogram.quantile(0.5)), p99Ms: Math.round(histogram.quantile(0.99)) };
