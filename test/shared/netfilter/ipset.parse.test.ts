// Reading `ipset save`: dumps of real clusters, every type of set as the real ipset prints it, and damaged text.
import { spawnSync } from 'node:child_process';
import { existsSync, globSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import t from 'tap';
import { parseAddress, parsePrefix } from '../../../shared/model/address.ts';
import { indexIpsets, parseIpset, printIpset } from '../../../shared/netfilter/ipset.parse.ts';
import type { IpsetPart } from '../../../shared/netfilter/ruleset.ts';
import { nodeWith, save, send } from '../../support/node.ts';

const fixtures = new URL('../../fixtures/', import.meta.url).pathname;
const outputs = new URL('../../../../shared/corpus/outputs/ipset/', import.meta.url).pathname;
const dumps = globSync('*/ipset-save.txt', { cwd: fixtures }).sort();

const net = (text: string): IpsetPart => {
  const prefix = parsePrefix(text);
  return { kind: 'address', lo: prefix?.interval.lo ?? -1n, hi: prefix?.interval.hi ?? -1n, length: prefix?.length ?? -1 };
};
const range = (from: string, to: string): IpsetPart => ({ kind: 'address', lo: parseAddress(from)?.value ?? -1n, hi: parseAddress(to)?.value ?? -1n });
const port = (protocol: number, lo: number, hi = lo): IpsetPart => ({ kind: 'port', protocol, lo, hi });
const bare = (lo: number, hi = lo): IpsetPart => ({ kind: 'port', lo, hi });
const iface = (name: string, physical = false): IpsetPart => ({ kind: 'interface', name, physical });
const mac: IpsetPart = { kind: 'mac', mac: '00:11:22:33:44:55' };

const entries: readonly { readonly type: string; readonly entry: string; readonly parts: readonly IpsetPart[]; readonly family?: 'inet6' }[] = [
  { type: 'hash:ip', entry: '10.0.0.1', parts: [net('10.0.0.1/32')] },
  { type: 'hash:ip', entry: 'fe80::1', parts: [net('fe80::1/128')], family: 'inet6' },
  { type: 'hash:net', entry: '10.0.0.0/8', parts: [net('10.0.0.0/8')] },
  { type: 'hash:net', entry: 'fd00::/8', parts: [net('fd00::/8')], family: 'inet6' },
  { type: 'hash:ip,port', entry: '10.0.0.1,tcp:80', parts: [net('10.0.0.1/32'), port(6, 80)] },
  { type: 'hash:ip,port', entry: '10.0.0.1,udp:53', parts: [net('10.0.0.1/32'), port(17, 53)] },
  { type: 'hash:ip,port', entry: '10.0.0.1,sctp:9', parts: [net('10.0.0.1/32'), port(132, 9)] },
  { type: 'hash:ip,port', entry: '10.0.0.1,icmp:echo-request', parts: [net('10.0.0.1/32'), port(1, 2048)] },
  { type: 'hash:ip,port', entry: '10.0.0.1,icmp:8/7', parts: [net('10.0.0.1/32'), port(1, 2055)] },
  { type: 'hash:ip,port', entry: 'fe80::1,icmpv6:neighbour-solicitation', parts: [net('fe80::1/128'), port(58, 34_560)], family: 'inet6' },
  { type: 'hash:ip,port', entry: '10.0.0.1,vrrp:0', parts: [net('10.0.0.1/32'), port(112, 0)] },
  { type: 'hash:ip,port,ip', entry: '10.0.0.1,tcp:80,10.0.0.2', parts: [net('10.0.0.1/32'), port(6, 80), net('10.0.0.2/32')] },
  { type: 'hash:ip,port,net', entry: '10.0.0.1,tcp:80,10.1.0.0/16', parts: [net('10.0.0.1/32'), port(6, 80), net('10.1.0.0/16')] },
  { type: 'hash:net,port', entry: '10.1.0.0/16,tcp:443', parts: [net('10.1.0.0/16'), port(6, 443)] },
  { type: 'hash:net,net', entry: '10.1.0.0/16,10.2.0.0/16', parts: [net('10.1.0.0/16'), net('10.2.0.0/16')] },
  { type: 'hash:net,port,net', entry: '10.1.0.0/16,tcp:80,10.2.0.0/16', parts: [net('10.1.0.0/16'), port(6, 80), net('10.2.0.0/16')] },
  { type: 'hash:net,iface', entry: '10.1.0.0/16,eth0', parts: [net('10.1.0.0/16'), iface('eth0')] },
  { type: 'hash:net,iface', entry: '10.1.0.0/16,physdev:eth0', parts: [net('10.1.0.0/16'), iface('eth0', true)] },
  { type: 'hash:net,iface', entry: '0.0.0.0/0,eth0', parts: [net('0.0.0.0/0'), iface('eth0')] },
  { type: 'hash:net,iface', entry: '10.1.0.0/16,eth wildcard', parts: [net('10.1.0.0/16'), { ...iface('eth'), prefix: true } as IpsetPart] },
  { type: 'hash:ip netmask 26', entry: '10.0.0.64', parts: [{ ...net('10.0.0.64/26'), length: 32 } as IpsetPart] },
  { type: 'hash:ip bitmask 255.255.0.0', entry: '10.0.0.0', parts: [{ ...net('10.0.0.0/16'), length: 32 } as IpsetPart] },
  { type: 'hash:ip,mark', entry: '10.0.0.1,0x00000063', parts: [net('10.0.0.1/32'), { kind: 'mark', mark: 99 }] },
  { type: 'hash:mac', entry: '00:11:22:33:44:55', parts: [mac] },
  { type: 'hash:ip,mac', entry: '10.0.0.1,00:11:22:33:44:55', parts: [net('10.0.0.1/32'), mac] },
  { type: 'bitmap:ip range 10.0.0.0/24', entry: '10.0.0.7', parts: [net('10.0.0.7/32')] },
  { type: 'bitmap:ip,mac range 10.0.0.0/24', entry: '10.0.0.7,00:11:22:33:44:55', parts: [net('10.0.0.7/32'), mac] },
  { type: 'bitmap:port range 0-65535', entry: '30080', parts: [bare(30_080)] },
  { type: 'list:set', entry: 'other', parts: [{ kind: 'set', name: 'other' }] },
];

const script = entries.map(({ type, entry, family }, index) => {
  const [name, ...options] = type.split(' ');
  const inet = name?.startsWith('hash:') && name !== 'hash:mac' ? `family ${family ?? 'inet'}` : '';
  return `create s${index} ${name} ${options.join(' ')} ${inet}\nadd s${index} ${entry}\n`;
});

/** What the real ipset saves in a network namespace of its own, but for types that the kernel does not have; a message where it cannot run. */
function saveWithIpset(restored: readonly string[]): { readonly saved: string } | string {
  const commands = restored.map((text) => `printf '${text.replaceAll('\n', '\\n')}' | ipset restore 2>/dev/null || true`);
  const ran = spawnSync('unshare', ['-n', 'sh', '-c', [...commands, 'ipset save'].join('\n')], { encoding: 'utf8' });
  const refused = ran.error?.message ?? (ran.status === 0 && ran.stdout !== '' ? undefined : ran.stderr);
  return refused === undefined ? { saved: ran.stdout } : `ipset cannot run in a namespace here: ${refused}`;
}

t.test('every type of set, as it is written', (test) => {
  const { sets, issues } = parseIpset(`create other hash:ip family inet\n${script.join('')}`);
  test.same(issues, []);
  const byName = indexIpsets(sets);
  for (const [index, { type, entry, parts, family }] of entries.entries()) {
    const set = byName.get(`s${index}`);
    test.equal(set?.type, type.split(' ')[0]);
    test.equal(set?.family, family === 'inet6' ? 6 : 4);
    test.strictSame(set?.entries[0]?.parts, parts, `${type}: ${entry}`);
  }
  test.end();
});

t.test('every type of set, as the real ipset saves it', (test) => {
  const ran = saveWithIpset(['create other hash:ip family inet\n', ...script]);
  if (typeof ran === 'string') {
    test.plan(0, ran);
    return;
  }
  const { sets, issues } = parseIpset(ran.saved);
  test.same(issues, []);
  const byName = indexIpsets(sets);
  for (const [index, { type, parts }] of entries.entries()) {
    const set = byName.get(`s${index}`);
    if (set?.entries[0] === undefined) test.comment(`the kernel has no ${type}`);
    else test.strictSame(set.entries[0].parts, parts, type);
  }
  test.equal(printIpset(parseIpset(ran.saved)), ran.saved);
  test.end();
});

t.test('captured dumps', (test) => {
  test.ok(dumps.length >= 5);
  for (const file of dumps) {
    const text = readFileSync(`${fixtures}${file}`, 'utf8');
    const parsed = parseIpset(text);
    test.same(parsed.issues, [], file);
    test.equal(printIpset(parsed), text);
    test.equal(parsed.sets.length, text.match(/^create /gm)?.length);
    test.equal(
      parsed.sets.reduce((sum, set) => sum + set.entries.length, 0),
      text.match(/^add /gm)?.length ?? 0,
    );
  }
  const ports = indexIpsets(parseIpset(readFileSync(`${fixtures}ipvs-healthy/ipset-save.txt`, 'utf8')).sets).get('KUBE-NODE-PORT-TCP');
  test.strictSame(ports?.entries[0], { parts: [bare(30_080)], nomatch: false, line: 8 });
  test.end();
});

t.test('members of sets that users have posted', { skip: existsSync(outputs) ? false : `no ${outputs}` }, (test) => {
  for (const file of globSync('*.txt', { cwd: outputs }).sort()) {
    const text = readFileSync(`${outputs}${file}`, 'utf8');
    const members = [...text.matchAll(/^Name: (\S+)\nType: (\S+)[\s\S]*?Members:\n((?:.+\n?)*)/gm)];
    test.ok(members.length > 0, file);
    const saved = members.map(
      ([, name, type, lines]) =>
        `create ${name} ${type} family inet\n${(lines ?? '')
          .trim()
          .split('\n')
          .map((line) => `add ${name} ${line}\n`)
          .join('')}`,
    );
    test.same(parseIpset(saved.join('')).issues, [], file);
  }
  test.end();
});

t.test('options of entries', (test) => {
  const text = [
    'create s hash:net family inet hashsize 64 maxelem 9 timeout 300 comment skbinfo counters',
    'add s 10.0.0.0/8 timeout 120 packets 1 bytes 2 comment "a \\"quoted\\" nomatch" skbmark 0x1/0xff',
    'add s 10.1.0.0/16 timeout 0 nomatch',
    'add s 10.2.0.1-10.2.0.9',
    'create p bitmap:port range 0-65535',
    'add p 80-90',
    'create t hash:ip,port family inet',
    'add t 10.0.0.1,tcp:80-90',
    'add t 10.0.0.1,443',
    '# end',
    '',
  ].join('\n');
  const { sets, issues } = parseIpset(text);
  test.same(issues, []);
  test.strictSame(sets[0]?.entries, [
    { parts: [net('10.0.0.0/8')], nomatch: false, timeoutSeconds: 120, comment: 'a \\"quoted\\" nomatch', line: 2 },
    { parts: [net('10.1.0.0/16')], nomatch: true, timeoutSeconds: 0, line: 3 },
    { parts: [range('10.2.0.1', '10.2.0.9')], nomatch: false, line: 4 },
  ]);
  test.strictSame(sets[1]?.entries[0]?.parts, [bare(80, 90)]);
  test.strictSame(
    sets[2]?.entries.map(({ parts }) => parts[1]),
    [port(6, 80, 90), port(6, 443)],
  );
  test.end();
});

t.test('what cannot be read is an issue', (test) => {
  const set = 'create s hash:ip,port family inet\n';
  const reasons = (text: string) => parseIpset(set + text).issues.map(({ line, reason }) => `${line}: ${reason}`);
  test.same(reasons('add s 10.0.0.1'), ['2: hash:ip,port needs 2 parts, not 1']);
  test.same(reasons('add s 10.0.0.1,tcp:80,x'), ['2: hash:ip,port needs 2 parts, not 3']);
  test.same(reasons('add s fe80::1,tcp:80'), ['2: cannot read "fe80::1" as ip']);
  test.same(reasons('add s 10.0.0.1,tcp:65536'), ['2: cannot read "tcp:65536" as port']);
  test.same(reasons('add s 10.0.0.1,tcp:90-80'), ['2: cannot read "tcp:90-80" as port']);
  test.same(reasons('add s 10.0.0.1,nope:80'), ['2: cannot read "nope:80" as port']);
  test.same(reasons('add gone 10.0.0.1'), ['2: the set gone was not created before']);
  test.same(reasons('create s hash:ip'), ['2: the set s was created before']);
  test.same(reasons('create x tree:ip\nadd x 1'), ['2: unknown type of set: tree:ip', '3: unknown type of set: tree:ip']);
  test.same(reasons('swap s t'), ['2: unknown command: swap']);
  test.same(reasons('flush'), ['2: neither a set nor an entry']);
  test.same(reasons('add s 10.0.0.1,tcp:80 comment "open'), ['2: a quote is not closed']);
  test.end();
});

t.test('never throws, and prints what it read', (test) => {
  const word = fc.oneof(
    fc.constantFrom(
      'create',
      'add',
      's',
      'hash:ip',
      'hash:ip,port',
      'bitmap:ip,mac',
      'family',
      'inet6',
      '10.0.0.1',
      '1,2',
      ',',
      '"',
      'comment',
      'nomatch',
      'timeout',
      ':',
    ),
    fc.string(),
  );
  fc.assert(
    fc.property(fc.array(fc.array(word, { maxLength: 6 }), { maxLength: 6 }), (lines) => {
      const text = lines.map((words) => words.join(' ')).join('\n');
      return printIpset(parseIpset(text)) === text;
    }),
    { numRuns: 1000 },
  );
  test.pass('any text');
  test.end();
});

t.test('a large set of addresses and ports answers as a small one', async (t) => {
  const others = (count: number): readonly string[] => Array.from({ length: count }, (_, index) => `add s 10.9.0.21,tcp:${8080 + index}`);
  const rule = '-A PREROUTING -p udp -m set --match-set s dst,dst -j DROP';
  for (const count of [0, 3, 300]) {
    const node = nodeWith({
      'iptables-save.txt': `# Generated by iptables-save v1.8.9 (legacy)\n${save('mangle', [rule])}`,
      'ipset-save.txt': ['create s hash:ip,port family inet', 'add s 10.9.0.1,udp:30053', ...others(count), ''].join('\n'),
    });
    const verdicts = [30053, 30054].map((port) => send(node, { protocol: 17, from: '1.2.3.4', to: '10.9.0.1', port }).outcomes.map(({ verdict }) => verdict));
    t.same(verdicts, [['drop'], ['refused']], `${count} other entries`);
  }
});
