import { readFileSync } from 'node:fs';
import t from 'tap';
import { readIpLine } from '../../../agent/monitors/ip.parse.ts';

t.test('a recorded session without labels', async (t) => {
  const lines = readFileSync(new URL('../../fixtures/monitor/ip-monitor.txt', import.meta.url), 'utf8')
    .split('\n')
    .map((line) => line.replace(/^\[[\d.]+\] /, ''));
  const counts = Object.groupBy(lines.filter((line) => line !== '').map(readIpLine), (line) => (line.kind === 'changed' ? line.what : 'other'));
  t.equal(counts.other, undefined);
  t.ok((counts.link?.length ?? 0) > 0 && (counts.address?.length ?? 0) > 0 && (counts.route?.length ?? 0) > 0);
});

const cases = [
  ['[ADDR]1: lo    inet 10.9.9.9/32 scope global lo\\       valid_lft forever preferred_lft forever', 'address'],
  ['[LINK]3: eth0@eth0p: <BROADCAST> mtu 1500', 'link'],
  ['[ROUTE]Deleted 192.0.2.0/24 dev eth0', 'route'],
  ['[RULE]32765:\tfrom 10.9.9.9 lookup 100', 'route'],
  ['[NETCONF]inet lo rp_filter strict ', 'netconf'],
  ['[NEIGH]192.0.2.1 dev eth0 lladdr 02:00:00:00:00:01 REACHABLE', undefined],
  ['[ROUTE nsid current]default via 192.0.2.1 dev eth0', 'route'],
  ['Deleted 3: eth0    inet 192.0.2.11/24 scope global eth0', 'address'],
  ['32765:\tfrom 10.9.9.9 lookup 100', 'route'],
  ['inet eth0 forwarding on rp_filter off', 'netconf'],
  ['default via 192.0.2.1 dev eth0', 'route'],
  ['fe80::/64 dev eth0p proto kernel metric 256 pref medium', 'route'],
  ['192.0.2.1 dev eth0 lladdr 02:00:00:00:00:01 REACHABLE', undefined],
  ['192.0.2.9 dev eth0 FAILED', undefined],
  ['', undefined],
] as const;
for (const [line, what] of cases) {
  t.test(line || 'an empty line', async (t) => t.strictSame(readIpLine(line), what === undefined ? { kind: 'other' } : { kind: 'changed', what }));
}
