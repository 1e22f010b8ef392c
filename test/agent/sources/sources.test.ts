// Sources against small programs of the real tools' names: what is absent, what fails, which commands are run and which are not.
import t from 'tap';
import { counters } from '../../../agent/sources/counters.ts';
import { sources } from '../../../agent/sources/index.ts';
import { routes } from '../../../agent/sources/routes.ts';
import { sysctls } from '../../../agent/sources/sysctls.ts';
import { type SourceCase, testSources } from './machine.ts';

const cases: readonly SourceCase[] = [
  { name: 'nothing in /proc/net', source: counters, expected: { outcome: 'absent' } },
  {
    name: 'summed up and named',
    source: counters,
    files: {
      '/proc/net/stat/nf_conntrack': 'entries searched insert_failed drop early_drop\n0c 00 03 01 00\n0c 00 04 00 00\n',
      '/proc/net/softnet_stat': '01 10 00\n02 01 00\n',
      '/proc/net/snmp': 'Udp: InDatagrams InCsumErrors\nUdp: 5 7\n',
    },
    expected: {
      outcome: 'facts',
      files: new Map([
        [
          'counters.txt',
          Buffer.from('nf_conntrack_insert_failed = 7\nnf_conntrack_drop = 1\nnf_conntrack_early_drop = 0\nsoftnet_dropped = 17\nudp_in_csum_errors = 7\n'),
        ],
      ]),
    },
    read: ['counters.txt'],
  },
  {
    name: 'one of four fails',
    source: routes,
    programs: { ip: 'test "$1 $3" = "-6 rule" && exit 1; echo "[]"' },
    read: ['ip-route.json', 'ip6-route.json', 'ip-rule.json'],
    expected: { outcome: 'facts', unread: /^ip -6 -j rule: exit code 1$/ },
  },
  { name: 'no /proc/sys', source: sysctls, expected: { outcome: 'failed' } },
  {
    name: 'an interface with a dot',
    source: sysctls,
    read: ['sysctl.txt'],
    expected: { outcome: 'facts' },
    files: { '/proc/sys/net/ipv4/conf/eth0.5/rp_filter': '2\n' },
    lists: { '/proc/sys/net/ipv4/conf': ['eth0.5'] },
    texts: { 'sysctl.txt': 'net.ipv4.conf.eth0/5.rp_filter = 2\n' },
  },
];

testSources(cases);

t.test('every source says what it may yield, and no two the same file', async (t) => {
  const files = sources.flatMap((source) => source.files);
  t.equal(new Set(files).size, files.length);
  const order = sources.map(({ name }) => name);
  const wanted = ['processes', 'tools', 'iptables', 'ip6tables', 'nftables'];
  t.strictSame(
    order.filter((name) => wanted.includes(name)),
    wanted,
  );
});
