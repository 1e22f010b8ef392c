// The iptables reader: every line is accounted for and printed back, whatever the text; tables, chains and rules are where they belong.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import t from 'tap';
import { type IptablesParsed, IptablesReader, type IptablesTable, lineKind, parseIptables, printIptables } from '../../../shared/netfilter/iptables.parse.ts';
import { unknownOptions } from '../../../shared/netfilter/iptables.unknown.ts';

const fixtures = join(import.meta.dirname, '../../fixtures');
const dumps = readdirSync(fixtures, { recursive: true, encoding: 'utf8' }).filter((path) => /ip6?tables-save[^/]*\.txt(\.gz)?$/.test(path));

function bytesOf(path: string): Buffer {
  const bytes = readFileSync(join(fixtures, path));
  return path.endsWith('.gz') ? gunzipSync(bytes) : bytes;
}

function tableOf(parsed: IptablesParsed, name: string): IptablesTable {
  const table = parsed.tables.find((table) => table.name === name);
  if (table === undefined) throw new Error(`no table ${name}`);
  return table;
}

const texts = (parsed: IptablesParsed, table: string, chain: string): string[] => {
  const found = tableOf(parsed, table).chains.get(chain);
  return Array.from({ length: found?.length ?? 0 }, (_, i) => found?.text(i) ?? '');
};

/** The laws of any input: each line is of one kind, each rule line belongs to exactly one rule, and printing gives the input. */
function brokenLaw(input: Buffer): string | undefined {
  const parsed = parseIptables(input);
  const { lineKinds, lineCount } = parsed.dump;
  const ruleLines = new Set<number>();
  for (const table of parsed.tables) {
    let rules = 0;
    for (const chain of table.chains.values()) {
      rules += chain.length;
      for (let i = 0; i < chain.length; i++) {
        const line = chain.lineOf(i);
        if (lineKinds[line - 1] !== lineKind.rule || ruleLines.has(line)) return `line ${line} is no rule, or the rule of two`;
        ruleLines.add(line);
        const rule = chain.rule(i);
        if (rule.place.line !== line || rule.text !== chain.text(i) || !rule.text.startsWith('-A ')) return `line ${line}: the rule's place or text is wrong`;
      }
    }
    if (rules !== table.chains.ruleCount) return `table ${table.name} has ${rules} rules, not ${table.chains.ruleCount}`;
  }
  const issueLines = new Set(parsed.issues.map(({ line }) => line));
  for (let line = 1; line <= lineCount; line++) {
    const kind = lineKinds[line - 1];
    if (kind === 0) return `line ${line} is of no kind`;
    if (kind === lineKind.rule && !ruleLines.has(line)) return `the rule of line ${line} is lost`;
    if (kind === lineKind.issue && !issueLines.has(line)) return `line ${line} is an issue without reason`;
  }
  return printIptables(parsed).equals(input) ? undefined : 'printed text differs';
}

t.test('captured dumps are read without an issue and printed back', (t) => {
  t.ok(dumps.length > 60, `${dumps.length} fixtures`);
  for (const path of dumps) {
    const bytes = bytesOf(path);
    const parsed = parseIptables(bytes);
    t.strictSame(parsed.issues, [], path);
    t.equal(brokenLaw(bytes), undefined, path);
    const lines = bytes.toString('latin1').split('\n');
    const rules = parsed.tables.flatMap(({ chains }) => [...chains.values()].map(({ length }) => length)).reduce((a, b) => a + b, 0);
    t.equal(rules, lines.filter((line) => /^(\[\d+:\d+\] )?-A /.test(line)).length, `${path}: rules`);
    t.equal(
      parsed.tables.reduce((sum, { chains }) => sum + chains.size, 0),
      lines.filter((line) => line.startsWith(':')).length,
      `${path}: chains`,
    );
    t.ok(
      parsed.tables.every(({ family }) => family === (path.includes('ip6tables') ? 'ip6' : 'ip')),
      `${path}: family`,
    );
  }
  t.end();
});

t.test('captured dumps have no match, target or option that is not known', (t) => {
  for (const path of dumps.filter((path) => !path.endsWith('.gz'))) {
    for (const table of parseIptables(bytesOf(path)).tables) {
      for (const chain of table.chains.values()) {
        for (let i = 0; i < chain.length; i++) {
          const doubt = chain
            .rule(i)
            .steps.find((step) => step.kind === 'unknown' || (step.kind === 'may' && /is not known|could not be read|belongs to no/.test(step.reason)));
          if (doubt !== undefined) t.fail(`${path}: ${chain.text(i)}`);
        }
      }
    }
  }
  t.pass('all rules are understood');
  t.end();
});

/** Dumps, and lines that such should not have, to put into them. */
const seeds = [
  '16-k3s-like-healthy/iptables-save-counters.txt',
  '01-healthy-iptables-nft/iptables-save.txt',
  'firewalld-iptables/1-default/ip6tables-save.txt',
].map(bytesOf);
const odd = [
  '*filter',
  'COMMIT',
  '-A INPUT -j DROP',
  '-A NEW -j X',
  '-I INPUT 2 -j DROP',
  '-I INPUT',
  '-N INPUT',
  '-P INPUT DROP',
  '-P X',
  '-D INPUT 1',
  ':INPUT',
  ':',
  ': - [0:0]',
].concat([
  '[1:2] -A INPUT',
  '[1:2]',
  '[x] -A INPUT',
  '# comment',
  '',
  ' ',
  '\t-A INPUT -j "',
  '$ iptables-save',
  '\0',
  'é ünïcode',
  '-A',
  '-',
  '*',
  '* nat',
  '-A INPUT -m comment --comment "ß"',
]);
const edit = fc.record({
  at: fc.double({ min: 0, max: 1, noNaN: true }),
  cut: fc.nat(200),
  line: fc.option(fc.constantFrom(...odd)),
  bytes: fc.uint8Array({ maxLength: 6 }),
  crlf: fc.boolean(),
});
/** Dumps to which something was done. */
const mutated = fc
  .record({ seed: fc.constantFrom(...seeds), length: fc.double({ min: 0, max: 1, noNaN: true }), edits: fc.array(edit, { maxLength: 8 }) })
  .map(({ seed, length, edits }) => {
    let bytes = seed.subarray(0, Math.ceil(seed.length * length));
    for (const { at, cut, line, bytes: noise, crlf } of edits) {
      const place = Math.floor(bytes.length * at);
      const inserted = line === null ? Buffer.from(noise) : Buffer.from(`\n${line}${crlf ? '\r\n' : '\n'}`);
      bytes = Buffer.concat([bytes.subarray(0, place), inserted, bytes.subarray(place + cut)]);
    }
    return bytes;
  });

t.test('law: whatever is done to a dump, every line is accounted for and printed back', (t) => {
  fc.assert(
    fc.property(mutated, (bytes) => brokenLaw(bytes) === undefined),
    { numRuns: 150 },
  );
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...odd), { maxLength: 12 }), (lines) => brokenLaw(Buffer.from(lines.join('\n'))) === undefined),
    { numRuns: 500 },
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => brokenLaw(Buffer.from(bytes)) === undefined),
    { numRuns: 300 },
  );
  t.pass('held');
  t.end();
});

/** All that a parsed dump says, as text. */
function said(parsed: IptablesParsed): string {
  const tables = parsed.tables.map(({ chains, baseChains, ...table }) => ({
    ...table,
    bases: baseChains.map(({ name }) => name),
    ruleCount: chains.ruleCount,
    size: chains.size,
    chains: [...chains.values()].map((chain) => [chain, Array.from({ length: chain.length }, (_, i) => [chain.lineOf(i), chain.text(i)])]),
  }));
  const { lineStarts, lineKinds, cutLine } = parsed.dump;
  const all = [tables, parsed.issues, [...lineStarts], [...lineKinds], cutLine, unknownOptions(parsed), printIptables(parsed).toString('latin1')];
  return JSON.stringify(all, (_, value) => (typeof value === 'bigint' ? String(value) : value));
}

t.test('law: a dump that arrives in pieces is read as one that is there at once', (t) => {
  const arriving = fc.tuple(fc.oneof(mutated, fc.constantFrom(...seeds)), fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 12 }), fc.nat(255));
  fc.assert(
    fc.property(arriving, ([bytes, places, noise]) => {
      // What has not arrived may be anything, line ends too.
      const arrived = Buffer.alloc(bytes.length, noise);
      const reader = new IptablesReader(arrived);
      for (const length of places.map((place) => Math.floor(place * bytes.length)).sort((a, b) => a - b)) {
        bytes.copy(arrived, 0, 0, length);
        reader.advance(length);
      }
      bytes.copy(arrived);
      return said(reader.finish()) === said(parseIptables(bytes));
    }),
    { numRuns: 200 },
  );
  t.pass('held');
  t.end();
});

t.test('law: what is read of a dump does not depend on the room that was made for it', (t) => {
  // Room is made by size: short lines are more than expected, and a long comment behind them makes them fewer.
  const line = fc.constantFrom(
    ':A - [0:0]',
    ':LONGER-THAN-BUILT-IN - [0:0]',
    '-A A',
    '-A B -j A',
    '-A LONGER-THAN-BUILT-IN',
    '*nat',
    '*raw',
    'COMMIT',
    '#',
    '-D',
    '',
  );
  const many = fc
    .array(fc.tuple(line, fc.nat(300)), { maxLength: 12 })
    .map((parts) => parts.flatMap(([line, times]) => Array.from({ length: times + 1 }, () => line)));
  const chains = fc
    .nat(400)
    .map((count) => ['*nat', ...Array.from({ length: count }, (_, i) => `:KUBE-SEP-${i}-C - [0:0]`), '-A KUBE-SEP-7-C -j KUBE-SEP-8-C']);
  fc.assert(
    fc.property(fc.oneof(many, chains), (lines) => {
      const text = `${['*filter', ...lines].join('\n')}\n`;
      const comment = `${'#'.repeat(600 * text.length)}\n`;
      const [close, roomy] = [parseIptables(text), parseIptables(`${text}${comment}`)];
      const parts = ({ tables, issues, dump }: IptablesParsed): unknown[] => [
        tables.map(({ chains }) =>
          [...chains.values()].map((chain) => [chain.name, chain.line, Array.from({ length: chain.length }, (_, i) => chain.lineOf(i))]),
        ),
        issues,
        [...dump.lineKinds.subarray(0, lines.length + 1)],
      ];
      return JSON.stringify(parts(close)) === JSON.stringify(parts(roomy)) && brokenLaw(Buffer.from(text)) === undefined;
    }),
    { numRuns: 60 },
  );
  t.pass('held');
  t.end();
});

t.test('a text without line feeds may arrive in pieces too', (t) => {
  for (const text of ['*filter\r:INPUT DROP [0:0]\r-A INPUT -j ACCEPT\rCOMMIT\r', '*filter\n:INPUT DROP [0:0]\n-A INPUT -j ACCEPT\rCOMMIT']) {
    const bytes = Buffer.from(text);
    const reader = new IptablesReader(bytes);
    reader.advance(20);
    reader.advance(40);
    t.equal(said(reader.finish()), said(parseIptables(bytes)));
  }
  t.end();
});

t.test('backend and family come from the header', (t) => {
  const rows: readonly [header: string, backend: string, family: string][] = [
    ['# Generated by iptables-save v1.8.9 (nf_tables) on Mon', 'iptables-nft', 'ip'],
    ['# Generated by iptables-save v1.8.9 on Mon', 'legacy', 'ip'],
    ['# Generated by iptables-save v1.8.9 (legacy) on Mon', 'legacy', 'ip'],
    ['# Generated by ip6tables-save v1.8.9 (nf_tables) on Mon', 'iptables-nft', 'ip6'],
    ['# Generated by xtables-save v1.8.2 on Mon', 'iptables-nft', 'ip'],
    ['# a comment', 'legacy', 'ip'],
  ];
  for (const [header, backend, family] of rows) {
    const [table] = parseIptables(`${header}\n*filter\nCOMMIT\n`).tables;
    t.strictSame([table?.backend, table?.family], [backend, family], header);
  }
  const [table] = parseIptables('*filter\nCOMMIT\n', { backend: 'iptables-nft', family: 'ip6' }).tables;
  t.strictSame([table?.backend, table?.family], ['iptables-nft', 'ip6']);
  const [forced] = parseIptables('# Generated by ip6tables-save v1.8.9 on Mon\n*filter\nCOMMIT\n', { backend: 'iptables-nft', family: 'ip' }).tables;
  t.strictSame([forced?.backend, forced?.family], ['legacy', 'ip'], 'the option decides the family, the header the backend');
  t.end();
});

t.test('dumps of both backends and families one after another stay apart', (t) => {
  const headers = ['iptables-save v1.8.9 on x', 'iptables-save v1.8.9 (nf_tables) on x', 'ip6tables-save v1.8.9 (nf_tables) on x'];
  const parsed = parseIptables(headers.map((header) => `# Generated by ${header}\n*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -j DROP\nCOMMIT\n`).join(''));
  t.strictSame(parsed.issues, []);
  t.strictSame(
    parsed.tables.map(({ backend, family, chains }) => [backend, family, chains.get('INPUT')?.length]),
    [
      ['legacy', 'ip', 1],
      ['iptables-nft', 'ip', 1],
      ['iptables-nft', 'ip6', 1],
    ],
  );
  t.end();
});

t.test('built-in chains know hook, priority, type and policy', (t) => {
  const rows: readonly [table: string, chain: string, hook: string, priority: number, type: string][] = [
    ['raw', 'PREROUTING', 'prerouting', -300, 'filter'],
    ['raw', 'OUTPUT', 'output', -300, 'filter'],
    ['mangle', 'PREROUTING', 'prerouting', -150, 'filter'],
    ['mangle', 'INPUT', 'input', -150, 'filter'],
    ['mangle', 'FORWARD', 'forward', -150, 'filter'],
    ['mangle', 'OUTPUT', 'output', -150, 'route'],
    ['mangle', 'POSTROUTING', 'postrouting', -150, 'filter'],
    ['nat', 'PREROUTING', 'prerouting', -100, 'nat'],
    ['nat', 'OUTPUT', 'output', -100, 'nat'],
    ['nat', 'INPUT', 'input', 100, 'nat'],
    ['nat', 'POSTROUTING', 'postrouting', 100, 'nat'],
    ['filter', 'INPUT', 'input', 0, 'filter'],
    ['filter', 'FORWARD', 'forward', 0, 'filter'],
    ['filter', 'OUTPUT', 'output', 0, 'filter'],
    ['security', 'INPUT', 'input', 50, 'filter'],
    ['security', 'FORWARD', 'forward', 50, 'filter'],
    ['security', 'OUTPUT', 'output', 50, 'filter'],
  ];
  for (const [name, chain, hook, priority, type] of rows) {
    const table = tableOf(parseIptables(`*${name}\n:${chain} DROP [3:4]\n:MINE - [0:0]\nCOMMIT\n`), name);
    t.strictSame(table.chains.get(chain)?.base, { hook, priority, type, policy: 'drop' }, `${name} ${chain}`);
    t.strictSame(table.chains.get(chain)?.counter, { packets: 3n, bytes: 4n });
    t.equal(table.chains.get('MINE')?.base, undefined);
  }
  t.equal(
    tableOf(parseIptables('*filter\n:PREROUTING - [0:0]\nCOMMIT\n'), 'filter').chains.get('PREROUTING')?.base,
    undefined,
    'a chain that its table does not have',
  );
  t.equal(tableOf(parseIptables('*filter\n:INPUT -\nCOMMIT\n'), 'filter').chains.get('INPUT')?.base?.policy, 'accept');
  t.end();
});

t.test('a rule has its place, text, comment and counter', (t) => {
  const parsed = parseIptables('*filter\r\n:INPUT ACCEPT [0:0]\r\n[12:345] -A INPUT -s 10.0.0.1/32 -m comment --comment "für alle" -j DROP\r\nCOMMIT\r\n');
  const chain = tableOf(parsed, 'filter').chains.get('INPUT');
  t.match(chain?.rule(0), {
    place: { backend: 'legacy', family: 'ip', table: 'filter', chain: 'INPUT', number: 1, line: 3 },
    text: '-A INPUT -s 10.0.0.1/32 -m comment --comment "für alle" -j DROP',
    comment: 'für alle',
    counter: { packets: 12n, bytes: 345n },
  });
  t.equal(chain?.rule(0), chain?.rule(0), 'decoded once');
  t.throws(() => chain?.rule(1), RangeError);
  t.throws(() => chain?.text(-1), RangeError);
  t.end();
});

t.test('rules keep their order by chain, wherever they stand', (t) => {
  const parsed = parseIptables(
    '*filter\n:INPUT ACCEPT [0:0]\n:A - [0:0]\n:AB - [0:0]\n-A AB -j A\n-A A -j DROP\n-A INPUT -j AB\n-A AB -j ACCEPT\n-A A -j RETURN\nCOMMIT\n',
  );
  t.strictSame(texts(parsed, 'filter', 'AB'), ['-A AB -j A', '-A AB -j ACCEPT']);
  t.strictSame(texts(parsed, 'filter', 'A'), ['-A A -j DROP', '-A A -j RETURN']);
  t.strictSame(texts(parsed, 'filter', 'INPUT'), ['-A INPUT -j AB']);
  t.end();
});

t.test('-I puts rules before others', (t) => {
  const parsed = parseIptables('*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -j A1\n-I INPUT -j I1\n-I INPUT 2 -j I2\n-A INPUT -j A2\nCOMMIT\n');
  t.strictSame(texts(parsed, 'filter', 'INPUT'), ['-A INPUT -j I1', '-A INPUT -j I2', '-A INPUT -j A1', '-A INPUT -j A2']);
  t.strictSame(parsed.issues, []);
  t.end();
});

t.test('iptables -S is read as table filter, or as the table that is said', (t) => {
  const text = '-P INPUT DROP -c 5 6\n-P FORWARD ACCEPT\n-N MINE\n-A INPUT -c 7 8 -j MINE\n-A MINE -j ACCEPT\n';
  const parsed = parseIptables(text);
  t.strictSame(parsed.issues, []);
  const filter = tableOf(parsed, 'filter');
  t.match(filter.chains.get('INPUT'), { base: { policy: 'drop' }, counter: { packets: 5n, bytes: 6n } });
  t.strictSame(filter.chains.get('INPUT')?.rule(0).counter, { packets: 7n, bytes: 8n });
  t.strictSame(filter.chains.get('INPUT')?.rule(0).steps, [{ kind: 'jump', chain: 'MINE' }]);
  const listings = parseIptables(
    '# iptables -S\n-P INPUT ACCEPT\n# iptables -t nat -S\n-P PREROUTING ACCEPT\n-A PREROUTING -j ACCEPT\n# ip6tables -w -t raw -S\n-P OUTPUT DROP\n',
  );
  t.strictSame(listings.issues, [], 'the command above a listing says its table');
  t.strictSame(
    listings.tables.map(({ family, name, chains }) => [family, name, ...chains.keys()]),
    [
      ['ip', 'filter', 'INPUT'],
      ['ip', 'nat', 'PREROUTING'],
      ['ip6', 'raw', 'OUTPUT'],
    ],
  );
  t.equal(parseIptables('-P PREROUTING ACCEPT\n', { table: 'nat' }).tables[0]?.chains.get('PREROUTING')?.base?.priority, -100);
  t.end();
});

t.test('what a dump should not have is an issue with its line', (t) => {
  const rows: readonly [name: string, text: string, issues: [line: number, reason: RegExp][]][] = [
    [
      'shell prompt and prose',
      '$ sudo iptables-save\n*filter\nCOMMIT\nThe end.\n',
      [
        [1, /not a line/],
        [4, /not a line/],
      ],
    ],
    [
      'a chain that is not declared',
      '*filter\n:INPUT ACCEPT [0:0]\n-A MINE -j DROP\n-A MINE -j DROP\nCOMMIT\n',
      [[3, /chain MINE of table filter is not declared/]],
    ],
    ['a base chain that is not declared', '*filter\n-A INPUT -j DROP\nCOMMIT\n', [[2, /its policy is not in the dump/]]],
    ['no COMMIT before the next table', '*nat\n:PREROUTING ACCEPT [0:0]\n*filter\nCOMMIT\n', [[1, /table nat has no COMMIT: the dump is truncated/]]],
    ['no COMMIT at the end', '*nat\n:PREROUTING ACCEPT [0:0]\n', [[1, /table nat has no COMMIT: the dump is truncated/]]],
    ['the same table again', '*nat\nCOMMIT\n*nat\nCOMMIT\n', [[3, /a second time/]]],
    ['the same chain again', '*nat\n:X - [0:0]\n:X - [0:0]\nCOMMIT\n', [[3, /a second time/]]],
    [
      'rules before the first table',
      '-A INPUT -j DROP\n*nat\nCOMMIT\n',
      [
        [1, /not declared/],
        [1, /rules stand before the first \*table line/],
      ],
    ],
    ['chains before the first table', ':INPUT ACCEPT [0:0]\n', [[1, /before any \*table line/]]],
    ['COMMIT alone', 'COMMIT\n', [[1, /COMMIT without/]]],
    ['a table of nobody', '*nonsense\nCOMMIT\n', [[1, /not a table of iptables/]]],
    ['a table without name', '*\n', [[1, /the form \*TABLE/]]],
    [
      'commands',
      '*filter\n-D INPUT 1\n-F\n-X MINE\nCOMMIT\n',
      [
        [2, /change rules/],
        [3, /not a line/],
        [4, /change rules/],
      ],
    ],
    ['a policy that is not known', '*filter\n:INPUT QUEUE [0:0]\nCOMMIT\n', [[2, /policy QUEUE/]]],
    ['a policy of a chain that has none', '*filter\n:MINE DROP [0:0]\nCOMMIT\n', [[2, /no built-in chain/]]],
    [
      'a declaration in pieces',
      '*filter\n:INPUT\n:X - [0:\nCOMMIT\n',
      [
        [2, /the form :CHAIN/],
        [3, /the form :CHAIN/],
      ],
    ],
    ['counters without a rule', '*filter\n[1:2]\nCOMMIT\n', [[2, /followed by -A/]]],
    ['a table written with nft', "# Table `filter' is incompatible, use 'nft' tool.\n", [[1, /written with nft/]]],
    ['NUL bytes', '*filter\nCOMMIT\n\0\0\n', [[3, /not a line/]]],
  ];
  for (const [name, text, issues] of rows) {
    const parsed = parseIptables(text);
    t.strictSame(
      parsed.issues.map(({ line }) => line),
      issues.map(([line]) => line),
      name,
    );
    for (const [i, issue] of parsed.issues.entries()) t.match(issue.reason, issues[i]?.[1] ?? /^$/, `${name}: ${issue.reason}`);
    t.equal(brokenLaw(Buffer.from(text)), undefined, name);
  }
  t.end();
});

t.test('a rule that is cut at the end of a truncated dump is not believed', (t) => {
  const text = '*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -p tcp -m tcp --dport 30080 -j DROP\n-A INPUT -p tcp -m tcp --dport 300';
  const parsed = parseIptables(text);
  const chain = tableOf(parsed, 'filter').chains.get('INPUT');
  t.strictSame(
    chain?.rule(1).steps.map(({ kind }) => kind),
    ['may', 'unknown'],
  );
  t.strictSame(
    chain?.rule(0).steps.map(({ kind }) => kind),
    ['number', 'number', 'drop'],
  );
  t.match(parsed.issues, [
    { line: 1, reason: /no COMMIT/ },
    { line: 4, reason: /ends in the middle/ },
  ]);
  t.strictSame(parseIptables('-P INPUT ACCEPT\n-A INPUT -j DROP').issues, [], 'iptables -S without a last newline is complete');
  t.end();
});

t.test('lines that are skimmed are what they are when they are read one by one', (t) => {
  const alike = (chain: string): string => Array.from({ length: 3 }, (_, i) => `-A ${chain} -s 10.0.0.${i} -j ACCEPT\n`).join('');
  const nat = `*nat\n:LONGER-THAN-BUILT-IN - [0:0]\n${alike('LONGER-THAN-BUILT-IN')}COMMIT\n`;
  const again = parseIptables(`${nat}*filter\n:Y - [0:0]\nCOMMIT\n*nat\n${alike('LONGER-THAN-BUILT-IN')}${alike('Y')}COMMIT\n# the end of the dump\n`);
  t.equal(texts(again, 'nat', 'LONGER-THAN-BUILT-IN').length, 6);
  t.equal(texts(again, 'nat', 'Y').length, 3, 'a chain of another table with the next number is not meant');
  t.match(again.issues, [
    { line: 10, reason: /a second time/ },
    { line: 14, reason: /chain Y of table nat is not declared/ },
  ]);
  const implicit = parseIptables(`${alike('FORWARD')}:LONGER-THAN-BUILT-IN - [0:0]\n${alike('FORWARD')}# the end of the dump\n`);
  t.match(implicit.issues, [{ line: 1 }, { line: 4, reason: /declared before any \*table line/ }]);
  const builtin = parseIptables('*filter\n:INPUT - [0:0]\n:LONGER-THAN-BUILT-IN - [0:0]\n:LONGER-THAN-BUILT-IN - [0:0]\nCOMMIT\n# the end of the dump\n');
  t.strictSame(
    tableOf(builtin, 'filter').baseChains.map(({ name }) => name),
    ['INPUT'],
  );
  t.match(builtin.issues, [{ line: 4, reason: /declared a second time/ }]);
  t.equal(tableOf(builtin, 'filter').chains.get('LONGER-THAN-BUILT-IN')?.line, 3);
  t.end();
});

t.test('a table that appears again does not take the chains of another for its own', (t) => {
  const parsed = parseIptables('*nat\n:X - [0:0]\n-A X -j RETURN\nCOMMIT\n*filter\n:Y - [0:0]\nCOMMIT\n*nat\n-A X -j ACCEPT\n-A Y -j ACCEPT\nCOMMIT\n');
  t.strictSame(texts(parsed, 'nat', 'X'), ['-A X -j RETURN', '-A X -j ACCEPT']);
  t.strictSame(texts(parsed, 'nat', 'Y'), ['-A Y -j ACCEPT']);
  t.strictSame(texts(parsed, 'filter', 'Y'), []);
  t.end();
});

t.test('lines that end in carriage returns alone are lines', (t) => {
  const parsed = parseIptables('*filter\r:INPUT DROP [0:0]\r-A INPUT -j ACCEPT\rCOMMIT\r');
  t.strictSame(texts(parsed, 'filter', 'INPUT'), ['-A INPUT -j ACCEPT']);
  t.strictSame(parsed.issues, []);
  t.end();
});

t.test('the empty text has no tables and no issues', (t) => {
  const parsed = parseIptables('');
  t.strictSame([parsed.tables, parsed.issues, printIptables(parsed).length], [[], [], 0]);
  t.end();
});

t.test('each jump leads to the chain of its name, wherever the rule stands', (t) => {
  // Inserted rules are rewritten, so that their words stand at the places of words of other rules.
  const text =
    '-A X -j A\n-I X 2 -j B\n-A X -j C\n-I X 1 -j D\n-A X -j A\n-I X 3 -j C\n-N A\n-N B\n-N C\n-N D\n-A A -j RETURN\n-A B -j ACCEPT\n-A C -j DROP\n-A D -p tcp\n-A Y -j B\n';
  const [table] = parseIptables(text).tables;
  const chain = table?.chains.get('X');
  t.equal(chain?.length, 6);
  t.same(table?.chains.get('Y')?.rule(0).steps, [{ kind: 'jump', chain: 'B' }], 'such rules are known now');
  const ends: Readonly<Record<string, string>> = { A: '-A A -j RETURN', B: '-A B -j ACCEPT', C: '-A C -j DROP', D: '-A D -p tcp' };
  for (const round of ['at first', 'again']) {
    for (let index = 0; index < 6; index++) {
      const step = chain?.rule(index).steps.at(-1);
      const name = chain?.text(index).split(' ').at(-1) as string;
      t.same(step, { kind: 'jump', chain: name }, round);
      t.equal(table?.chains.get(name)?.text(0), ends[name], `${round}: ${chain?.text(index)}`);
    }
  }
  t.end();
});
