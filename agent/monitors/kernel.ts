// Everything that the kernel tells by itself: by portreeve-watch, which loads nothing, or where it is not there (or may not run) by the monitors of nft and ip.
import { processorMs } from '../host/cost.ts';
import { ownProgram } from '../host/program.ts';
import type { Transaction } from '../ledger.ts';
import type { Wake } from '../sources/source.ts';
import { readIpLine } from './ip.parse.ts';
import { ipWakes, monitorIp } from './ip.ts';
import { Monitor } from './monitor.ts';
import { readNftLine } from './nft.parse.ts';
import { monitorNft, nftWakes } from './nft.ts';
import type { Touched } from './touched.ts';
import { Transactions } from './transactions.ts';

export interface KernelEvents {
  readonly onTransaction: (transaction: Transaction, touched: Touched) => void;
  readonly onWake: (wake: Wake) => void;
  /**
   * Something may have changed without a word, in whatever these wakes are for, since a moment in milliseconds since 1970; that is absent at a first start, before
   * which nobody expected a word.
   */
  readonly onUncertain: (reason: string, wakes: readonly Wake[], since?: number) => void;
  /** What is watched is another than before; `reason` says why a monitor ended. */
  readonly onState: (monitor: string, reason?: string) => void;
  /** Rules of nf_tables that there are, for choosing a monitor. */
  readonly rules: () => number;
  /** portreeve-watch, where it is not to be looked for; undefined: there is none. */
  readonly program?: { readonly path: string | undefined };
}

/**
 * A monitor hears nothing before it has subscribed, which it does not say: nft loads all rules first. This long after its start, or when it has come to rest, but no
 * later than so long, everything it watches is read again.
 */
const settleMs = 1_000;
const restMs = 500;
const settleMaxMs = 30_000;
/** That a monitor has ended is seen this late at most, and so is what it was about to tell when it did: machines are busy, and programs niced. */
const lagMs = 5_000;
/** A program that ends so often before it has subscribed is given up. */
const refusalsMax = 2;
/** It answers within a millisecond; a machine that is busy is not waited for any longer. */
const syncMs = 500;
const lockWakes: readonly Wake[] = ['iptables-legacy'];

export class KernelMonitors {
  readonly #events: KernelEvents;
  readonly #timers = new Set<NodeJS.Timeout>();
  #watch: Monitor | undefined;
  #nft: Monitor | undefined;
  #ip: Monitor | undefined;
  #ready: 'no' | 'yes' | 'with lock' = 'no';
  #refusals = 0;
  /** Since when something that was heard is not, by the wakes that are missing; milliseconds since 1970. */
  readonly #deafSince = new Map<readonly Wake[], number>();
  /** Until when all was told, for certain, by the wakes that it is about; milliseconds since 1970. */
  readonly #toldUntil = new Map<readonly Wake[], number>();
  #closed = false;

  constructor(events: KernelEvents) {
    this.#events = events;
    const path = events.program === undefined ? ownProgram('portreeve-watch') : events.program.path;
    if (path === undefined) this.#startTools();
    else this.#watch = this.#startWatch(path);
  }

  /** Wakes that come by themselves now; what they are for need not be read by the clock. */
  get watched(): ReadonlySet<Wake> {
    const own = this.#ready === 'no' ? [] : [...nftWakes, ...ipWakes, ...(this.#ready === 'with lock' ? lockWakes : [])];
    return new Set([...own, ...(this.#nft?.running ? nftWakes : []), ...(this.#ip?.running ? ipWakes : [])]);
  }

  /** Process ids of what runs. */
  get pids(): readonly number[] {
    return [this.#watch?.pid, this.#nft?.pid, this.#ip?.pid].filter((pid) => pid !== undefined);
  }

  /** Resolves when all that had happened by now has been told, where portreeve-watch runs: messages come some time after what they tell of. */
  async synced(): Promise<void> {
    if (this.#ready === 'no' || this.#watch === undefined) return;
    const asked = Date.now();
    const answer = await new Promise<'synced' | 'nothing'>((resolve) => {
      const timer = setTimeout(() => resolve('nothing'), syncMs);
      this.#onSynced = (outcome) => {
        clearTimeout(timer);
        resolve(outcome);
      };
      this.#watch?.send('sync\n');
    });
    this.#onSynced = undefined;
    if (answer === 'synced') for (const wakes of [nftWakes, ipWakes]) this.#toldUntil.set(wakes, asked);
  }
  #onSynced: ((answer: 'synced' | 'nothing') => void) | undefined;

  async close(): Promise<void> {
    this.#closed = true;
    this.#onSynced?.('nothing');
    for (const timer of this.#timers) clearTimeout(timer);
    await Promise.all([this.#watch?.close(), this.#nft?.close(), this.#ip?.close()]);
  }

  #startWatch(path: string): Monitor {
    const transactions = new Transactions({
      onTransaction: this.#events.onTransaction,
      onUncertain: (reason, since) => this.#events.onUncertain(reason, [...nftWakes, ...ipWakes], this.#wholeUntil(nftWakes, since)),
      tellsAll: () => true,
    });
    const onLine = (line: string) => {
      const read = readNftLine(line);
      if (read.kind === 'ready') return this.#isReady(read.lock);
      if (read.kind === 'synced') return this.#onSynced?.('synced');
      if (read.kind === 'lock') return this.#events.onWake('iptables-legacy');
      if (read.kind !== 'other') return transactions.line(read);
      const network = readIpLine(line);
      if (network.kind === 'changed') this.#events.onWake(network.what);
    };
    return new Monitor({ program: () => [path], onLine, onStart: () => transactions.restart(), onEnd: (reason) => this.#watchEnded(reason), input: true });
  }

  #isReady(lock: boolean): void {
    this.#ready = lock ? 'with lock' : 'yes';
    this.#refusals = 0;
    this.#events.onState('portreeve-watch');
    this.#hear('portreeve-watch was started', [nftWakes, ipWakes, ...(lock ? [lockWakes] : [])]);
  }

  #hear(reason: string, heard: readonly (readonly Wake[])[]): void {
    const since = heard.flatMap((wakes) => this.#deafSince.get(wakes) ?? []);
    for (const wakes of heard) {
      this.#deafSince.delete(wakes);
      this.#toldUntil.set(wakes, Date.now());
    }
    this.#events.onUncertain(reason, heard.flat(), ...(since.length === 0 ? [] : [Math.min(...since)]));
  }

  #deaf(...unheard: readonly (readonly Wake[])[]): void {
    for (const wakes of unheard) if (!this.#deafSince.has(wakes)) this.#deafSince.set(wakes, this.#wholeUntil(wakes, Date.now()));
  }

  /** Until when all was told, where the last word came at a moment: what had happened shortly before may have been on its way. */
  #wholeUntil(wakes: readonly Wake[], lastAt: number): number {
    return Math.min(lastAt, Math.max(this.#toldUntil.get(wakes) ?? 0, lastAt - lagMs));
  }

  #watchEnded(reason: string): void {
    this.#onSynced?.('nothing');
    if (this.#ready === 'no') this.#refusals++;
    else this.#deaf(nftWakes, ipWakes);
    this.#ready = 'no';
    this.#events.onState('portreeve-watch', reason);
    if (this.#refusals < refusalsMax || this.#closed) return;
    const given = this.#watch;
    this.#watch = undefined;
    void given?.close();
    this.#startTools();
  }

  #startTools(): void {
    const nft = {
      onTransaction: this.#events.onTransaction,
      onUncertain: (reason: string, since: number) => this.#events.onUncertain(reason, nftWakes, this.#wholeUntil(nftWakes, since)),
      ...this.#lifeOf('nft', nftWakes, () => this.#nft?.pid),
    };
    this.#nft = monitorNft(nft, this.#events.rules);
    this.#ip = monitorIp({ onChange: this.#events.onWake, ...this.#lifeOf('ip', ipWakes, () => this.#ip?.pid) });
  }

  /** What is made of the starts and ends of a monitor that does not say when it hears. */
  #lifeOf(
    monitor: string,
    wakes: readonly Wake[],
    pidOf: () => number | undefined,
  ): { readonly onStart: () => void; readonly onEnd: (reason: string) => void } {
    let timer: NodeJS.Timeout | undefined;
    let hasHeard = false;
    const forget = () => {
      clearTimeout(timer);
      if (timer !== undefined) this.#timers.delete(timer);
    };
    const wait = (ms: number, then: () => void) => {
      forget();
      timer = setTimeout(then, ms);
      this.#timers.add(timer);
    };
    const spentMs = (): number => processorMs(pidOf() ?? 0);
    const rest = (before: number, deadline: number) => {
      const spent = spentMs();
      if (spent > before && performance.now() < deadline) return wait(restMs, () => rest(spent, deadline));
      forget();
      hasHeard = true;
      this.#hear(`the monitor of ${monitor} was started`, [wakes]);
    };
    const onStart = () => {
      this.#events.onState(monitor);
      const deadline = performance.now() + settleMaxMs;
      wait(settleMs - restMs, () => {
        const spent = spentMs();
        wait(restMs, () => rest(spent, deadline));
      });
    };
    const onEnd = (reason: string) => {
      forget();
      if (hasHeard) this.#deaf(wakes);
      this.#events.onState(monitor, reason);
    };
    return { onStart, onEnd };
  }
}
