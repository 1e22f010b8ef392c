// The command line as a person meets it: help, errors that say what to do, exit codes, pipes, signals.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { nearest, numberOf, type Option, parseCommandLine } from '../../cli/command.ts';
import { entries, loadCommands } from '../../cli/commands/index.ts';

const root = new URL('../..', import.meta.url).pathname;
const launcher = join(root, 'cli/portreeve');
const dump = join(root, 'test/fixtures/01-healthy-iptables-nft/iptables-save.txt');

function portreeve(
  words: readonly string[],
  env: Record<string, string> = {},
): { readonly code: number | null; readonly stdout: string; readonly stderr: string } {
  const { status, stdout, stderr } = spawnSync(launcher, words, { encoding: 'utf8', env: { ...process.env, ...env } });
  return { code: status, stdout, stderr };
}

t.test('help and version', async (t) => {
  const help = portreeve(['--help']);
  t.equal(help.code, 0);
  for (const { name, summary } of entries) t.match(help.stdout, `  ${name}`.padEnd(14) + summary);
  t.match(portreeve(['--version']), { code: 0, stdout: /^portreeve \d+\.\d+\.\d+\n$/, stderr: '' });
  t.match(portreeve([]), { code: 2, stdout: '', stderr: /usage: portreeve COMMAND/ }, 'nothing to do is a usage error');
  t.equal(portreeve(['help', 'parse']).stdout, portreeve(['parse', '--help']).stdout);
  t.match(portreeve(['parse', '-h']).stdout, /usage: portreeve parse FILE \[OPTION…\]\n[\s\S]*-o, --output FORM .*text\|json/);
});

t.test('every command of the table loads, is named as in the table, and describes itself as there', async (t) => {
  const commands = await loadCommands();
  t.same(
    commands.map(({ name, summary }) => ({ name, summary })),
    entries.map(({ name, summary }) => ({ name, summary })),
  );
  for (const { name, options } of commands) {
    const words = options.flatMap((option) => [option.name, ...(option.short === undefined ? [] : [option.short])]);
    t.equal(new Set(words).size, words.length, `${name}: no option twice`);
    t.notOk(words.includes('help') || words.includes('h'), `${name}: help is every command's`);
  }
});

t.test('mistakes are named in one line, with what was meant', async (t) => {
  const cases = [
    { words: ['chek'], stderr: 'portreeve: unknown command chek (did you mean check?); see portreeve --help\n' },
    { words: ['--verison'], stderr: 'portreeve: unknown option --verison; see portreeve --help\n' },
    { words: ['parse', '--outptu', 'json', dump], stderr: 'portreeve: unknown option --outptu (did you mean --output?); see portreeve parse --help\n' },
    { words: ['parse', '-q', dump], stderr: 'portreeve: unknown option -q; see portreeve parse --help\n' },
    { words: ['parse', '-o', 'xml', dump], stderr: 'portreeve: --output xml: one of text, json is wanted; see portreeve parse --help\n' },
    { words: ['parse', dump, '-o'], stderr: /^portreeve: Option '-o, --output <value>' argument missing; see portreeve parse --help\n$/ },
    { words: ['parse'], stderr: 'portreeve: parse wants one file; see portreeve parse --help\n' },
    { words: ['completion', 'csh'], stderr: 'portreeve: completion wants the name of a shell: bash, zsh or fish\n' },
  ];
  for (const { words, stderr } of cases) t.match(portreeve(words), { code: 2, stdout: '', stderr }, words.slice(0, 2).join(' '));
});

t.test('the launcher works through a symbolic link from another directory', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'portreeve-bin-'));
  symlinkSync(launcher, join(directory, 'portreeve'));
  const { status, stdout } = spawnSync('./portreeve', ['--version'], { cwd: directory, encoding: 'utf8' });
  t.match({ status, stdout }, { status: 0, stdout: /^portreeve / });
});

t.test('without the Node.js of npm the launcher takes one from PATH if it is new enough, else says what to do', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'portreeve-node-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  mkdirSync(join(directory, 'cli'));
  copyFileSync(launcher, join(directory, 'cli/portreeve'));
  const start = (newEnough: string) => {
    writeFileSync(join(directory, 'node'), `#!/bin/sh\nif [ "$1" = -p ]; then echo ${newEnough}; else echo "started with $*"; fi\n`, { mode: 0o755 });
    return spawnSync(join(directory, 'cli/portreeve'), ['get', 'nodes'], { encoding: 'utf8', env: { PATH: `${directory}:/usr/bin:/bin` } });
  };
  t.match(start('true'), { status: 0, stdout: `started with --disable-warning=ExperimentalWarning ${directory}/cli/main.ts get nodes\n` });
  t.match(start('false'), { status: 2, stdout: '', stderr: /^portreeve: Node\.js 24 or newer is needed: run "make deps"/ });
});

t.test('the bundle of parse is used as long as none of its sources is newer', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'portreeve-bundle-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const bin = `node_modules/node-linux-${process.arch}/bin`;
  for (const name of ['cli', 'shared', 'dist', bin]) mkdirSync(join(directory, name), { recursive: true });
  copyFileSync(launcher, join(directory, 'cli/portreeve'));
  writeFileSync(join(directory, bin, 'node'), '#!/bin/sh\necho "$2 $3"\n', { mode: 0o755 });
  const started = (word: string): string =>
    spawnSync(join(directory, 'cli/portreeve'), ['parse', word], { encoding: 'utf8', env: { PATH: '/usr/bin:/bin' } }).stdout.replaceAll(directory, '');
  const write = (name: string, content: string, seconds: number): void => {
    writeFileSync(join(directory, name), content);
    utimesSync(join(directory, name), seconds, seconds);
  };
  t.equal(started('dump'), '/cli/main.ts parse\n', 'there is none');
  write('shared/one.ts', '', 1000);
  write('dist/parse.sources', 'sources="shared/one.ts shared/two.ts"\n', 2000);
  t.equal(started('dump'), '/cli/main.ts parse\n', 'it is not whole');
  write('dist/parse.cjs', '', 2000);
  t.equal(started('dump'), '/dist/parse.cjs dump\n');
  t.equal(started('--help'), '/cli/main.ts parse\n', 'it knows no help');
  write('shared/two.ts', '', 3000);
  t.equal(started('dump'), '/cli/main.ts parse\n');
});

t.test('a reader that has seen enough ends a command quietly', async (t) => {
  const { stdout, stderr } = spawnSync('bash', ['-c', `"$0" parse --print "$1" | head -n 1; echo "\${PIPESTATUS[0]}"`, launcher, dump], { encoding: 'utf8' });
  t.match(stdout, /^\*|^#/);
  t.notMatch(stderr, /EPIPE|node:/);
});

t.test('completion scripts are accepted by their shells and know the options', async (t) => {
  for (const shell of ['bash', 'zsh', 'fish']) {
    const script = portreeve(['completion', shell]);
    t.equal(script.code, 0, shell);
    for (const { name } of entries) t.ok(script.stdout.includes(name), `${shell} completes ${name}`);
  }
  const use = 'source <("$0" completion bash); COMP_WORDS=(portreeve parse --ou); COMP_CWORD=2; _portreeve; echo "${COMPREPLY[@]}"';
  t.equal(spawnSync('bash', ['-c', use, launcher], { encoding: 'utf8' }).stdout, '--output\n');
});

t.test('the manual page has a section for each command', async (t) => {
  const { code, stdout } = portreeve(['man']);
  t.equal(code, 0);
  t.match(stdout, /^\.TH PORTREEVE 1\n/);
  for (const { name } of entries) t.ok(stdout.includes(`.SS portreeve ${name}`), name);
});

t.test('a command line is read against its table', async (t) => {
  const options: readonly Option[] = [
    { name: 'server', value: 'URL', summary: '', default: 'http://a', env: 'PORTREEVE_SERVER' },
    { name: 'packet', value: 'K=V', summary: '', multiple: true },
    { name: 'port', short: 'p', value: 'N', summary: '' },
    { name: 'all', summary: '' },
  ];
  const read = (words: readonly string[], env = {}) => parseCommandLine({ name: 'x', options }, words, env);
  t.same(read([]), { values: { server: 'http://a' }, positionals: [] }, 'defaults');
  t.same(read([], { PORTREEVE_SERVER: 'http://b' }).values.server, 'http://b', 'the environment goes before the default');
  t.same(read(['--server', 'http://c'], { PORTREEVE_SERVER: 'http://b' }).values.server, 'http://c', 'the option goes before the environment');
  t.same(read([], { PORTREEVE_SERVER: '' }).values.server, 'http://a', 'an empty variable is none');
  t.same(read(['--packet', 'a=1', 'one', '--packet=b=2', '--all', '--', '--two']), {
    values: { server: 'http://a', packet: ['a=1', 'b=2'], all: true },
    positionals: ['one', '--two'],
  });
  for (const [text, wanted] of [
    ['0', undefined],
    ['1', 1],
    ['65535', 65_535],
    ['65536', undefined],
    ['1.5', undefined],
    ['x', undefined],
  ] as const) {
    const number = () => numberOf(read(['-p', text]), 'port', { min: 1, max: 65_535 });
    if (wanted === undefined) t.throws(number, { code: 'USAGE', message: `--port ${text}: a whole number from 1 to 65535 is wanted` });
    else t.equal(number(), wanted);
  }
  t.equal(nearest('explian', ['explain', 'get']), 'explain');
  t.equal(nearest('zzz', ['explain', 'get']), undefined);
});

t.test('a daemon runs until SIGTERM and then ends by itself', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'portreeve-daemon-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const words = ['collector', '--listen', '127.0.0.1:0', '--data', directory, '--cluster', join(root, 'test/fixtures/01-healthy-iptables-nft'), '--no-auth'];
  const child = spawn(launcher, words, { stdio: ['ignore', 'pipe', 'ignore'] });
  const [line] = await once(child.stdout, 'data');
  t.match(String(line), /http:\/\/127\.0\.0\.1:\d+/);
  child.kill('SIGTERM');
  const [code, signal] = await once(child, 'exit');
  t.same({ code, signal }, { code: 0, signal: null });
});
