// `portreeve parse` for what is not iptables-save's: kinds told by content, summaries, and every captured dump printed back.
import { spawnSync } from 'node:child_process';
import { globSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { kindOf, parseOther } from '../../../cli/commands/parse.other.ts';

const root = join(import.meta.dirname, '../../..');
const fixtures = join(root, 'test/fixtures');
const program = `
import { runParse } from ${JSON.stringify(join(root, 'cli/commands/parse.ts'))};
const [print, output, ...files] = process.argv.slice(1);
const statuses = [];
for (const file of files) statuses.push(await runParse(file, { print: print === 'print', output }));
process.exitCode = Math.max(...statuses);
`;

function run(files: readonly string[], ...options: readonly [print: string, output: string]): { status: number | null; stdout: Buffer; stderr: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program, ...options, ...files], { maxBuffer: 1 << 28 });
  return { status, stdout, stderr: stderr.toString() };
}

const patterns = [
  '**/*tables-save*.txt',
  '**/*-legacy-save*.txt',
  '**/*-nft-save*.txt',
  '**/nft*.txt',
  '**/nft*.json',
  '**/ipset-save.txt',
  '**/ipvsadm-Sn.txt',
];
const dumps = globSync(patterns, { cwd: fixtures, exclude: (name) => name === 'monitor' })
  .sort()
  .map((file) => join(fixtures, file))
  .filter((file) => readFileSync(file).length > 0);

t.test('every captured dump is printed back, byte for byte', async (t) => {
  t.ok(dumps.length > 150, `${dumps.length} dumps`);
  const { status, stdout, stderr } = run(dumps, 'print', 'text');
  t.equal(status, 0, 'all is read');
  t.ok(stdout.equals(Buffer.concat(dumps.map((file) => readFileSync(file)))), 'the dumps one after another');
  t.notMatch(stderr, /:\d+: /, 'no line is in doubt');
});

t.test('kinds are told by content', async (t) => {
  for (const [head, kind] of [
    ['{"nftables": [{"metainfo": {}}]}', 'nft -j list ruleset'],
    ['table inet filter { # handle 5\n', 'nft list ruleset'],
    ['table t {\n', 'nft list ruleset'],
    ['# Warning: table ip nat is managed by iptables-nft, do not touch!\ntable ip nat {\n', 'nft list ruleset'],
    ['create KUBE-NODE-PORT-TCP bitmap:port range 0-65535\n', 'ipset save'],
    ['-A -t 10.96.0.1:443 -s rr\n', 'ipvsadm -Sn'],
    ['-A INPUT -j ACCEPT\n', undefined],
    ['*filter\n', undefined],
    ['{"kind": "List"}', undefined],
    ['', undefined],
  ] as const)
    t.equal(kindOf(head), kind, head.slice(0, 40));
});

t.test('the summary of a listing counts objects, and names what is not judged by line', async (t) => {
  const file = join(t.testdir(), 'nft.txt');
  const rules = '\t\tmeta skuid 0 accept\n\t\tsynproxy mss 1460\n\t\ttcp dport 80 frobnicate\n\t\tmeta skuid 1 drop\n';
  const text = `table inet t {\n\tset s {\n\t\ttype ipv4_addr\n\t}\n\tchain c {\n${rules}\t}\n}\n`;
  writeFileSync(file, text);
  const summary = run([file], 'no', 'text');
  t.equal(summary.status, 1);
  t.equal(
    summary.stdout.toString(),
    [
      `${file}: output of nft list ruleset: 11 lines, 1 tables, 1 chains, 1 sets, 4 rules`,
      '  inet t: 1 chain, 1 set or map, 4 rules',
      '  unknown expression meta skuid: 2 rules, first in line 6',
      '  unknown statement synproxy: 1 rule, first in line 7',
      '  unknown statement frobnicate: 1 rule, first in line 8',
      `${file}:8: "frobnicate" begins no statement that is known: tcp dport 80 frobnicate`,
      '',
    ].join('\n'),
  );
  const json = run([file], 'no', 'json');
  t.match(JSON.parse(json.stdout.toString()), {
    file,
    kind: 'nft list ruleset',
    lines: 11,
    bytes: text.length,
    objects: { tables: 1, chains: 1, sets: 1, rules: 4 },
    unknown: [{ name: 'expression meta skuid', rules: 2, line: 6 }, {}, {}],
    issues: [{ file, line: 8 }],
  });
  const printed = run([file], 'print', 'text');
  t.equal(printed.stdout.toString(), text);
  t.match(printed.stderr, '4 rules');
});

t.test('sets and virtual services', async (t) => {
  const file = (name: string): string => join(fixtures, 'ipvs-healthy', name);
  const { stdout } = run([file('ipset-save.txt'), file('ipvsadm-Sn.txt')], 'no', 'text');
  t.match(stdout.toString(), /ipset save: \d+ lines, \d+ sets, \d+ entries\n/);
  t.match(stdout.toString(), /KUBE-CLUSTER-IP \(hash:ip,port\): \d+ entries\n/);
  t.match(stdout.toString(), 'ipvsadm -Sn: 99 lines, 39 services, 60 servers\n');
});

t.test('bytes that are no text are kept, lines in doubt are reported', async (t) => {
  const bytes = Buffer.concat([Buffer.from('create s hash:ip family inet\nadd s 10.0.0.1\nadd s '), Buffer.from([0xff, 0xfe, 0x0a]), Buffer.from('nonsense')]);
  const dump = parseOther('sets', bytes);
  t.ok(dump?.printed.equals(bytes));
  t.same(
    dump?.summary.issues.map(({ line }) => line),
    [3, 4],
  );
  t.match(dump?.text, /\nsets:4: neither a set nor an entry: nonsense\n$/);
});

t.test('a listing whose JSON breaks off is printed whole and reported', async (t) => {
  const bytes = Buffer.from('{"nftables": [{"table": {"family": "ip", "name": "t"}}, {"chain": {"fam');
  const dump = parseOther('nft.json', bytes);
  t.ok(dump?.printed.equals(bytes));
  t.match(dump?.summary, { objects: { tables: 1 }, issues: [{ line: 1, reason: /not JSON from character/ }] });
});
