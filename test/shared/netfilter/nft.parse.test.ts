// Reading whole listings of nft: those of real clusters, of firewalld and ufw, of kube-proxy's own tests, damaged ones and hostile ones.
import { existsSync, globSync, readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import t from 'tap';
import { parseNft } from '../../../shared/netfilter/nft.parse.ts';
import type { Rule, Step } from '../../../shared/netfilter/rule.ts';
import type { NftSet, Table } from '../../../shared/netfilter/ruleset.ts';

const fixtures = new URL('../../fixtures/', import.meta.url).pathname;
const corpus = new URL('../../../../shared/corpus/kube-proxy-nft-flows.json', import.meta.url).pathname;

const read = (file: string): string => readFileSync(`${fixtures}${file}`, 'utf8');
const readCompressed = (file: string): string => gunzipSync(readFileSync(`${fixtures}${file}`)).toString();

const rulesOf = (table: Table): Rule[] => [...table.chains.values()].flatMap((chain) => Array.from({ length: chain.length }, (_, index) => chain.rule(index)));
const doubtful: ReadonlySet<Step['kind']> = new Set(['may', 'unknown', 'unknownEffect', 'never']);
const doubts = (table: Table): Step[] => rulesOf(table).flatMap((rule) => rule.steps.filter((step) => doubtful.has(step.kind)));
const nameOf = ({ family, name }: { family: string; name: string }): string => `${family} ${name}`;
const table = (text: string, name: string): Table => {
  const found = parseNft(text).tables.find((candidate) => nameOf(candidate) === name);
  if (found === undefined) throw new Error(`no table ${name}`);
  return found;
};
const unreadElements = (set: NftSet): unknown[] =>
  set.elements.filter(({ key, verdict }) => key.some(({ kind }) => kind === 'word') || verdict?.kind === 'unknown');

const listings = globSync(['*/nft.json', '*/nft-ruleset.json', '*/*/nft-ruleset.json'], { cwd: fixtures }).sort();

t.test('every captured listing is read whole and judged without doubt', (test) => {
  test.ok(listings.length > 30, 'fixtures are present');
  for (const file of listings) {
    const { tables, issues } = parseNft(read(file));
    test.same(issues, [], file);
    for (const each of tables) {
      test.same(doubts(each), [], `${file}: ${nameOf(each)}`);
      test.same([...each.sets.values()].flatMap(unreadElements), [], `${file}: elements of ${nameOf(each)}`);
    }
  }
  test.end();
});

t.test('no rule of a listing is lost', (test) => {
  for (const file of listings) {
    const listed = (JSON.parse(read(file)) as { nftables: Record<string, unknown>[] }).nftables;
    const { tables, skipped } = parseNft(read(file), { skipIptablesTables: false });
    test.same(skipped, []);
    const count = (kind: string): number => listed.filter((object) => kind in object).length;
    test.equal(tables.length, count('table'), file);
    test.equal(
      tables.reduce((sum, { chains }) => sum + chains.size, 0),
      count('chain'),
    );
    test.equal(
      tables.reduce((sum, { sets }) => sum + sets.size, 0),
      count('set') + count('map'),
    );
    test.equal(tables.flatMap(rulesOf).length, count('rule'));
  }
  test.end();
});

t.test('rules are printed as nft printed them', (test) => {
  const directories = ['02-healthy-nftables', '12-nft-forward-reject', '15-dual-stack-nftables', ...globSync('firewalld-nftables/*/', { cwd: fixtures })];
  for (const directory of directories) {
    const file = [`${directory}/nft.json`, `${directory}/nft-ruleset.json`].find((candidate) => existsSync(`${fixtures}${candidate}`)) ?? '';
    const lines = new Set(
      read(`${directory}/nft-ruleset.txt`)
        .split('\n')
        .map((line) => line.trim().replace(/ # handle \d+$/, '')),
    );
    for (const rule of parseNft(read(file)).tables.flatMap(rulesOf)) if (!lines.has(rule.text)) test.fail(`${directory}: ${rule.text}`);
    test.pass(directory);
  }
  test.end();
});

t.test('tables of iptables-nft are left to iptables-save', (test) => {
  const { tables, skipped } = parseNft(read('01-healthy-iptables-nft/nft.json'));
  test.same(tables, []);
  test.same(skipped.map(nameOf).sort(), ['ip filter', 'ip mangle', 'ip nat', 'ip6 filter', 'ip6 mangle', 'ip6 nat']);
  const both = parseNft(read('firewalld-iptables/1-default/nft-ruleset.json'));
  test.same(both.tables.map(nameOf), ['bridge nat', 'bridge filter'], 'iptables-save shows no bridge tables');
  test.ok(both.skipped.map(nameOf).includes('ip security'));
  test.same(parseNft(read('12-nft-forward-reject/nft.json')).skipped, []);
  test.end();
});

const base = (name: string, prio = 0) => ({ chain: { family: 'ip', table: 'filter', name, type: 'filter', hook: 'input', prio, policy: 'accept' } });
const listing = (...objects: unknown[]): string => JSON.stringify({ nftables: objects });
const filter = { table: { family: 'ip', name: 'filter' } };

t.test('a native table is read though it is named as one of iptables', (test) => {
  const read = (...objects: unknown[]) => parseNft(listing(filter, ...objects)).tables.map(nameOf);
  const rule = (expr: unknown) => ({ rule: { family: 'ip', table: 'filter', chain: 'INPUT', expr: [expr] } });
  test.same(read(base('INPUT')), []);
  test.same(read(base('input')), ['ip filter'], 'names of chains differ');
  test.same(read(base('FORWARD')), ['ip filter'], 'the hook is not the one of that name');
  test.same(read(base('INPUT', 10)), ['ip filter'], 'the priority differs');
  test.same(read(base('INPUT'), { set: { family: 'ip', table: 'filter', name: 's', type: 'ipv4_addr' } }), ['ip filter'], 'it has a set');
  test.same(read(base('INPUT'), rule({ vmap: { key: { meta: { key: 'mark' } }, data: { set: [] } } })), ['ip filter'], 'it has a verdict map');
  test.same(read(base('INPUT'), rule({ xt: { type: 'match', name: 'comment' } })), []);
  test.same(parseNft(listing({ table: { family: 'inet', name: 'filter' } })).tables.map(nameOf), ['inet filter']);
  test.end();
});

t.test("kube-proxy's table", (test) => {
  const kubeProxy = table(read('02-healthy-nftables/nft.json'), 'ip kube-proxy');
  test.same(kubeProxy.chains.get('nat-prerouting')?.base, { hook: 'prerouting', priority: -100, type: 'nat', policy: 'accept' });
  test.equal(kubeProxy.chains.get('services')?.base, undefined);
  const services = kubeProxy.chains.get('services');
  const nodePorts = Array.from({ length: services?.length ?? 0 }, (_, index) => services?.rule(index)).find((rule) =>
    rule?.text.includes('@service-nodeports'),
  );
  test.match(nodePorts, {
    text: 'ip daddr @nodeport-ips meta l4proto . th dport vmap @service-nodeports',
    place: { backend: 'nft', family: 'ip', table: 'kube-proxy', chain: 'services', line: 0 },
  });
  test.same(nodePorts?.steps, [
    { kind: 'lookup', key: [{ kind: 'address', field: 'destination' }], set: { kind: 'named', name: 'nodeport-ips' }, negate: false },
    {
      kind: 'verdictMap',
      key: [
        { kind: 'number', field: 'protocol' },
        { kind: 'number', field: 'destinationPort' },
      ],
      map: { kind: 'named', name: 'service-nodeports' },
    },
  ]);
  const map = kubeProxy.sets.get('service-nodeports');
  test.equal(map?.kind, 'vmap');
  test.same(map?.type, ['inet_proto', 'inet_service']);
  test.same(
    map?.elements.find(({ key }) => key[1]?.kind === 'interval' && key[1].lo === 30080n),
    {
      key: [
        { kind: 'interval', lo: 6n, hi: 6n },
        { kind: 'interval', lo: 30080n, hi: 30080n },
      ],
      verdict: { kind: 'goto', chain: 'external-KHN6ECMT-shop/web/tcp/http' },
    },
  );
  const affinity = [...kubeProxy.sets.values()].find(({ name }) => name.startsWith('affinity-WDGC46TD'));
  test.same(affinity?.elements, [{ key: [{ kind: 'interval', lo: 0xac1f0064n, hi: 0xac1f0064n }], expiresSeconds: 1791 }]);
  test.equal(affinity?.complete, true);
  test.equal(parseNft(read('02-healthy-nftables/nft.json'), { terse: true }).tables[0]?.sets.get('service-ips')?.complete, false);
  test.end();
});

t.test("listings of kube-proxy's own tests", { skip: existsSync(corpus) ? false : `no ${corpus}` }, (test) => {
  const flows = JSON.parse(readFileSync(corpus, 'utf8')) as { id: string; normalFormJson: unknown }[];
  test.ok(flows.length > 0);
  for (const { id, normalFormJson } of flows) {
    const { tables, issues } = parseNft(typeof normalFormJson === 'string' ? normalFormJson : JSON.stringify(normalFormJson));
    test.same(issues, [], id);
    test.ok(tables.length > 0, `${id} has tables`);
    test.same(tables.flatMap(doubts), [], id);
    test.same(
      tables.flatMap(({ sets }) => [...sets.values()].flatMap(unreadElements)),
      [],
      id,
    );
  }
  test.end();
});

t.test('a listing of 10,000 Services', (test) => {
  const text = readCompressed('scale/10000svc-3ep-nftables-nft/nft.json.gz');
  const start = performance.now();
  const { tables, issues } = parseNft(text);
  const seconds = (performance.now() - start) / 1000;
  test.same(issues, []);
  test.ok(seconds < 10, `read in ${seconds.toFixed(2)} s`);
  const kubeProxy = tables.find((candidate) => nameOf(candidate) === 'ip kube-proxy');
  test.ok((kubeProxy?.sets.get('service-ips')?.elements.length ?? 0) >= 9000);
  const last = [...(kubeProxy?.chains.values() ?? [])].at(-1);
  test.equal(last?.rule(0), last?.rule(0), 'a rule is decoded once');
  test.end();
});

t.test('counters, comments and handles', (test) => {
  const rule = { family: 'inet', table: 't', chain: 'c', handle: 9, comment: 'why', expr: [{ counter: { packets: 3, bytes: 180 } }, { drop: null }] };
  const chain = { family: 'inet', table: 't', name: 'c', type: 'filter', hook: 'ingress', prio: -500, policy: 'drop', dev: ['eth0', 'eth1'] };
  const parsed = parseNft(listing({ table: { family: 'inet', name: 't', flags: ['dormant'] } }, { chain }, { rule }, { rule }));
  const [only] = parsed.tables;
  test.same(only?.flags, ['dormant']);
  const found = only?.chains.get('c');
  test.same(found?.base, { hook: 'ingress', priority: -500, type: 'filter', policy: 'drop', devices: ['eth0', 'eth1'] });
  test.same(found?.rule(1), {
    place: { backend: 'nft', family: 'inet', table: 't', chain: 'c', number: 2, line: 0, handle: 9 },
    text: 'counter packets 3 bytes 180 drop comment "why"',
    steps: [{ kind: 'effectless', name: 'counter' }, { kind: 'drop' }],
    comment: 'why',
    counter: { packets: 3n, bytes: 180n },
  });
  test.throws(() => found?.rule(2), RangeError);
  test.throws(() => found?.text(-1), RangeError);
  test.end();
});

t.test('sets declared by expressions', (test) => {
  const payload = (protocol: string, field: string) => ({ payload: { protocol, field } });
  const type = { typeof: { concat: [payload('ip', 'saddr'), { meta: { key: 'l4proto' } }, payload('th', 'dport')] } };
  const set = { family: 'inet', table: 't', name: 's', type, elem: [{ concat: ['10.0.0.1', 'tcp', 80] }] };
  const map = { family: 'inet', table: 't', name: 'm', type: { typeof: { meta: { key: 'iifname' } } }, map: 'verdict', elem: [['eth0', { drop: null }]] };
  const sets = parseNft(listing({ set }, { map })).tables[0]?.sets;
  test.same(sets?.get('s')?.type, ['ipv4_addr', 'inet_proto', 'inet_service']);
  test.same(
    sets?.get('s')?.elements[0]?.key.map((part) => part.kind === 'interval' && part.lo),
    [0x0a000001n, 6n, 80n],
  );
  test.same(sets?.get('m')?.elements, [{ key: [{ kind: 'interface', pattern: { name: 'eth0', prefix: false } }], verdict: { kind: 'drop' } }]);
  test.equal(sets?.get('m')?.kind, 'vmap');
  test.end();
});

t.test('what cannot be read is an issue, and the rest is kept', (test) => {
  const reasons = (...objects: unknown[]) => parseNft(listing(...objects)).issues.map(({ reason }) => reason);
  const chain = { chain: { family: 'inet', table: 't', name: 'c' } };
  test.same(reasons({ metainfo: {} }, { flowtable: {} }, { counter: {} }, { 'ct helper': {} }), []);
  test.same(reasons({ gadget: {} }), ['unknown kind of object: gadget']);
  test.same(reasons(7, null, {}), ['not an object of an nft listing', 'not an object of an nft listing', 'not an object of an nft listing']);
  test.same(reasons({ table: { family: 'decnet', name: 't' } }), ['a table needs a family and a name']);
  test.same(reasons(chain, chain), ['the chain is listed twice']);
  test.same(reasons({ rule: { family: 'inet', table: 't', chain: 'gone', expr: [] } }), ['the rule belongs to no chain of the listing']);
  test.same(reasons(chain, { rule: { family: 'inet', table: 't', chain: 'c' } }), ['the rule has no statements']);
  test.same(reasons({ chain: { family: 'inet', table: 't', name: 'c', hook: 'input' } }), ['cannot read the hook, type or priority of the chain']);
  test.same(reasons({ table: { family: 'inet', name: 't', flags: '\u0001' } }), ['cannot read the flags of the table: it may be dormant']);
  test.match(parseNft('[]').issues, [{ line: 1, reason: 'not a listing of nft: it has no list "nftables"' }]);
  test.match(parseNft('').issues, [{ line: 1, reason: 'nothing to read' }]);
  test.end();
});

t.test('a listing that was cut off keeps what is whole', (test) => {
  const text = '{"nftables": [\n{"table": {"family": "inet", "name": "t"}},\n{"chain": {"family": "inet", "table": "t", "name": "a}\\"]"}},\n{"chain": {"fam';
  const { tables, issues } = parseNft(text);
  test.same(
    tables.map(({ name, chains }) => [name, ...chains.keys()]),
    [['t', 'a}"]']],
  );
  test.match(issues, [{ line: 4, text: '{"chain": {"fam', reason: /not JSON from character \d+ on; 2 objects before it were read/ }]);
  test.match(parseNft('nft: command not found\n').issues, [{ line: 1, text: 'nft: command not found\n' }]);
  test.end();
});

const touch = (text: string): void => {
  for (const each of parseNft(text, { skipIptablesTables: false }).tables) {
    rulesOf(each);
    for (const set of each.sets.values()) set.elements;
  }
};

t.test('never throws', (test) => {
  const captured = read('firewalld-nftables/6-zone-drop/nft-ruleset.json');
  const words = [
    'match',
    'left',
    'right',
    'set',
    'vmap',
    'payload',
    'meta',
    'ct',
    'key',
    '&',
    '|',
    'concat',
    'range',
    'prefix',
    'elem',
    'dnat',
    'addr',
    'map',
    'numgen',
    'mod',
    'mangle',
    'reject',
    'fib',
    'flags',
    'accept',
    'jump',
    '__proto__',
  ];
  const value = fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 6 },
      fc.constantFrom<unknown>(...words, null, true, 0, -1, 1.5, 1e300, '@s', '10.0.0.1', '*', 'tcp', 'mark', 'state'),
      fc.array(tie('value'), { maxLength: 3 }),
      fc.dictionary(fc.constantFrom(...words), tie('value'), { maxKeys: 3 }),
    ),
  })).value;
  const chain = { family: 'inet', table: 't', name: 'c' };
  fc.assert(
    fc.property(fc.array(value, { maxLength: 4 }), (expr) => {
      const rule = { family: 'inet', table: 't', chain: 'c', expr };
      const map = { family: 'inet', table: 't', name: 's', type: expr[0], map: expr[1], elem: expr };
      touch(listing({ chain }, { map }, { rule }));
    }),
    { numRuns: 2000 },
  );
  fc.assert(
    fc.property(value, (object) => touch(listing(object, { table: object }, { chain: object }, { set: object }, { rule: object }))),
    { numRuns: 500 },
  );
  fc.assert(
    fc.property(fc.nat(captured.length), fc.nat(40), fc.string(), (at, length, inserted) =>
      touch(captured.slice(0, at) + inserted + captured.slice(at + length)),
    ),
    { numRuns: 100 },
  );
  test.pass('mutated listings');
  const deep = `${'{"&":['.repeat(20_000)}1${']}'.repeat(20_000)}`;
  touch(`{"nftables":[{"chain":{"family":"ip","table":"t","name":"c"}},{"rule":{"family":"ip","table":"t","chain":"c","expr":[${deep}]}}]}`);
  touch(`{"nftables":[{"set":{"family":"ip","table":"t","name":"s","type":"mark","elem":[${deep}]}}]}`);
  touch(`{"nftables":[${deep}]}`);
  test.pass('nested deeply');
  test.end();
});
