// What portreeve-bpf costs everybody else on the node, side by side in one run: calls and packets with and without each of its hooks; and what it takes itself.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bpfProgram } from '../../agent/host/bpf.ts';
import { noBpf } from '../agent/bpf/program.ts';
import { median } from './compared.ts';

interface Condition {
  readonly name: string;
  /** Arguments of `watch`; absent: it does not run. */
  readonly words?: readonly string[];
  readonly commands?: readonly string[];
}

const conditions: readonly Condition[] = [
  { name: 'nothing attached' },
  { name: 'drops, exec, exit', words: ['--calls', 'none'] },
  { name: '+ calls by kprobe', words: ['--calls', 'kprobe'] },
  { name: '+ calls by tracepoint', words: ['--calls', 'tracepoint'] },
  { name: 'drops, exec, exit + resets', words: ['--calls', 'none'], commands: ['resets on'] },
];
const rounds = Number(process.argv[2] ?? 3);

if (noBpf !== false) console.log(`bpf: ${noBpf}`);
else await measure(bpfProgram() as string);

async function measure(program: string): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'portreeve-bench-'));
  try {
    const calls = join(directory, 'calls');
    execFileSync('gcc', ['-O2', '-o', calls, fileURLToPath(new URL('calls.c', import.meta.url))]);
    console.log(`bpf: nanoseconds of one call (best of 400 rounds, median of ${rounds} runs, in turns)`);
    await compareCalls(program, calls);
    await measureProgram(program);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

async function compareCalls(program: string, calls: string): Promise<void> {
  const found = new Map<string, Map<string, number[]>>();
  const skipped = new Map<string, string>();
  for (let round = 0; round < rounds; round++) {
    for (const { name, words, commands = [] } of conditions) {
      const running = words === undefined ? undefined : await start(program, words);
      running?.child.stdin?.write(commands.map((line) => `${line}\n`).join(''));
      if (running !== undefined) await new Promise((resolve) => setTimeout(resolve, 100));
      if (running !== undefined && words?.[1] !== 'none' && running.hello.callsBy !== words?.[1]) skipped.set(name, String(running.hello.calls));
      else for (const [call, nanoseconds] of run(calls)) add(found, { name, call, nanoseconds });
      await running?.close();
    }
  }
  const base = found.get(conditions[0]?.name ?? '');
  for (const { name } of conditions) {
    if (skipped.has(name)) console.log(`  ${name.padEnd(28)} not here: ${skipped.get(name)}`);
    const cells = [...(found.get(name) ?? [])].map(([call, values]) => {
      const value = median(values);
      const more = value - median(base?.get(call) ?? [value]);
      return `${call} ${value.toFixed(0)}${name === conditions[0]?.name ? '' : ` (${more >= 0 ? '+' : ''}${more.toFixed(0)})`}`;
    });
    if (cells.length > 0) console.log(`  ${name.padEnd(28)} ${cells.join(', ')}`);
  }
}

function add(found: Map<string, Map<string, number[]>>, { name, call, nanoseconds }: { name: string; call: string; nanoseconds: number }): void {
  const calls = found.get(name) ?? new Map<string, number[]>();
  found.set(name, calls.set(call, [...(calls.get(call) ?? []), nanoseconds]));
}

function run(calls: string): readonly (readonly [string, number])[] {
  const lines = execFileSync(calls, { encoding: 'utf8' }).trim().split('\n');
  return lines.map((line) => [line.split(' ')[0] ?? '', Number(line.split(' ')[1])] as const);
}

interface Started {
  readonly child: ChildProcess;
  readonly hello: Readonly<Record<string, unknown>>;
  readonly ms: number;
  readonly close: () => Promise<void>;
}

async function start(program: string, words: readonly string[]): Promise<Started> {
  const begun = performance.now();
  const child = spawn(program, ['watch', ...words], { stdio: ['pipe', 'pipe', 'inherit'] });
  const first = await new Promise<string>((resolve) => child.stdout?.once('data', (chunk: Buffer) => resolve(chunk.toString())));
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const close = () => {
    child.stdin?.end();
    return ended;
  };
  return { child, hello: JSON.parse(first.split('\n')[0] ?? '{}'), ms: performance.now() - begun, close };
}

async function measureProgram(program: string): Promise<void> {
  const times: number[] = [];
  let memory = '';
  for (let round = 0; round < 5; round++) {
    const running = await start(program, []);
    times.push(running.ms);
    const status = readFileSync(`/proc/${running.child.pid}/status`, 'utf8');
    const [resident, own, peak] = ['VmRSS', 'RssAnon', 'VmHWM'].map((name) => (Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1]) / 1024).toFixed(1));
    memory = `RSS ${resident} MB (anonymous ${own}, peak while BTF is open ${peak})`;
    await running.close();
  }
  console.log(`  start to attached ${median(times).toFixed(0)} ms, ${memory}, ${(statSync(program).size / 2 ** 20).toFixed(2)} MB on disk`);
}
