// `portreeve parse` as a process: exit codes, the printed bytes, the summary, and a reader that goes away.
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';

const root = join(import.meta.dirname, '../../..');
const fixture = join(root, 'test/fixtures/16-k3s-like-healthy/iptables-save-counters.txt');
const program = `
import { runParse } from ${JSON.stringify(join(root, 'cli/commands/parse.ts'))};
const [file, print, output] = process.argv.slice(1);
process.exitCode = await runParse(file, { print: print === 'print', output });
`;

function run(file: string, ...args: string[]): { status: number | null; stdout: Buffer; stderr: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program, file, ...args], { maxBuffer: 1 << 28 });
  return { status, stdout, stderr: stderr.toString() };
}

t.test('a dump is printed back byte for byte, the summary goes to standard error', (t) => {
  const { status, stdout, stderr } = run(fixture, 'print', 'text');
  t.equal(status, 0);
  t.ok(stdout.equals(readFileSync(fixture)));
  t.match(stderr, /3 tables, 79 chains, \d+ rules\n {2}ip mangle \(iptables-nft\): 7 chains/);
  t.end();
});

t.test('without printing the summary is the output', (t) => {
  const { status, stdout, stderr } = run(fixture, 'no', 'text');
  t.equal(status, 0);
  t.match(stdout.toString(), /ip nat \(iptables-nft\): 54 chains, \d+ rules/);
  t.equal(stderr, '');
  t.end();
});

t.test('issues are named by file and line and make the exit code 1', (t) => {
  const file = join(t.testdir(), 'dump.txt');
  writeFileSync(file, '$ iptables-save\n*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -m geoip -j DROP\n');
  const text = run(file, 'no', 'text');
  t.equal(text.status, 1);
  t.match(text.stdout.toString(), `${file}:1: not a line of iptables-save or iptables -S: $ iptables-save\n`);
  t.match(text.stdout.toString(), `${file}:2: table filter has no COMMIT: the dump is truncated: *filter\n`);
  t.match(text.stdout.toString(), '  unknown match geoip: 1 rule, first in line 4\n');
  const json = run(file, 'no', 'json');
  t.equal(json.status, 1);
  t.match(JSON.parse(json.stdout.toString()), {
    file,
    lines: 4,
    tables: [{ backend: 'legacy', family: 'ip', name: 'filter', chains: 1, rules: 1 }],
    unknown: [{ kind: 'match', name: 'geoip', rules: 1, line: 4 }],
    issues: [
      { file, line: 1 },
      { file, line: 2 },
    ],
  });
  t.end();
});

t.test('what is no dump, or cannot be read, makes the exit code 2', (t) => {
  const directory = t.testdir({ 'prose.txt': 'Dear all,\nthe firewall is fine.\n', 'empty.txt': '' });
  t.match(run(join(directory, 'prose.txt'), 'no', 'text'), { status: 2, stderr: /is not a dump of iptables-save/ });
  t.match(run(join(directory, 'empty.txt'), 'no', 'text'), { status: 2, stderr: /is not a dump of iptables-save/ });
  t.match(run(join(directory, 'absent.txt'), 'no', 'text'), { status: 2, stderr: /could not be read: ENOENT/ });
  t.match(run(directory, 'no', 'text'), { status: 2, stderr: /could not be read: EISDIR/ });
  t.end();
});

t.test('a reader that goes away is no error', (t) => {
  const file = join(t.testdir(), 'large.txt');
  const rule = '-A INPUT -s 10.0.0.1/32 -p tcp -m tcp --dport 80 -j DROP\n';
  writeFileSync(file, `*filter\n:INPUT ACCEPT [0:0]\n${rule.repeat(100_000)}COMMIT\n`);
  const command = '"$0" --input-type=module -e "$1" "$2" print text | head -n 1; echo "${PIPESTATUS[0]}"';
  const { stdout, stderr } = spawnSync('bash', ['-c', command, process.execPath, program, file], { encoding: 'utf8' });
  t.equal(stdout, '*filter\n0\n');
  t.match(stderr, /100000 rules/);
  t.notMatch(stderr, /EPIPE/);
  t.end();
});
