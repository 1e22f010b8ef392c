// Collectors as processes of their own on one PostgreSQL, and agents' connections to them, for tests of replicas.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Uplink } from '../../../agent/uplink.ts';
import type { Change } from '../../../shared/model/change.ts';
import type { Fact } from '../../../shared/model/fact.ts';
import { captureCapability } from '../../../shared/wire/messages.ts';
import { endpoints, nodePortFactOf } from './facts.ts';

const launcher = new URL('../../../cli/portreeve', import.meta.url).pathname;

export class CollectorProcess {
  readonly #child: ChildProcess;
  readonly address: string;
  /** What it has logged, and what it has printed. */
  readonly output: () => string;
  readonly printed: () => string;

  private constructor(child: ChildProcess, address: string, { output, printed }: { readonly output: () => string; readonly printed: () => string }) {
    this.#child = child;
    this.address = address;
    this.output = output;
    this.printed = printed;
  }

  /** Resolves when it listens. */
  static async start(options: {
    readonly directory: string;
    readonly name: string;
    readonly databaseUrl: string;
    readonly more?: readonly string[];
  }): Promise<CollectorProcess> {
    const { directory, name, databaseUrl, more = ['--no-auth'] } = options;
    const data = join(directory, name);
    mkdirSync(data, { recursive: true });
    const args = ['collector', '--listen', '127.0.0.1:0', '--data', data, '--cluster', join(directory, 'cluster'), '--grace', '0', '--name', name, ...more];
    const child = spawn(launcher, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, DATABASE_URL: databaseUrl } });
    let output = '';
    child.stderr?.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
    let text = '';
    const address = await new Promise<string>((resolve, reject) => {
      child.stdout?.on('data', (chunk: Buffer) => {
        text += chunk.toString();
        const found = /collector listens on (\S+)/.exec(text);
        if (found !== null) resolve(found[1] as string);
      });
      child.once('exit', (code) => reject(new Error(`the collector ended with ${code}:\n${text}${output}`)));
    });
    return new CollectorProcess(child, address, { output: () => output, printed: () => text });
  }

  get agentUrl(): string {
    return address(this.address);
  }

  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers freely.
  async get(path: string): Promise<any> {
    return await (await fetch(`${this.address}/api/v1/${path}`)).json();
  }

  async post(path: string, body: object): Promise<unknown> {
    const response = await fetch(`${this.address}/api/v1/${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    return await response.json();
  }

  /** Ends it as a signal does; resolves when it is gone. */
  async end(signal: 'SIGKILL' | 'SIGTERM' | 'SIGSTOP' | 'SIGCONT'): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.kill(signal);
    if (signal === 'SIGKILL' || signal === 'SIGTERM') await once(this.#child, 'exit');
  }
}

const address = (http: string): string => http.replace(/^http/, 'ws');

/** The connection of one node's agent, with facts and a ledger that never rests. */
export class LedgerAgent {
  readonly node: string;
  readonly uplink: Uplink;
  readonly #timer: NodeJS.Timeout;
  made = 0;

  constructor(node: string, collectors: readonly string[], { everyMs = 40, heartbeatMs = 10_000 } = {}) {
    this.node = node;
    this.uplink = new Uplink({
      collector: collectors,
      heartbeatMs,
      identity: { node, version: '0.1.0', bootId: 'boot', stream: `run-of-${node}`, startedAt: Date.now(), capabilities: ['trace', captureCapability] },
      begunAt: performance.now(),
      onWant: () => {},
      onTrace: ({ packet }) => ({ result: { walkedOn: node, packet } }),
      onCapture: async () => ({ archive: Buffer.from(`the files of ${node}`) }),
      onNotice: () => {},
    });
    this.#timer = setInterval(() => this.change(), everyMs);
  }

  change(): void {
    this.made++;
    const change: Change = { at: Date.now(), node: this.node, kind: 'rule', subject: 'ip filter FORWARD', before: null, after: `change ${this.made}` };
    this.uplink.take({ kind: 'changes', changes: [change] });
  }

  report(verdict: 'forward' | 'drop', more: readonly Fact[] = []): void {
    const facts = [nodePortFactOf(verdict), ...more];
    this.uplink.take({ kind: 'facts', facts: new Map(facts.map((fact) => [fact.key, fact])), at: Date.now() });
  }

  rest(): void {
    clearInterval(this.#timer);
  }

  async close(): Promise<void> {
    this.rest();
    await this.uplink.close();
  }
}

/** Asks until the answer satisfies the condition, for at most so many seconds; throws with what was asked for then. */
export async function eventually<T>(
  what: string,
  question: () => Promise<T> | T,
  { fits, seconds = 30 }: { readonly fits: (answer: T) => boolean; readonly seconds?: number },
): Promise<T> {
  const deadline = performance.now() + seconds * 1_000;
  for (;;) {
    const answer = await question();
    if (fits(answer)) return answer;
    if (performance.now() > deadline) throw new Error(`${what}: not within ${seconds} s, but ${JSON.stringify(answer)?.slice(0, 2_000)}`);
    await sleep(100);
  }
}

export { endpoints };
