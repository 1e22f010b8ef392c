// A machine for tests of sources: small real programs in place of the tools, and texts in place of the kernel's files; and the table-driven test over it.
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { Machine } from '../../../agent/host/machine.ts';
import { run } from '../../../agent/host/run.ts';
import type { Source } from '../../../agent/sources/source.ts';

export interface Scripted {
  /** Program (a name on PATH, or a path) → shell script. Others are not installed. */
  readonly programs?: Readonly<Record<string, string>>;
  /** Path → content. */
  readonly files?: Readonly<Record<string, string>>;
  /** Paths that are there and cannot be read. */
  readonly denied?: readonly string[];
  readonly lists?: Readonly<Record<string, readonly string[]>>;
  /** Milliseconds that a program may run whatever the source says. */
  readonly timeoutMs?: number;
}

/** Makes the programs in the directory given (`t.testdir({})`); only these and the shell's own are found. */
export function scriptedMachine(directory: string, { programs = {}, files = {}, denied = [], lists = {}, timeoutMs = 5_000 }: Scripted): Machine {
  const paths = new Map(
    Object.entries(programs).map(([program, script], index) => {
      const path = join(directory, `${index}-${program.split('/').at(-1)}`);
      writeFileSync(path, `#!/bin/sh\n${script}\n`);
      chmodSync(path, 0o755);
      return [program, path];
    }),
  );
  return {
    run: async (command, args) => {
      const path = paths.get(command);
      return path === undefined ? { kind: 'missing' } : await run(path, args, { timeoutMs, outputBytesMax: 4e6 });
    },
    read: async (path) =>
      denied.includes(path)
        ? { kind: 'failed', reason: 'permission denied' }
        : files[path] === undefined
          ? { kind: 'absent' }
          : { kind: 'done', content: Buffer.from(files[path]) },
    list: async (path) => lists[path] ?? [],
  };
}

/** One source on one machine: what is read of it. */
export interface SourceCase extends Scripted {
  readonly name: string;
  readonly source: Source;
  /** Capture files as last read. */
  readonly known?: Readonly<Record<string, string>>;
  readonly expected: object;
  /** Names of the files read, in order; none if absent. */
  readonly read?: readonly string[];
  /** File → its text, of those that matter. */
  readonly texts?: Readonly<Record<string, string>>;
}

export function testSources(cases: readonly SourceCase[]): void {
  for (const { name, source, known = {}, expected, read = [], texts = {}, ...scripted } of cases) {
    t.test(`${source.name}: ${name}`, async (t) => {
      const reading = await source.read(
        scriptedMachine(t.testdir({}), scripted),
        new Map(Object.entries(known).map(([file, text]) => [file, Buffer.from(text)])),
      );
      t.match(reading, expected);
      t.strictSame(reading.outcome === 'facts' ? [...reading.files.keys()] : [], read);
      for (const [file, text] of Object.entries(texts)) t.equal(reading.outcome === 'facts' ? reading.files.get(file)?.toString() : undefined, text, file);
    });
  }
}
