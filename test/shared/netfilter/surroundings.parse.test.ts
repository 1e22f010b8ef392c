import t from 'tap';
import {
  parseConntrackProc,
  parseConntrackStatistics,
  parseCounters,
  parseFlows,
  parseProxyMetrics,
  parseSnmp,
  parseSoftnetDrops,
  roundedCounter,
  roundedCounters,
} from '../../../shared/netfilter/surroundings.parse.ts';

t.test('lists of counters: what is no counter is an issue with its line', (t) => {
  const { values, issues } = parseCounters('# of node1\nnf_conntrack_count = 12\n\nnonsense\nveth0.hairpin_mode = 1\n');
  t.same(
    [...values],
    [
      ['nf_conntrack_count', 12],
      ['veth0.hairpin_mode', 1],
    ],
  );
  t.same(issues, [{ line: 4, text: 'nonsense', reason: 'not of the form "name = number"' }]);
  t.end();
});

t.test('conntrack -S and /proc/net/stat/nf_conntrack are added up over the processors', (t) => {
  const printed = parseConntrackStatistics('cpu=0   found=1 insert_failed=3 drop=1\ncpu=1   found=0 insert_failed=4 drop=0\nbroken\n');
  t.equal(printed.values.get('nf_conntrack_insert_failed'), 7);
  t.notOk(printed.values.has('nf_conntrack_cpu'));
  t.equal(printed.issues.length, 1);
  const proc = parseConntrackProc('entries  searched insert_failed drop\n0000000c  00000000 0000000a 00000001\n0000000c  00000000 00000002 00000000\n');
  t.equal(proc.get('nf_conntrack_insert_failed'), 12);
  t.notOk(proc.has('nf_conntrack_entries'), 'the number of entries stands in every line and is no sum');
  t.end();
});

t.test('softnet and snmp', (t) => {
  t.equal(parseSoftnetDrops('0001 00000010 0000\n0002 00000001 0000\n'), 17);
  const snmp = 'Udp: InDatagrams InCsumErrors\nUdp: 5 7\nTcp: InCsumErrors\nTcp: 9\n';
  t.equal(parseSnmp(snmp, 'Udp', 'InCsumErrors'), 7);
  t.equal(parseSnmp(snmp, 'Udp', 'NoSuch'), undefined);
  t.equal(parseSnmp('', 'Udp', 'InCsumErrors'), undefined);
  t.end();
});

t.test("kube-proxy's metrics, and who holds the lock", (t) => {
  const text = [
    'kubeproxy_sync_proxy_rules_last_timestamp_seconds 1.7952976764e+09',
    'kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds 1.7952977e+09',
    'kubeproxy_sync_proxy_rules_iptables_restore_failures_total 2',
    'xtables-lock pid=4711 comm=iptables',
  ].join('\n');
  t.same(parseProxyMetrics(text), {
    lastAt: 1_795_297_676_400,
    queuedAt: 1_795_297_700_000,
    restoreFailures: 2,
    partialRestoreFailures: 0,
    lockedBy: { pid: 4711, comm: 'iptables' },
  });
  t.equal(parseProxyMetrics('go_goroutines 12\n'), undefined);
  t.end();
});

t.test('tracked connections: both directions, and lines that have only one are issues', (t) => {
  const { items, issues } = parseFlows(
    [
      'udp      17 29 src=192.0.2.9 dst=192.0.2.11 sport=4000 dport=30053 [UNREPLIED] src=10.244.1.9 dst=192.0.2.11 sport=5353 dport=61000 mark=0 use=1',
      'ipv4 2 tcp 6 100 SYN_SENT src=192.0.2.9 dst=192.0.2.11 sport=4001 dport=30080 src=10.244.1.9 dst=192.0.2.11 sport=8080 dport=4001 use=1',
      'icmp     1 29 src=192.0.2.9 dst=192.0.2.11 type=8 code=0 id=1 src=192.0.2.11 dst=192.0.2.9 type=0 code=0 id=1',
      'udp 17 29 src=192.0.2.9 dst=192.0.2.11 sport=4000 dport=30053',
    ].join('\n'),
  );
  t.match(items, [
    { protocol: 'udp', destinationPort: 30053, replySource: '10.244.1.9', replySourcePort: 5353, replyDestinationPort: 61000, unanswered: true },
    { protocol: 'tcp', destinationPort: 30080, state: 'SYN_SENT', unanswered: false },
  ]);
  t.equal(items.length, 2);
  t.match(issues, [{ line: 4 }]);
  t.end();
});

t.test('rounded counters never rise above what was counted, nor fall below two thirds of it', (t) => {
  for (let value = 0; value < 5_000; value++) {
    const rounded = roundedCounter(value);
    if (rounded > value || rounded * 3 < value * 2 - 3) t.fail(`${value} → ${rounded}`);
  }
  t.same(
    [
      ...roundedCounters(
        new Map([
          ['nf_conntrack_count', 65_000],
          ['nf_conntrack_max', 65_536],
          ['drop', 7],
        ]),
      ).values(),
    ],
    [62_259, 65_536, 6],
  );
  t.end();
});
