import fc from 'fast-check';
import t from 'tap';
import { type BpfEvent, readBpfLine } from '../../../agent/bpf/events.parse.ts';

// Lines that portreeve-bpf printed on Linux 6.18, 6.1 and 5.10.
const lines: readonly { readonly line: string; readonly expected: Partial<BpfEvent> }[] = [
  {
    line: '{"ev":"hello","version":1,"kernel":"6.18.44","netns":4026531833,"backends":4096,"drops":"ok","exec":"ok","callsBy":"tracepoint","calls":"ok","netlink":"kprobe of netlink_unicast: No such file or directory"}',
    expected: {
      kind: 'hello',
      kernel: '6.18.44',
      backends: 4096,
      drops: 'ok',
      exec: 'ok',
      callsBy: 'tracepoint',
      calls: 'ok',
      netlink: 'kprobe of netlink_unicast: No such file or directory',
    },
  },
  {
    line: '{"ev":"refused-start","stage":"load","code":"EPERM","reason":"libbpf: failed to load object"}',
    expected: { kind: 'refused-start', stage: 'load', code: 'EPERM', reason: 'libbpf: failed to load object' },
  },
  {
    line: '{"ev":"drop","kind":"nodeport","reason":0,"place":"nf_hook_slow","protocol":"tcp","family":4,"nodePort":30080,"port":30080,"prefix":"127.0.0.0/24","netns":4026531992,"own":true,"device":"lo","ifindex":1,"arrivedOn":1,"client":"127.0.0.1","clientPort":47918,"destination":"127.0.0.1","flags":"S","count":1,"firstAt":1795818846797,"lastAt":1795818846797}',
    expected: {
      kind: 'drop',
      of: 'nodeport',
      reason: 0,
      place: 'nf_hook_slow',
      protocol: 'tcp',
      family: 4,
      nodePort: 30080,
      port: 30080,
      prefix: '127.0.0.0/24',
      own: true,
      netns: 4026531992,
      device: 'lo',
      client: '127.0.0.1',
      destination: '127.0.0.1',
      flags: 'S',
      count: 1,
      firstAt: 1795818846797,
      lastAt: 1795818846797,
    },
  },
  {
    line: '{"ev":"exec","class":"tool","at":1795818185819,"pid":9162,"comm":"ip","file":"/usr/sbin/ip","uid":0,"loginUid":1000,"netns":4026531833,"own":true,"parents":[{"pid":9158,"comm":"bash"},{"pid":1,"comm":"init"}],"cgroup":["system.slice","ssh.service"],"argv":["ip","link","show","lo\\u001b"]}',
    expected: {
      kind: 'exec',
      class: 'tool',
      at: 1795818185819,
      pid: 9162,
      comm: 'ip',
      file: '/usr/sbin/ip',
      uid: 0,
      loginUid: 1000,
      own: true,
      parents: [
        { pid: 9158, comm: 'bash' },
        { pid: 1, comm: 'init' },
      ],
      cgroup: ['system.slice', 'ssh.service'],
      argv: ['ip', 'link', 'show', 'lo\u001b'],
    },
  },
  { line: '{"ev":"exit","at":1795818185820,"pid":9162,"comm":"ip","code":0}', expected: { kind: 'exit', at: 1795818185820, pid: 9162, comm: 'ip' } },
  {
    line: '{"ev":"replace","what":"ip","table":"filter","result":-22,"at":1795818846571,"pid":83,"uid":0,"comm":"iptables-legacy","own":true}',
    expected: { kind: 'replace', what: 'ip', table: 'filter', result: -22, at: 1795818846571, pid: 83, uid: 0, comm: 'iptables-legacy', own: true },
  },
  {
    line: '{"ev":"netlink","protocol":12,"type":1545,"message":"0200000005000100070000000700020073310000180007800c000180080001400a0000010800094000000000","count":1,"at":1795818792454,"pid":107,"uid":0,"comm":"ipset","own":true}',
    expected: { kind: 'netlink', what: 'ipset', object: 's1', at: 1795818792454, pid: 107, uid: 0, comm: 'ipset', own: true },
  },
  {
    line: '{"ev":"netlink","protocol":16,"type":32,"message":"010100005400018006000100020000000600020006000000140003007f000001","count":1,"at":1795818792671,"pid":113,"uid":0,"comm":"ipvsadm","own":true}',
    expected: { kind: 'netlink', what: 'ipvs', at: 1795818792671, pid: 113, uid: 0, comm: 'ipvsadm', own: true },
  },
  {
    line: '{"ev":"netlink","protocol":12,"type":258,"message":"00000000","count":1,"at":1795818792985,"pid":122,"uid":0,"comm":"conntrack","own":true}',
    expected: { kind: 'netlink', what: 'conntrack', at: 1795818792985, pid: 122, uid: 0, comm: 'conntrack', own: true },
  },
  { line: '{"ev":"netlink-more","protocol":0,"subject":24,"pid":7,"count":9}', expected: { kind: 'netlink-more', what: 'route', pid: 7 } },
  { line: '{"ev":"lost","events":3,"lines":0}', expected: { kind: 'lost', events: 3, lines: 0 } },
  { line: '{"ev":"pong","id":"1"}', expected: { kind: 'pong', id: '1' } },
  { line: '{"ev":"refused","line":"dance","reason":"no such command"}', expected: { kind: 'refused', line: 'dance', reason: 'no such command' } },
];

for (const { line, expected } of lines) t.test(line.slice(0, 60), async (t) => t.strictSame(readBpfLine(line), expected));

const groups = [
  [16, 'link'],
  [19, 'link'],
  [20, 'address'],
  [21, 'address'],
  [24, 'route'],
  [25, 'route'],
  [32, 'rule'],
  [33, 'rule'],
] as const;
for (const [type, what] of groups) {
  t.test(`message ${type} of rtnetlink`, async (t) =>
    t.match(readBpfLine(`{"ev":"netlink","protocol":0,"type":${type},"message":"","count":1,"at":1,"pid":1,"uid":0,"comm":"ip","own":true}`), {
      kind: 'netlink',
      what,
    }),
  );
}

t.test('what is no event is garbage with a reason, and never thrown', async (t) => {
  for (const line of [
    '',
    '{',
    'null',
    '[]',
    '7',
    '{}',
    '{"ev":"drop"}',
    '{"ev":"exec","parents":[null]}',
    '{"ev":"hello","version":1}',
    '{"ev":"netlink","protocol":9,"type":1}',
  ]) {
    const read = readBpfLine(line);
    t.match(read, { kind: 'garbage', reason: /./ }, line);
  }
  fc.assert(
    fc.property(fc.nat(lines.length - 1), fc.nat(400), fc.string({ maxLength: 3 }), (which, at, put) => {
      const { line } = lines[which] as (typeof lines)[number];
      const changed = line.slice(0, at) + put + line.slice(at + put.length);
      t.ok(typeof readBpfLine(changed).kind === 'string');
    }),
    { numRuns: 500 },
  );
  fc.assert(fc.property(fc.json(), (line) => typeof readBpfLine(line).kind === 'string'));
});
