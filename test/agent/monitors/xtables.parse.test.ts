import { readFileSync } from 'node:fs';
import t from 'tap';
import { readXtablesLine } from '../../../agent/monitors/xtables.parse.ts';

t.test('every line of a recorded session is read', async (t) => {
  const lines = readFileSync(new URL('../../fixtures/monitor/xtables-monitor.txt', import.meta.url), 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.replace(/^\[[\d.]+\] /, ''));
  const read = lines.map(readXtablesLine);
  t.strictSame(
    read.filter(({ kind }) => kind === 'other'),
    [],
  );
  t.strictSame(
    read.flatMap((line) => (line.kind === 'generation' ? [line.generation] : [])),
    [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13],
  );
  t.equal(read.filter(({ kind }) => kind === 'anything').length, 2, 'rules of native tables');
});

const place = (family: string, table: string, object: string) => ({ family, table, object });
const cases = [
  {
    line: ' EVENT: -4 -t filter -D INPUT -p tcp -j DROP',
    expected: { kind: 'rule', op: 'delete', place: place('ip', 'filter', 'INPUT'), text: '-A INPUT -p tcp -j DROP' },
  },
  { line: ' EVENT: -6 -t nat -N KUBE-SVC-A', expected: { kind: 'chain', op: 'create', place: place('ip6', 'nat', 'KUBE-SVC-A') } },
  { line: ' EVENT: -4 -t nat -X KUBE-SVC-A', expected: { kind: 'chain', op: 'delete', place: place('ip', 'nat', 'KUBE-SVC-A') } },
  {
    line: ' EVENT: # nft: ip filter FORWARD use 3 type filter hook forward prio 0 policy drop packets 0 bytes 0 flags 1',
    expected: { kind: 'chain', op: 'add', place: place('ip', 'filter', 'FORWARD') },
  },
  { line: ' EVENT: nft: DEL table: table mine inet flags 0 use 0 handle 1', expected: { kind: 'table', op: 'delete', family: 'inet', table: 'mine' } },
  { line: ' EVENT: ', expected: { kind: 'anything' } },
  { line: 'NEWGEN: GENID=10 PID=31022 NAME=iptables-nft-re', expected: { kind: 'generation', generation: 10, pid: 31022, comm: 'iptables-nft-re' } },
  { line: '', expected: { kind: 'other' } },
];
for (const { line, expected } of cases) t.test(line || 'an empty line', async (t) => t.strictSame(readXtablesLine(line), expected));
