import { readFileSync } from 'node:fs';
import t from 'tap';
import { readNftLine } from '../../../agent/monitors/nft.parse.ts';

const lines = readFileSync(new URL('../../fixtures/monitor/nft-monitor.txt', import.meta.url), 'utf8')
  .split('\n')
  .map((line) => line.replace(/^\[[\d.]+\] /, ''));

t.test('every line of a recorded session is read', async (t) => {
  const read = lines.filter((line) => line !== '').map(readNftLine);
  t.strictSame(
    read.filter(({ kind }) => kind === 'other' || kind === 'lost'),
    [],
  );
  t.strictSame(
    read.flatMap((line) => (line.kind === 'generation' ? [line.generation] : [])),
    [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13],
  );
});

const place = (family: string, table: string, object: string) => ({ family, table, object });
const cases = [
  { line: '# new generation 10 by process 31022 (iptables-nft-re)', expected: { kind: 'generation', generation: 10, pid: 31022, comm: 'iptables-nft-re' } },
  { line: '# new generation 3 by process 7 (a (b) c)', expected: { kind: 'generation', generation: 3, pid: 7, comm: 'a (b) c' } },
  { line: 'add table inet mine', expected: { kind: 'table', op: 'add', family: 'inet', table: 'mine' } },
  { line: 'delete table inet mine # handle 34', expected: { kind: 'table', op: 'delete', family: 'inet', table: 'mine' } },
  {
    line: 'add chain ip filter INPUT { type filter hook input priority filter; policy drop; } # handle 3',
    expected: { kind: 'chain', op: 'add', place: place('ip', 'filter', 'INPUT') },
  },
  { line: 'create chain ip nat KUBE-SVC-A', expected: { kind: 'chain', op: 'create', place: place('ip', 'nat', 'KUBE-SVC-A') } },
  { line: 'delete chain ip nat KUBE-SVC-A', expected: { kind: 'chain', op: 'delete', place: place('ip', 'nat', 'KUBE-SVC-A') } },
  {
    line: 'insert rule ip filter FORWARD tcp dport 8080 counter packets 0 bytes 0 drop',
    expected: { kind: 'rule', op: 'add', place: place('ip', 'filter', 'FORWARD'), text: 'tcp dport 8080 counter packets 0 bytes 0 drop' },
  },
  {
    line: 'insert rule ip filter FORWARD handle 5 udp dport 4 counter packets 0 bytes 0 drop # handle 6',
    expected: { kind: 'rule', op: 'add', place: place('ip', 'filter', 'FORWARD'), handle: 6, text: 'udp dport 4 counter packets 0 bytes 0 drop' },
  },
  { line: 'delete rule ip filter INPUT handle 2', expected: { kind: 'rule', op: 'delete', place: place('ip', 'filter', 'INPUT'), handle: 2 } },
  {
    line: 'add rule ip filter INPUT handle 7 protocol tcp dport 9 -m comment drop',
    expected: { kind: 'rule', op: 'add', place: place('ip', 'filter', 'INPUT'), handle: 7, text: 'protocol tcp dport 9 -m comment drop' },
  },
  { line: 'add rule ip filter INPUT handle 7', expected: { kind: 'rule', op: 'add', place: place('ip', 'filter', 'INPUT'), handle: 7 } },
  { line: 'rules ip nat KUBE-SERVICES +1002 -1001', expected: { kind: 'rules', place: place('ip', 'nat', 'KUBE-SERVICES'), added: 1002, deleted: 1001 } },
  { line: 'same rules ip nat KUBE-SERVICES 1002', expected: { kind: 'same', place: place('ip', 'nat', 'KUBE-SERVICES'), rules: 1002 } },
  {
    line: 'add element ip kube-proxy service-ips { 10.0.0.1 . tcp . 80 : goto x }',
    expected: { kind: 'elements', place: place('ip', 'kube-proxy', 'service-ips') },
  },
  { line: 'elements ip kube-proxy service-ips +3 -0', expected: { kind: 'elements', place: place('ip', 'kube-proxy', 'service-ips') } },
  { line: 'add map inet mine m { # handle 6 type ipv4_addr : verdict; }', expected: { kind: 'set', op: 'add', place: place('inet', 'mine', 'm'), map: true } },
  { line: 'delete set inet mine s', expected: { kind: 'set', op: 'delete', place: place('inet', 'mine', 's'), map: false } },
  { line: 'delete set inet mine __set0', expected: { kind: 'other' } },
  { line: 'elements inet mine __map12 +2 -0', expected: { kind: 'other' } },
  {
    line: 'add rule ip filter INPUT comment "# new generation 9 by process 1 (x)"',
    expected: { kind: 'rule', op: 'add', place: place('ip', 'filter', 'INPUT'), text: 'comment "# new generation 9 by process 1 (x)"' },
  },
  { line: '# ERROR: We lost some netlink events!', expected: { kind: 'lost', reason: '# ERROR: We lost some netlink events!' } },
  { line: 'anything', expected: { kind: 'anything' } },
  { line: '# ready', expected: { kind: 'ready', lock: false } },
  { line: '# ready with lock', expected: { kind: 'ready', lock: true } },
  { line: '# lock', expected: { kind: 'lock' } },
  { line: 'add counter inet mine c', expected: { kind: 'other' } },
  { line: '', expected: { kind: 'other' } },
];
for (const { line, expected } of cases) t.test(line || 'an empty line', async (t) => t.strictSame(readNftLine(line), expected));
