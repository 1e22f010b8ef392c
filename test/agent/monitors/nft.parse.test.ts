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

const cases = [
  { line: '# new generation 10 by process 31022 (iptables-nft-re)', expected: { kind: 'generation', generation: 10, pid: 31022, comm: 'iptables-nft-re' } },
  { line: '# new generation 3 by process 7 (a (b) c)', expected: { kind: 'generation', generation: 3, pid: 7, comm: 'a (b) c' } },
  { line: 'add table inet mine', expected: { kind: 'touched', object: { family: 'inet', table: 'mine' } } },
  {
    line: 'add chain ip filter INPUT { type filter hook input priority filter; policy drop; }',
    expected: { kind: 'touched', object: { family: 'ip', table: 'filter', object: 'INPUT' } },
  },
  {
    line: 'insert rule ip filter FORWARD tcp dport 8080 counter packets 0 bytes 0 drop',
    expected: { kind: 'touched', object: { family: 'ip', table: 'filter', object: 'FORWARD' } },
  },
  { line: 'delete rule ip filter INPUT handle 2', expected: { kind: 'touched', object: { family: 'ip', table: 'filter', object: 'INPUT' } } },
  {
    line: 'add element ip kube-proxy service-ips { 10.0.0.1 . tcp . 80 : goto x }',
    expected: { kind: 'touched', object: { family: 'ip', table: 'kube-proxy', object: 'service-ips' } },
  },
  {
    line: 'add rule ip filter INPUT comment "# new generation 9 by process 1 (x)"',
    expected: { kind: 'touched', object: { family: 'ip', table: 'filter', object: 'INPUT' } },
  },
  { line: '# ERROR: We lost some netlink events!', expected: { kind: 'lost' } },
  { line: '', expected: { kind: 'other' } },
];
for (const { line, expected } of cases) t.test(line || 'an empty line', async (t) => t.match(readNftLine(line), expected));
