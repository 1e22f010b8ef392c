// The text of nft's listings read as its JSON is: real captures, what the real nft lists, damaged listings, and forms of other releases.
import { spawnSync } from 'node:child_process';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { printLines } from '../../../shared/netfilter/dump.print.ts';
import { parseNft } from '../../../shared/netfilter/nft.parse.ts';
import { parseNftText } from '../../../shared/netfilter/nft.text.parse.ts';
import { readNode } from '../../../shared/netfilter/node.read.ts';
import type { Step } from '../../../shared/netfilter/rule.ts';
import type { Table } from '../../../shared/netfilter/ruleset.ts';
import { walk } from '../../../shared/netfilter/walk.ts';
import { native } from '../../labs/kernel/rules.nft.ts';
import { captureFiles, packetOf, predicted, trafficOf } from '../../support/captures.ts';

const fixtures = new URL('../../fixtures/', import.meta.url).pathname;
const read = (file: string): string =>
  file.endsWith('.gz') ? gunzipSync(readFileSync(`${fixtures}${file}`)).toString() : readFileSync(`${fixtures}${file}`, 'utf8');

const listings = globSync(['*/nft-ruleset.txt', '*/*/nft-ruleset.txt', 'scale/*/nft-ruleset.txt.gz'], { cwd: fixtures }).sort();
const jsonOf = (file: string): string | undefined =>
  ['nft.json', 'nft-ruleset.json', 'nft.json.gz'].map((name) => file.replace(/[^/]*$/, name)).find((name) => existsSync(`${fixtures}${name}`));

/** All that the walk reads of a table. nft 1.0.6 leaves `dynamic` and the flags of tables and devices of chains out of its JSON: text knows more. */
function contents({ family, name, chains, sets }: Table): unknown {
  return {
    family,
    name,
    chains: [...chains.values()].map((chain) => ({
      name: chain.name,
      base: chain.base && { ...chain.base, devices: undefined },
      rules: Array.from({ length: chain.length }, (_, index) => {
        const { steps, comment, counter } = chain.rule(index);
        return { steps: steps.map(withoutStatement), comment, counter };
      }),
    })),
    sets: [...sets.values()].map((set) => ({ name: set.name, kind: set.kind, type: set.type, elements: set.elements })),
  };
}

/** How a statement that is not judged is printed is not what it does. */
const withoutStatement = (step: Step): Step => (step.kind === 'unknown' ? { ...step, name: '' } : step);

const nameOf = ({ family, name }: { readonly family: string; readonly name: string }): string => `${family} ${name}`;
const contentsByName = (tables: readonly Table[]): unknown[] => [...tables].sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1)).map(contents);

/** Compares quietly first: listings of thousands of chains are slow to compare in words. */
function same(t: Test, [found, wanted]: readonly [unknown, unknown], label: string): void {
  if (isDeepStrictEqual(found, wanted)) t.pass(label);
  else t.same(found, wanted, label);
}

t.test('captured listings mean the same as text and as JSON', async (t) => {
  t.ok(listings.length > 25, 'fixtures are present');
  for (const file of listings) {
    const json = jsonOf(file);
    if (json === undefined) continue;
    const text = read(file);
    const parsed = parseNftText(text);
    t.same(parsed.issues, [], file);
    const listed = parseNft(read(json));
    same(t, [contentsByName(parsed.tables), contentsByName(listed.tables)], file);
    t.same(parsed.skipped.map(nameOf).sort(), listed.skipped.map(nameOf).sort(), `${file}: tables of iptables-nft`);
    t.ok(printLines(Buffer.from(text), parsed.kinds).equals(Buffer.from(text)), `${file}: every line is accounted for`);
  }
});

t.test('the text of a rule is the line that nft printed, with its place', async (t) => {
  const text = read('firewalld-nftables/6-zone-drop/nft-ruleset.txt');
  const lines = text.split('\n');
  for (const { chains } of parseNftText(text).tables) {
    for (const chain of chains.values()) {
      t.match(lines[chain.line - 1], `chain ${chain.name} {`);
      for (let at = 0; at < chain.length; at++) {
        const { place } = chain.rule(at);
        t.equal(lines[place.line - 1]?.trim(), `${chain.text(at)} # handle ${place.handle}`);
      }
    }
  }
});

t.test('a listing of 10,000 Services', async (t) => {
  const text = read('scale/10000svc-3ep-nftables-nft/nft-ruleset.txt.gz');
  const start = performance.now();
  const { tables, issues } = parseNftText(text);
  const seconds = (performance.now() - start) / 1000;
  t.same(issues, []);
  t.ok(seconds < 5, `read in ${seconds.toFixed(2)} s`);
  const chains = tables.flatMap((table) => [...table.chains.values()]);
  t.ok(chains.reduce((sum, { length }) => sum + length, 0) > 90_000);
  const chain = chains.at(-1);
  t.equal(chain?.rule(0), chain?.rule(0), 'a rule is decoded once');
});

/** What the real nft lists of a ruleset, in a namespace that ends with it; a string says why there is none. */
function listed(ruleset: string): { readonly text: string; readonly json: string } | string {
  const script = 'ip link set lo up; nft -f /dev/stdin && nft -j list ruleset && echo ---- && nft -a list ruleset';
  const ran = spawnSync('unshare', ['-n', 'sh', '-c', script], { input: ruleset, encoding: 'utf8', maxBuffer: 1 << 26 });
  if (ran.error !== undefined || /Operation not permitted|not found/.test(ran.stderr)) return `nft cannot run in a namespace here: ${ran.stderr}`;
  if (ran.status !== 0) throw new Error(`nft refuses the rules: ${ran.stderr.slice(0, 500)}`);
  const [json = '', text = ''] = ran.stdout.split('----\n');
  return { json, text };
}

const isTaken = (ruleset: string): boolean => spawnSync('unshare', ['-n', 'nft', '-f', '/dev/stdin'], { input: ruleset }).status === 0;

const statements = readFileSync(new URL('nft.text.rules.nft', import.meta.url), 'utf8');
const obstacle = listed('table ip t { }\n');
const skip = typeof obstacle === 'string' ? obstacle : false;

function agree(t: Test, ruleset: string, label: string): void {
  const found = listed(ruleset);
  if (typeof found === 'string') {
    t.fail(found);
    return;
  }
  const parsed = parseNftText(found.text, { skipIptablesTables: false });
  t.same(parsed.issues, [], label);
  same(t, [contentsByName(parsed.tables), contentsByName(parseNft(found.json, { skipIptablesTables: false }).tables)], label);
}

t.test('every statement that the real nft lists', { skip }, async (t) => {
  agree(t, statements, 'statements');
});

t.test('random rulesets of the arena', { skip }, async (t) => {
  // nft knows more ways to refuse a rule than the generator to avoid.
  const taken = fc.sample(native(), 24).filter(isTaken);
  t.ok(taken.length >= 12, `${taken.length} of 24 rulesets are taken`);
  for (const [index, ruleset] of taken.slice(0, 12).entries()) agree(t, ruleset, `ruleset ${index}`);
});

t.test('a node is read from the text where there is no JSON, and its connections meet the same', async (t) => {
  for (const name of ['02-healthy-nftables', '12-nft-forward-reject', '15-dual-stack-nftables']) {
    const files = new Map(captureFiles(name));
    files.delete('nft.json');
    const node = readNode(files);
    t.same(node.issues, [], name);
    for (const traffic of trafficOf(name)) t.equal(predicted(walk(node, packetOf(traffic), { traced: false, reply: true })), traffic.outcome, traffic.label);
  }
});

t.test('a broken JSON gives way to the text, and is reported', async (t) => {
  const files = new Map(captureFiles('02-healthy-nftables'));
  const whole = files.get('nft.json') as Buffer;
  const chains = (node: ReturnType<typeof readNode>): number =>
    node.tables.filter(({ backend }) => backend === 'nft').reduce((sum, table) => sum + table.chains.size, 0);
  const expected = chains(readNode(files));
  files.set('nft.json', whole.subarray(0, whole.length / 2));
  const node = readNode(files);
  t.equal(chains(node), expected);
  t.match(node.issues, [{ file: 'nft.json', reason: /not JSON from character \d+ on; \d+ objects before it were read; nft-ruleset.txt is read instead/ }]);
  t.equal(node.issues.length, 1);
  files.delete('nft-ruleset.txt');
  t.ok(chains(readNode(files)) < expected, 'without the text what is whole of the JSON is kept');
});

const only = (text: string): Table => {
  const table = parseNftText(text, { skipIptablesTables: false }).tables[0];
  if (table === undefined) throw new Error('no table');
  return table;
};
const reasons = (text: string): string[] => parseNftText(text).issues.map(({ line, reason }) => `${line}: ${reason}`);
const inChain = (family: string, ...lines: readonly string[]): string =>
  `table ${family} t {\n\tchain c {\n${lines.map((line) => `\t\t${line}\n`).join('')}\t}\n}\n`;

t.test('tables of iptables-nft are left to iptables-save', async (t) => {
  const { tables, skipped } = parseNftText(read('01-healthy-iptables-nft/nft-ruleset.txt'));
  t.same(tables, []);
  t.equal(skipped.length, 6);
  const warned = parseNftText('# Warning: table ip odd is managed by iptables-nft, do not touch!\ntable ip odd {\n\tchain X {\n\t\txt target "DNAT"\n\t}\n}\n');
  t.same(warned.tables, []);
  t.same(warned.skipped, [{ family: 'ip', name: 'odd' }]);
});

t.test('extensions of iptables in text', async (t) => {
  const rules = (...lines: string[]) => {
    const chain = only(inChain('bridge', ...lines)).chains.get('c');
    return Array.from({ length: chain?.length ?? 0 }, (_, index) => chain?.rule(index).steps);
  };
  const target: Step = { kind: 'unknown', name: 'xt DNAT', reason: 'nft does not print the options of iptables targets' };
  t.strictSame(rules('xt match "comment" xt target "DNAT"'), [[{ kind: 'effectless', name: 'comment' }, target]]);
  t.strictSame(rules('counter packets 0 bytes 0 # xt_DNAT'), [[{ kind: 'effectless', name: 'counter' }, target]], 'as builds without extensions print it');
  t.match(rules('# handle 5'), [[{ kind: 'unknown', name: 'xt xt' }]], 'a rule that is printed as nothing');
});

t.test('base chains by the names of priorities', async (t) => {
  const base = (family: string, text: string) => only(inChain(family, text)).chains.get('c')?.base;
  const priority = (family: string, text: string) => base(family, `type filter hook prerouting priority ${text}; policy accept;`)?.priority;
  t.same(
    ['raw', 'mangle', 'dstnat', 'filter', 'security', 'srcnat', 'dstnat - 10', 'filter + 10', '-110', '0', 'mangle-5'].map((name) => priority('inet', name)),
    [-300, -150, -100, 0, 50, 100, -110, 10, -110, 0, -155],
  );
  t.same(
    ['dstnat', 'filter', 'out', 'srcnat'].map((name) => priority('bridge', name)),
    [-300, -200, 100, 300],
  );
  const ingress = { hook: 'ingress', priority: -500, type: 'filter', policy: 'drop', devices: ['eth0'] };
  t.same(base('netdev', 'type filter hook ingress device "eth0" priority -500; policy drop;'), ingress);
  t.same(base('inet', 'type filter hook ingress devices = { eth0, "eth1" } priority 0; policy accept;')?.devices, ['eth0', 'eth1']);
  t.same(reasons(inChain('ip', 'type filter hook sideways priority 0; policy accept;')), ['3: cannot read the hook, type or priority of the chain']);
});

t.test('styles of writing: one line, semicolons, commas, continued lines, comments', async (t) => {
  const table = only(`table t { set s { type ipv4_addr; flags interval; elements = {10.0.0.1,10.0.0.0/8 ,
    192.0.2.1-192.0.2.9} } # a comment { with a brace
  chain c { type filter hook input priority 0; policy drop; ip saddr @s tcp dport {80,443} accept; ip saddr 10.0.0.1 \\
    log prefix "; } { #" drop } }`);
  t.equal(table.family, 'ip', 'ip is the family of a table that names none');
  t.equal(table.sets.get('s')?.elements.length, 3);
  const chain = table.chains.get('c');
  t.equal(chain?.base?.policy, 'drop');
  t.equal(chain?.length, 2);
  t.match(chain?.rule(1).steps, [{ kind: 'address' }, { kind: 'effectless', name: 'log' }, { kind: 'drop' }]);
});

t.test('flags, timeouts and what a listing without elements does not show', async (t) => {
  const lines = ['type ipv4_addr', 'flags dynamic,timeout', 'timeout 5m', 'elements = { 10.0.0.1 timeout 1h expires 29m51s920ms }'];
  const text = `table ip t {\n\tflags dormant\n\tset s {\n${lines.map((line) => `\t\t${line}\n`).join('')}\t}\n}\n`;
  t.same(only(text).flags, ['dormant']);
  const set = only(text).sets.get('s');
  t.same(set?.flags, ['dynamic', 'timeout']);
  t.equal(set?.elements[0]?.expiresSeconds, 1791);
  t.equal(set?.complete, true);
  t.equal(parseNftText(text, { terse: true }).tables[0]?.sets.get('s')?.complete, false);
});

t.test('forms of other releases', async (t) => {
  const steps = (rule: string, family = 'inet') => only(inChain(family, rule)).chains.get('c')?.rule(0).steps;
  const equal = (...rules: string[]): void => {
    for (const rule of rules.slice(1)) t.strictSame(steps(rule), steps(rules[0] ?? ''), rule);
  };
  equal('reject with icmp host-unreachable', 'reject with icmp type host-unreachable');
  equal('meta mark set meta mark | 0x00004000', 'meta mark set mark or 0x4000');
  equal('meta mark set meta mark ^ 0x00004000', 'meta mark set mark xor 0x4000');
  equal('meta mark & 0x00004000 == 0x00004000', 'meta mark and 0x4000 == 0x4000', 'mark & 0x4000 == 0x4000');
  equal('queue flags bypass,fanout to 1-3', 'queue num 1-3 bypass,fanout');
  equal('tcp flags syn / fin,syn,rst,ack', 'tcp flags & (fin | syn | rst | ack) == syn', 'tcp flags & ( fin|syn|rst|ack ) == syn');
  equal('dnat ip to ip daddr . tcp dport map @m', 'dnat ip addr . port to ip daddr . tcp dport map @m');
  t.strictSame(steps('queue to 3'), [{ kind: 'queue', bypass: false }]);
  t.strictSame(steps('flow add @f'), [{ kind: 'effectless', name: 'flow' }]);
  t.match(steps('jump {\n\t\t\taccept\n\t\t}'), [{ kind: 'unknown', reason: 'not a statement' }]);
});

t.test('what is not understood stays with its line', async (t) => {
  const text = `${inChain('ip', 'tcp dport 80 frobnicate the packet', 'tcp dport 81 accept', 'ip saddr {{ drop').slice(0, -2)}\n\tchain d {\n\t\tdrop\n\t}\n}\n`;
  const parsed = parseNftText(text);
  t.match(parsed.issues, [
    { line: 3, text: 'tcp dport 80 frobnicate the packet', reason: '"frobnicate" begins no statement that is known' },
    { line: 5, reason: 'a brace is not closed' },
    { line: 8, reason: 'the block before it is not closed' },
  ]);
  const chain = parsed.tables[0]?.chains.get('c');
  t.match(chain?.rule(0).steps, [{ kind: 'number' }, { kind: 'number', field: 'destinationPort' }, { kind: 'unknown', name: 'frobnicate the packet' }]);
  t.match(chain?.rule(1).steps, [{}, {}, { kind: 'accept' }]);
  t.match(chain?.rule(2).steps, [{ kind: 'unknown' }]);
  t.match(parsed.tables[0]?.chains.get('d')?.rule(0).steps, [{ kind: 'drop' }], 'the chain behind it is read');
  t.ok(printLines(Buffer.from(text), parsed.kinds).equals(Buffer.from(text)));
});

t.test('faults of the structure', async (t) => {
  t.same(reasons('Dear all,\n'), ['1: not a line of an nft listing']);
  t.same(reasons('table decnet t {\n}\n'), ['1: unknown family of a table: decnet']);
  t.same(reasons('}\n'), ['1: a brace that closes nothing']);
  t.same(reasons('chain c {\n}\n'), ['1: it stands in no table']);
  t.same(reasons('table ip t {\n\tfrobnicate\n}\n'), ['2: not a line of a table']);
  t.same(reasons('table ip t {\n\tset s {\n\t\tfrobnicate\n\t}\n}\n'), ['3: not a line of a set']);
  t.same(reasons('table ip t {\n\tchain c {\n\t\taccept\n'), ['1: the listing is truncated: the table is not closed']);
  const cut = parseNftText('table ip t {\n\tset s {\n\t\ttype ipv4_addr\n\t\telements = { 10.0.0.1, 10.0.0.2,\n\t\t\t     10.0');
  t.same(cut.tables[0]?.sets.get('s')?.elements.length, 2, 'elements that are whole');
  t.equal(cut.tables[0]?.sets.get('s')?.complete, false);
  t.match(cut.issues, [
    { line: 4, reason: 'a brace is not closed: the listing is truncated' },
    { line: 1, reason: /truncated/ },
  ]);
});

t.test('objects that decide nothing are passed over', async (t) => {
  const timeout = '\tct timeout b {\n\t\tprotocol tcp\n\t\tpolicy = { established : 1m, close : 4s }\n\t}\n';
  const flowtable = '\tflowtable f {\n\t\thook ingress priority filter\n\t\tdevices = { lo }\n\t}\n';
  const text = `table ip t {\n\tcounter a {\n\t\tpackets 0 bytes 0\n\t}\n${timeout}${flowtable}\tchain c {\n\t}\n}\n`;
  t.same(reasons(text), []);
  t.same([...only(text).chains.keys()], ['c']);
});
