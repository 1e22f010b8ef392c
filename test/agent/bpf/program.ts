// portreeve-bpf as tests run it: why it cannot run here, the program in a namespace with all that it has said, and the network that it watches.
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dropReasons } from '../../../agent/bpf/btf.parse.ts';
import { type BpfEvent, type DropEvent, readBpfLine } from '../../../agent/bpf/events.parse.ts';
import { bpfProgram } from '../../../agent/host/bpf.ts';
import { noNamespaces } from '../namespace.ts';

/** Why programs cannot be watched here; false when they can. For tap's `skip`. */
export const noBpf: string | false = whyNot();

function whyNot(): string | false {
  const program = bpfProgram();
  if (program === undefined) return 'portreeve-bpf is not built ("make bpf" says what it needs)';
  if (noNamespaces !== false) return noNamespaces;
  const { stdout } = spawnSync(program, ['watch'], { input: '', encoding: 'utf8' });
  const [first = ''] = stdout.split('\n');
  const event = readBpfLine(first);
  return event.kind === 'hello' ? false : `portreeve-bpf: ${first}`;
}

/** Names of this kernel's drop reasons; empty before 5.17. */
export const reasons: ReadonlyMap<number, string> = readReasons();

function readReasons(): ReadonlyMap<number, string> {
  if (noBpf !== false) return new Map();
  const outcome = dropReasons(readFileSync('/sys/kernel/btf/vmlinux'));
  return outcome.kind === 'names' ? outcome.names : new Map();
}

export type Named = DropEvent & { readonly name: string };

/** The program in a network namespace. */
export class Watching {
  readonly child: ChildProcess;
  readonly events: BpfEvent[] = [];
  #rest = '';

  constructor(namespace: string, words: readonly string[] = []) {
    this.child = spawn('ip', ['netns', 'exec', namespace, bpfProgram() as string, 'watch', ...words], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.child.stdout?.on('data', (chunk: Buffer) => {
      const lines = (this.#rest + chunk.toString()).split('\n');
      this.#rest = lines.pop() ?? '';
      this.events.push(...lines.map(readBpfLine));
    });
  }

  send(...lines: readonly string[]): void {
    this.child.stdin?.write(lines.map((line) => `${line}\n`).join(''));
  }

  /** Resolves when everything sent so far was carried out. */
  async settled(): Promise<void> {
    const id = String(Math.random());
    this.send(`ping ${id}`);
    await this.wait((event) => event.kind === 'pong' && event.id === id);
  }

  /** The first event that fits, or the rejection that says what came. */
  async wait(fits: (event: BpfEvent) => boolean, timeoutMs = 5_000): Promise<BpfEvent> {
    for (const deadline = Date.now() + timeoutMs; ; await new Promise((resolve) => setTimeout(resolve, 10))) {
      const found = this.events.find(fits);
      if (found !== undefined) return found;
      if (Date.now() > deadline) throw new Error(`no event ${fits.toString()} among ${JSON.stringify(this.events.slice(-8), undefined, 1)}`);
    }
  }

  drops(nodePort?: number): readonly Named[] {
    return this.events
      .filter((event) => event.kind === 'drop')
      .filter((event) => nodePort === undefined || event.nodePort === nodePort)
      .map((event) => ({ ...event, name: event.place ?? reasons.get(event.reason ?? 0) ?? '' }));
  }

  async drop(fits: (event: DropEvent) => boolean): Promise<Named> {
    const event = (await this.wait((each) => each.kind === 'drop' && fits(each))) as DropEvent;
    return { ...event, name: event.place ?? reasons.get(event.reason ?? 0) ?? '' };
  }

  async close(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    this.child.stdin?.end();
    await new Promise((resolve) => this.child.once('exit', resolve));
  }
}

export const run = (command: string, ...args: readonly string[]): string =>
  execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], maxBuffer: 1 << 26 });
