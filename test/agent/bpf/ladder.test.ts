import t from 'tap';
import type { HelloEvent } from '../../../agent/bpf/events.parse.ts';
import { ladderFact, type Probes, toldBy } from '../../../agent/bpf/ladder.ts';

const hello: HelloEvent = { kind: 'hello', kernel: '6.1', backends: 4096, drops: 'ok', exec: 'ok', callsBy: 'kprobe', calls: 'ok', netlink: 'ok' };
const there: Probes = { program: 'there', audit: { kind: 'not-asked' } };
const refused = (stage: string, code: string, reason = 'libbpf says so') => ({ ...there, refused: { kind: 'refused-start' as const, stage, code, reason } });

const cases: readonly { readonly name: string; readonly probes: Probes; readonly expected: object }[] = [
  { name: 'everything', probes: { ...there, hello }, expected: { outcome: 'facts', rung: 'everything', watch: 'events', reason: undefined } },
  {
    name: 'no hook for messages',
    probes: { ...there, hello: { ...hello, callsBy: 'tracepoint', netlink: 'kprobe: No such file or directory' } },
    expected: { outcome: 'facts', rung: 'everything', reason: /messages to ipset and IPVS are not seen \(kprobe/ },
  },
  {
    name: 'no tracefs',
    probes: { ...there, hello: { ...hello, callsBy: 'none', calls: 'tracefs: Operation not permitted', netlink: 'kprobe' } },
    expected: { outcome: 'facts', rung: 'drops and processes', watch: 'events', reason: /iptables-legacy are not seen \(tracefs: Operation not permitted\)/ },
  },
  {
    name: 'no BTF',
    probes: refused('btf', 'ENOENT'),
    expected: { outcome: 'failed', rung: 'monitors', watch: 'poll', reason: /no BTF: this kernel has no \/sys\/kernel\/btf\/vmlinux/ },
  },
  { name: 'no capability', probes: refused('load', 'EPERM'), expected: { rung: 'monitors', reason: /EPERM: loading needs CAP_BPF and CAP_PERFMON/ } },
  { name: 'another refusal', probes: refused('load', 'EINVAL'), expected: { rung: 'monitors', reason: /EINVAL: libbpf says so/ } },
  {
    name: 'audit instead',
    probes: { ...refused('load', 'EPERM'), audit: { kind: 'on' } },
    expected: { outcome: 'failed', rung: 'audit', watch: 'events', reason: /no eBPF: EPERM.*audit/ },
  },
  {
    name: 'no audit either',
    probes: { ...refused('load', 'EPERM'), audit: { kind: 'off', reason: 'auditing is off' } },
    expected: { rung: 'monitors', reason: /EPERM.*no audit: auditing is off/ },
  },
  { name: 'not built', probes: { ...there, program: 'missing' }, expected: { outcome: 'absent', rung: 'monitors', reason: /make build/ } },
  { name: 'ended', probes: { ...there, ended: 'ended by SIGKILL' }, expected: { outcome: 'failed', rung: 'monitors', reason: /ended by SIGKILL/ } },
  { name: 'not answered yet', probes: there, expected: { rung: 'monitors', reason: /has not answered yet/ } },
  { name: 'a flood', probes: { ...there, hello, flooded: true }, expected: { outcome: 'facts', rung: 'everything', reason: /skipped/ } },
];

for (const { name, probes, expected } of cases) t.test(name, async (t) => t.match(ladderFact(probes), { kind: 'source', key: 'source/ebpf', ...expected }));

t.test('what need not be read by the clock', async (t) => {
  const told = (probes: Probes): Record<string, string> => Object.fromEntries(toldBy(probes));
  t.strictSame(told({ ...there, hello }), { 'iptables-legacy': 'certain', ipset: 'mostly', ipvs: 'certain' });
  t.strictSame(told({ ...there, hello, flooded: true }), { 'iptables-legacy': 'mostly', ipset: 'mostly', ipvs: 'mostly' });
  t.strictSame(told({ ...there, hello: { ...hello, callsBy: 'tracepoint', netlink: 'no kprobes' } }), { 'iptables-legacy': 'certain' });
  t.strictSame(told({ ...there, hello: { ...hello, callsBy: 'none' } }), {});
  t.strictSame(told({ ...refused('load', 'EPERM'), audit: { kind: 'on' } }), { 'iptables-legacy': 'mostly' });
  t.strictSame(told({ ...there, hello, ended: 'ended by SIGKILL' }), {});
});
