// IP sets and IPVS against small programs and the kernel's own lists: no tool is asked that would load a module, and no set is lost for another's sake.
import { readFileSync } from 'node:fs';
import t from 'tap';
import { ipset } from '../../../agent/sources/ipset.ts';
import { fromProc, isEmptyProc } from '../../../agent/sources/ipvs.parse.ts';
import { ipvs } from '../../../agent/sources/ipvs.ts';
import { parseIpvs, parseProcIpvs } from '../../../shared/netfilter/ipvs.parse.ts';
import { type SourceCase, testSources } from './machine.ts';

const loaded = { '/sys/module': ['ip_set'], '/sys/module/ip_set': ['parameters'] };
const tooOld = 'echo "ipset v6.20: Kernel-library incompatibility: set b in kernel has got settype hash:ip with family inet and revision 6" >&2; exit 1';
const head =
  'IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port Scheduler Flags\n  -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n';
const service = 'TCP  C0000201:7580 rr persistent 2700000 FFFFFFFF\n  -> 0AF40105:1F90      Masq    1      0          0\n';

const cases: readonly SourceCase[] = [
  {
    name: 'no module, so it is not asked',
    source: ipset,
    programs: { ipset: 'exit 1' },
    lists: { '/sys/module': ['nf_tables'] },
    expected: { outcome: 'absent', reason: /not loaded/ },
  },
  { name: 'read', source: ipset, programs: { ipset: 'echo create s hash:ip' }, lists: loaded, read: ['ipset-save.txt'], expected: { outcome: 'facts' } },
  {
    name: 'not installed, and nothing uses the module',
    source: ipset,
    lists: loaded,
    files: { '/proc/modules': 'ip_set 65536 0 - Live 0x0\n' },
    expected: { outcome: 'absent' },
  },
  {
    name: 'not installed, and the module is in use',
    source: ipset,
    lists: loaded,
    files: { '/proc/modules': 'ip_set 65536 3 xt_set,ip_set_hash_ip, Live 0x0\n' },
    expected: { outcome: 'failed', reason: /its sets cannot be seen/ },
  },
  {
    name: 'not installed, but k3s has one',
    source: ipset,
    lists: { ...loaded, '/var/lib/rancher/k3s/data/current/bin': ['ipset', 'ethtool'] },
    programs: { '/var/lib/rancher/k3s/data/current/bin/ipset': 'echo create s hash:ip' },
    read: ['ipset-save.txt'],
    expected: { outcome: 'facts', commands: { 'ipset-save.txt': '/var/lib/rancher/k3s/data/current/bin/ipset save' } },
  },
  {
    name: 'one set is of a type that this ipset does not know: the others are read',
    source: ipset,
    lists: loaded,
    programs: { ipset: `case "$*" in save|"save b") ${tooOld};; "list -n") printf 'a\\nb\\n';; "save a") echo create a hash:ip;; esac` },
    read: ['ipset-save.txt'],
    expected: { outcome: 'facts', unread: 'sets of a type that this ipset is too old for: b' },
    texts: { 'ipset-save.txt': 'create a hash:ip\n' },
  },
  {
    name: 'refused',
    source: ipset,
    lists: loaded,
    programs: { ipset: 'echo "Operation not permitted" >&2; exit 1' },
    expected: { outcome: 'failed', reason: /not permitted/ },
  },
  { name: 'garbage', source: ipset, lists: loaded, programs: { ipset: 'echo Name: s' }, expected: { outcome: 'failed', reason: /no list of sets: "Name: s"/ } },
  {
    name: 'cut off',
    source: ipset,
    lists: loaded,
    programs: { ipset: "printf 'create s hash:ip\\nadd s 10.0.'" },
    expected: { outcome: 'failed', reason: /ends in the middle/ },
  },
  { name: 'the kernel has none', source: ipvs, programs: { ipvsadm: 'exit 1' }, expected: { outcome: 'absent' } },
  {
    name: 'read',
    source: ipvs,
    files: { '/proc/net/ip_vs': head + service },
    programs: { ipvsadm: 'test "$*" = -Sn && echo "-A -t 192.0.2.1:30080 -s rr"' },
    read: ['ipvsadm-Sn.txt'],
    expected: { outcome: 'facts', commands: { 'ipvsadm-Sn.txt': 'ipvsadm -Sn' } },
  },
  {
    name: 'no tool: the kernel says the same',
    source: ipvs,
    files: { '/proc/net/ip_vs': head + service, '/proc/sys/kernel/osrelease': '6.1.0-x\n', '/boot/config-6.1.0-x': 'CONFIG_HZ=250\n' },
    read: ['ipvsadm-Sn.txt'],
    expected: { outcome: 'facts', commands: { 'ipvsadm-Sn.txt': '/proc/net/ip_vs (ipvsadm is not installed)' } },
    texts: { 'ipvsadm-Sn.txt': '-A -t 192.0.2.1:30080 -s rr -p 10800\n-a -t 192.0.2.1:30080 -r 10.244.1.5:8080 -m -w 1\n' },
  },
  {
    name: 'no tool and no length of a tick',
    source: ipvs,
    files: { '/proc/net/ip_vs': head + service },
    read: ['ipvsadm-Sn.txt'],
    expected: { outcome: 'facts', lacks: /how long clients stay/ },
  },
  {
    name: 'no tool and no services',
    source: ipvs,
    files: { '/proc/net/ip_vs': head },
    read: ['ipvsadm-Sn.txt'],
    expected: { outcome: 'facts' },
    texts: { 'ipvsadm-Sn.txt': '' },
  },
  {
    name: 'the tool is refused: the kernel says the same',
    source: ipvs,
    files: { '/proc/net/ip_vs': head + service },
    programs: { ipvsadm: 'echo "Can\'t initialize ipvs: Permission denied" >&2; exit 2' },
    read: ['ipvsadm-Sn.txt'],
    expected: { outcome: 'facts', commands: { 'ipvsadm-Sn.txt': /^\/proc\/net\/ip_vs \(ipvsadm -Sn: Can't initialize ipvs/ } },
  },
  {
    name: 'a list of another form',
    source: ipvs,
    files: { '/proc/net/ip_vs': `${head}TCP  x\n` },
    expected: { outcome: 'failed', reason: 'ipvsadm is not installed; /proc/net/ip_vs is not of a known form' },
  },
];
testSources(cases);

t.test('the kernel list and ipvsadm tell the same, on a real capture', async (t) => {
  const fixture = (name: string) => readFileSync(new URL(`../../fixtures/ipvs-healthy/${name}`, import.meta.url), 'utf8');
  const plain = (text: string) =>
    parseIpvs(text).services.map(({ line: _, servers, ...rest }) => ({
      ...rest,
      servers: servers.map(({ line: __, ...server }) => server).sort((a, b) => Number(a.address - b.address)),
    }));
  const made = fromProc(fixture('proc-net-ip_vs.txt'), 100) ?? '';
  const sorted = (text: string) =>
    plain(text)
      .map((each) => JSON.stringify(each, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value)))
      .sort();
  t.strictSame(sorted(made), sorted(fixture('ipvsadm-Sn.txt')));
  t.equal(isEmptyProc(fixture('proc-net-ip_vs.txt')), false);
});

t.test('services by mark and of IPv6', async (t) => {
  const text = `${head}FWM  00000007 sh (sh-port)\n  -> [fd00:0000:0000:0000:0000:0000:0000:0005]:0000      Route   1      0          0\nUDP  [2001:0db8:0000:0000:0000:0000:0000:0001]:7580 rr ops\n`;
  t.equal(fromProc(text, 250), '-A -f 7 -6 -s sh -b sh-port\n-a -f 7 -6 -r [fd00::5]:0 -g -w 1\n-A -u [2001:db8::1]:30080 -s rr --ops\n');
  t.equal(parseProcIpvs(text).services[0]?.family, 6);
});
