// The program that `make build` makes of `portreeve parse`, with its machine code beside it and without: it says of a large dump what the sources say.
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { writeIptablesDump } from '../bench/iptables-dump.ts';
import { compileMachineCode } from '../support/machine-code.ts';

const root = join(import.meta.dirname, '../..');
const directory = t.testdir();
const program = join(directory, 'parse.cjs');
const code = join(directory, 'skim.wasm');
const dump = join(directory, 'dump.txt');
execFileSync(join(root, 'node_modules/.bin/esbuild'), [
  '--bundle',
  '--platform=node',
  '--format=cjs',
  '--target=node24',
  '--log-level=warning',
  `--outfile=${program}`,
  join(root, 'cli/parse.program.ts'),
]);
compileMachineCode(code);
writeIptablesDump(dump, { services: 800, endpoints: 10 });

interface Ran {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function run(words: readonly string[], file = program): Ran {
  const { status, stdout, stderr } = spawnSync(process.execPath, [file, ...words], { encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 });
  return { status, stdout, stderr };
}

t.test('machine code and the sources say the same', (t) => {
  const { status, stdout } = run(['parse', '-o', 'json', dump], join(root, 'cli/main.ts'));
  t.equal(status, 0);
  const expected = JSON.parse(stdout) as object;
  t.match(expected, { bytes: readFileSync(dump).length, tables: [{}, {}, { name: 'nat', chains: 9_609 }] });
  t.strictSame(JSON.parse(run(['-o', 'json', dump]).stdout), expected);
  t.equal(run(['--print', dump]).stdout, readFileSync(dump, 'utf8'));
  t.end();
});

t.test('a line that is none is named', (t) => {
  const lines = readFileSync(dump, 'utf8').split('\n');
  lines.splice(20_000, 0, 'no line of a dump');
  const file = join(directory, 'damaged.txt');
  writeFileSync(file, lines.join('\n'));
  t.match(run([file]), { status: 1, stdout: /damaged\.txt:20001: not a line of iptables-save or iptables -S: no line of a dump/ });
  t.end();
});

t.test("code that is absent, or another program's, is done without", (t) => {
  const expected = run([dump]);
  renameSync(code, `${code}.old`);
  t.strictSame(run([dump]), expected, 'absent');
  writeFileSync(code, 'no code');
  t.strictSame(run([dump]), expected, 'damaged');
  t.end();
});
