import fc from 'fast-check';
import t from 'tap';
import { type AuditedChange, type AuditRecord, addRecord, readAuditLine } from '../../../agent/bpf/audit.parse.ts';

// Printed by `portreeve-bpf audit` on Linux 6.1 with audit=1, where iptables-legacy, nft and iptables-nft changed rules.
const captured = [
  '{"ev":"audit","type":1325,"serial":8,"at":1795818769102,"text":"table=filter family=2 entries=4 op=xt_replace pid=91 subj=unconfined comm=\\"iptables-legacy\\""}',
  '{"ev":"audit","type":1300,"serial":8,"at":1795818769102,"text":"arch=c000003e syscall=54 success=yes exit=0 a0=4 a1=0 a2=40 a3=5650a6931270 items=0 ppid=1 pid=91 auid=4294967295 uid=0 gid=0 euid=0 suid=0 fsuid=0 egid=0 sgid=0 fsgid=0 tty=(none) ses=4294967295 comm=\\"iptables-legacy\\" exe=\\"/usr/sbin/iptables-legacy\\" subj=unconfined key=(null)"}',
  '{"ev":"audit","type":1327,"serial":8,"at":1795818769102,"text":"proctitle=69707461626C65732D6C6567616379002D4100464F5257415244002D7000756470002D2D64706F7274003533002D6A0044524F50"}',
  '{"ev":"audit","type":1325,"serial":9,"at":1795818769286,"text":"table=x:2 family=1 entries=1 op=nft_register_table pid=95 subj=unconfined comm=\\"nft\\""}',
  '{"ev":"audit","type":1327,"serial":9,"at":1795818769286,"text":"proctitle=\\"nft\\""}',
];

function changesOf(lines: readonly string[]): AuditedChange[] {
  const pending = new Map<number, AuditedChange>();
  return lines.flatMap((line) => {
    const record = readAuditLine(line);
    if (record.kind !== 'record') return [];
    const { change, complete } = addRecord(pending.get(record.serial), record);
    if (change !== undefined) pending.set(record.serial, change);
    return complete && change !== undefined ? [change] : [];
  });
}

t.test('records of one event become one change', async (t) => {
  t.strictSame(changesOf(captured), [
    {
      kind: 'audited',
      at: 1795818769102,
      operation: 'xt_replace',
      table: 'filter',
      family: 'ip',
      pid: 91,
      comm: 'iptables-legacy',
      parentPid: 1,
      uid: 0,
      argv: ['iptables-legacy', '-A', 'FORWARD', '-p', 'udp', '--dport', '53', '-j', 'DROP'],
    },
    { kind: 'audited', at: 1795818769286, operation: 'nft_register_table', table: 'x', family: 'inet', pid: 95, comm: 'nft', argv: ['nft'] },
  ]);
});

t.test('a login is told, and a name with blanks comes as hexadecimal digits', async (t) => {
  const [change] = changesOf([
    '{"ev":"audit","type":1325,"serial":1,"at":5,"text":"table=nat:7 family=10 entries=1 op=nft_unregister_rule pid=7 comm=612062"}',
    '{"ev":"audit","type":1300,"serial":1,"at":5,"text":"ppid=3 auid=1000 uid=0"}',
    '{"ev":"audit","type":1327,"serial":1,"at":5,"text":"proctitle=\\"a\\""}',
  ]);
  t.match(change, { comm: 'a b', family: 'ip6', table: 'nat', loginUid: 1000, parentPid: 3 });
});

t.test('records without the one that says what changed are nothing', async (t) => t.strictSame(changesOf(captured.slice(1, 3)), []));

t.test('other lines', async (t) => {
  t.strictSame(readAuditLine('{"ev":"audit-hello","enabled":true}'), { kind: 'audit-hello', enabled: true });
  t.match(readAuditLine('{"ev":"refused-start","stage":"audit","code":"","reason":"auditing is off"}'), { kind: 'refused-start', stage: 'audit' });
  t.match(readAuditLine('{"ev":"audit","type":1}'), { kind: 'garbage' });
  t.match(readAuditLine('{"ev":"audit'), { kind: 'garbage' });
});

t.test('no text of a record throws', async (t) => {
  fc.assert(
    fc.property(fc.string(), fc.constantFrom(1300, 1325, 1327), (text, type) => {
      const record = readAuditLine(JSON.stringify({ ev: 'audit', type, serial: 1, at: 1, text })) as AuditRecord;
      t.equal(record.kind, 'record');
      addRecord(addRecord(undefined, record).change, record);
    }),
    { numRuns: 200 },
  );
});
