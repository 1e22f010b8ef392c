import t from 'tap';
import type { ExecEvent } from '../../../agent/bpf/events.parse.ts';
import { Execs } from '../../../agent/bpf/execs.ts';
import { tools, wroteOf } from '../../../agent/bpf/tools.ts';
import { limits } from '../../../shared/limits.ts';
import { actorText } from '../../../shared/model/change.ts';

const exec = (given: Partial<ExecEvent>): ExecEvent => ({
  kind: 'exec',
  class: 'tool',
  at: 1_000,
  pid: 7,
  comm: 'iptables',
  file: '/usr/sbin/iptables',
  argv: ['iptables', '-P', 'FORWARD', 'DROP'],
  uid: 0,
  own: true,
  parents: [
    { pid: 6, comm: 'bash' },
    { pid: 5, comm: 'sshd' },
    { pid: 4, comm: 'sshd' },
    { pid: 1, comm: 'systemd' },
  ],
  cgroup: ['system.slice', 'ssh.service'],
  ...given,
});

t.test('a process of which pid and name are known gets all that its start has told', async (t) => {
  const execs = new Execs();
  execs.exec(exec({ loginUid: 1000 }));
  const actor = execs.complete({ pid: 7, comm: 'iptables', how: 'nft-generation' });
  t.strictSame(actor, {
    pid: 7,
    comm: 'iptables',
    argv: ['iptables', '-P', 'FORWARD', 'DROP'],
    parents: exec({}).parents,
    uid: 0,
    loginUid: 1000,
    unit: 'ssh.service',
    how: 'ebpf',
  });
  t.equal(actorText(actor), 'iptables -P FORWARD DROP, pid 7, by bash ← sshd, ssh.service');
});

t.test('a container is named by its control group', async (t) => {
  const execs = new Execs();
  const id = 'b'.repeat(64);
  execs.exec(exec({ cgroup: ['kubepods.slice', 'kubepods-pod1.slice', `cri-containerd-${id}.scope`] }));
  t.equal(execs.complete({ pid: 7, comm: 'iptables', how: 'ebpf' }).unit, 'container bbbbbbbbbbbb');
});

t.test('a process that has been several programs is the one of that name', async (t) => {
  const execs = new Execs();
  execs.exec(exec({ comm: 'ip', argv: ['ip', '-n', 'x', 'link', 'set', 'lo', 'up'] }));
  execs.exec(exec({ at: 1_001, comm: 'iptables', argv: ['iptables', '-F'] }));
  t.match(execs.complete({ pid: 7, comm: 'iptables', how: 'ebpf' }).argv, ['iptables', '-F']);
  t.match(execs.complete({ pid: 7, comm: 'ip', how: 'ebpf' }).argv, ['ip', '-n']);
  // Another program has the number now, or had it.
  t.strictSame(execs.complete({ pid: 7, comm: 'nft', how: 'nft-generation' }), { pid: 7, comm: 'nft', how: 'nft-generation' });
  t.strictSame(execs.complete({ pid: 8, comm: 'ip', how: 'nft-generation' }), { pid: 8, comm: 'ip', how: 'nft-generation' });
  t.strictSame(execs.complete({ how: 'api' }), { how: 'api' });
});

t.test('what an interpreter runs', async (t) => {
  const cases: readonly (readonly [readonly string[], boolean])[] = [
    [['bash', '/usr/sbin/ufw', 'enable'], true],
    [['python3', '-sP', '/usr/sbin/firewalld', '--nofork'], true],
    [['sh', '-c', 'iptables -F && echo done'], true],
    [['bash', '/root/backup.sh'], false],
    [['sh', '-c', 'echo iptablesque'], false],
    [['bash'], false],
  ];
  for (const [argv, expected] of cases) t.equal(wroteOf({ class: 'interpreter', comm: argv[0] as string, argv }).length > 0, expected, argv.join(' '));
});

t.test('a program that only looks is of no interest', async (t) => {
  const looks = [
    'iptables -L',
    'iptables -t nat -nvL',
    'iptables -w -S FORWARD',
    'ip6tables -C INPUT -j DROP',
    'iptables --version',
    'nft list ruleset',
    'nft -j list tables',
    'nft monitor',
    'ipset list',
    'ipset save',
    'ipset test a 10.0.0.1',
    'ipvsadm',
    'ipvsadm -Ln',
    'ipvsadm -S',
    'ip -j addr',
    'ip route show table all',
    'ip route get 10.0.0.1',
    'bridge fdb show',
    'conntrack -L',
    'conntrack -C',
    'sysctl net.ipv4.ip_forward',
    'sysctl -a',
    'ufw status verbose',
    'firewall-cmd --list-all',
    'nmcli device',
    'ifconfig eth0',
    'networkctl status',
  ];
  const changes = [
    'iptables -A INPUT -j DROP',
    'iptables -t nat -F',
    'iptables -I FORWARD 1 -j ACCEPT',
    'iptables-restore -w',
    'nft -f /etc/nftables.conf',
    'nft add table x',
    'nft flush ruleset',
    'ipset add a 10.0.0.1',
    'ipset restore',
    'ipset destroy',
    'ipvsadm -A -t 10.0.0.1:80',
    'ipvsadm -C',
    'ip addr del 10.0.0.1/24 dev eth0',
    'ip link set eth0 down',
    'ip -batch -',
    'ip route replace default via 10.0.0.1',
    'conntrack -D -p udp',
    'conntrack -F',
    'sysctl -w net.ipv4.ip_forward=0',
    'sysctl net.ipv4.ip_forward=0',
    'sysctl -p',
    'sysctl -qw a=1',
    'sysctl --system',
    'ufw allow 22',
    'ufw enable',
    'firewall-cmd --reload',
    'nmcli connection up eth0',
    'ifconfig eth0 down',
    'ifconfig eth0 10.0.0.1',
  ];
  const wrote = (line: string) => wroteOf({ class: 'tool', comm: line.split(' ')[0]?.slice(0, 15) as string, argv: line.split(' ') }).length > 0;
  t.strictSame(looks.filter(wrote), []);
  t.strictSame(
    changes.filter((line) => !wrote(line)),
    [],
  );
});

t.test('names are those that the kernel cuts', async (t) => {
  for (const name of tools.keys()) t.ok(name.length <= 15, name);
  t.strictSame(wroteOf({ class: 'tool', comm: 'iptables-restor', argv: [] }), ['legacy', 'nft']);
});

t.test('acts between two moments: those that were seen, and programs that ran', async (t) => {
  const execs = new Execs();
  execs.exec(exec({ at: 100, pid: 1, comm: 'ipset', argv: ['ipset', 'add', 's1', '10.0.0.1'] }));
  t.strictSame(execs.exit({ kind: 'exit', at: 150, pid: 1, comm: 'ipset' }), ['ipset']);
  t.strictSame(execs.exit({ kind: 'exit', at: 151, pid: 1, comm: 'ipset' }), [], 'it ends once');
  execs.exec(exec({ at: 200, pid: 2, comm: 'iptables-legacy' }));
  execs.replace({ kind: 'replace', what: 'ip', table: 'nat', result: 0, at: 210, pid: 2, comm: 'iptables-legacy', uid: 0, own: true });
  execs.replace({ kind: 'replace', what: 'ip', table: 'nat', result: -22, at: 211, pid: 2, comm: 'iptables-legacy', uid: 0, own: true });
  execs.netlink({ kind: 'netlink', what: 'rule', at: 220, pid: 9, comm: 'frr', uid: 3, own: true });
  t.match(execs.acts(0, 190), [{ wrote: 'ipset', exact: false, at: 150, actor: { how: 'exec-event', pid: 1 } }]);
  t.match(
    execs.acts(160, 300).filter(({ exact }) => exact),
    [
      { wrote: 'legacy', object: 'ip nat', at: 210, actor: { pid: 2, how: 'ebpf', argv: ['iptables'] } },
      { wrote: 'route', at: 220, actor: { pid: 9, comm: 'frr', uid: 3, how: 'ebpf' } },
    ],
  );
  t.strictSame(
    execs.acts(1_000, 2_000).filter(({ exact }) => exact),
    [],
  );
  t.match(execs.acts(1_000, 2_000), [{ actor: { pid: 2 }, at: 200 }], 'what still runs may still do it');
});

t.test('a change that audit has recorded', async (t) => {
  const execs = new Execs();
  const change = { kind: 'audited', at: 5, family: 'ip', pid: 3, comm: 'iptables-legacy', uid: 0, argv: ['iptables-legacy', '-F'] } as const;
  execs.audited({ ...change, operation: 'xt_replace', table: 'filter' });
  execs.audited({ ...change, operation: 'nft_register_rule', table: 'x', pid: 4, comm: 'nft' });
  t.match(execs.acts(0, 9), [{ wrote: 'legacy', object: 'ip filter', exact: true, actor: { how: 'audit', argv: ['iptables-legacy', '-F'] } }]);
  t.match(execs.complete({ pid: 4, comm: 'nft', how: 'nft-generation' }), { how: 'audit', uid: 0 });
});

for (const count of [limits.execsMax, limits.execsMax + 1]) {
  t.test(`${count} programs`, async (t) => {
    const execs = new Execs();
    for (let pid = 1; pid <= count; pid++) execs.exec(exec({ pid }));
    t.equal(execs.complete({ pid: 1, comm: 'iptables', how: 'ebpf' }).argv !== undefined, count <= limits.execsMax);
    t.ok(execs.complete({ pid: count, comm: 'iptables', how: 'ebpf' }).argv !== undefined);
  });
}
