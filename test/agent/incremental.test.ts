// What the observer knows by reading what transactions touched is what a whole dump of the kernel says, whatever was changed and by whom.
import { execFileSync } from 'node:child_process';
import t from 'tap';
import { thisMachine } from '../../agent/host/machine.ts';
import { Observer } from '../../agent/observer.ts';
import { nothingRead, readSources } from '../../agent/reader.ts';
import { ip6tables, iptables } from '../../agent/sources/iptables.ts';
import { nftables } from '../../agent/sources/nftables.ts';
import type { Change } from '../../shared/model/change.ts';
import type { HostFact } from '../../shared/model/fact.ts';
import { readNode } from '../../shared/netfilter/node.read.ts';
import { inNamespace } from './namespace.ts';
import { generator, textOf } from './rules.ts';

const sources = [iptables, ip6tables, nftables];
const host: HostFact = { kind: 'host', key: 'host/node', hostname: 'n1', kernel: '6', os: 'Linux', bootedAt: 0 };
const machine = thisMachine(new AbortController().signal);
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

const whole = async (): Promise<string> => {
  const { files } = await readSources(machine, sources, nothingRead);
  return textOf(readNode(files, { node: 'n1' }).tables);
};

async function tests(): Promise<void> {
  const notices: string[] = [];
  const changes: Change[] = [];
  let facts = new Map<string, unknown>();
  run('iptables-nft -A FORWARD -p tcp --dport 9 -j ACCEPT');
  const observer = new Observer({
    node: 'n1',
    host,
    machine,
    sources,
    onFacts: (now) => (facts = new Map(now)),
    onChanges: (now) => changes.push(...now),
    onNotice: (text, details) => notices.push(`${text} ${JSON.stringify(details)}`),
  });
  t.teardown(() => observer.close());
  await observer.start();
  await sleep(1_500);
  notices.length = 0;
  const settled = async (): Promise<string> => {
    let known = '';
    for (let i = 0; i < 200; i++) {
      await sleep(50);
      const now = textOf(observer.node?.tables ?? []);
      if (now === known && i > 4) break;
      known = now;
    }
    return known;
  };
  const agree = async (t: { equal(a: unknown, b: unknown, name: string): unknown }, name: string) => {
    for (let i = 0; i < 5; i++) if ((await settled()) === (await whole())) break;
    t.equal(await settled(), await whole(), name);
  };

  for (const [name, commands] of scripts) {
    await t.test(name, async (t) => {
      for (const command of commands) run(command);
      await agree(t, name);
    });
  }

  await t.test('single chains were read for single changes', async (t) => {
    run('ip6tables-nft -A FORWARD -j ACCEPT');
    await agree(t, 'a table to begin with');
    notices.length = 0;
    for (const command of [
      'iptables-nft -I FORWARD 2 -j LOG',
      'ip6tables-nft -A INPUT -j ACCEPT',
      'nft add rule inet mine input tcp dport 7 drop',
      'nft add element inet mine ports { 4711 }',
    ]) {
      // One by one: of two in one burst it depends on the machine whether reading everything costs less.
      run(command);
      await agree(t, command);
    }
    t.strictSame(notices, []);
  });

  await t.test('a rule that came and went at once is told', async (t) => {
    const from = changes.length;
    run('iptables-nft -I FORWARD -p tcp --dport 4711 -j DROP', 'iptables-nft -D FORWARD -p tcp --dport 4711 -j DROP');
    for (let i = 0; i < 100 && changes.length < from + 2; i++) await sleep(50);
    const told = changes.slice(from).filter(({ before, after }) => /dport 4711/.test(before ?? after ?? ''));
    t.equal(told.length, 2);
    t.match(told, [
      { after: /dport 4711/, actor: { comm: 'iptables-nft' } },
      { before: /dport 4711/, after: null, actor: { comm: 'iptables-nft' } },
    ]);
  });

  await t.test('a rule that was taken out and put back at once is told', async (t) => {
    run('iptables-nft -I FORWARD -p tcp --dport 4712 -j ACCEPT');
    await agree(t, 'it stands');
    const from = changes.length;
    run('iptables-nft -D FORWARD -p tcp --dport 4712 -j ACCEPT', 'iptables-nft -I FORWARD -p tcp --dport 4712 -j ACCEPT');
    for (let i = 0; i < 100 && changes.length < from + 2; i++) await sleep(50);
    const told = changes.slice(from).filter(({ before, after }) => /dport 4712/.test(before ?? after ?? ''));
    t.match(told, [
      { before: /dport 4712/, after: null, actor: { comm: 'iptables-nft' } },
      { before: null, after: /dport 4712.*put back after/, actor: { comm: 'iptables-nft' } },
    ]);
  });

  await t.test('random edits', async (t) => {
    const random = generator(Number(process.env.SEED ?? 7));
    for (let burst = 0; burst < 12; burst++) {
      for (let i = 0; i < 12; i++) tryRun(randomCommand(random));
      await agree(t, `burst ${burst}`);
    }
  });

  await t.test('events have missed nothing', async (t) => {
    observer.readSoon(['iptables', 'ip6tables', 'nftables']);
    await sleep(2_500);
    for (const name of ['iptables', 'ip6tables', 'nftables']) t.match(facts.get(`source/${name}`), { outcome: 'facts', missed: undefined }, name);
  });
}

function run(...commands: readonly string[]): void {
  for (const command of commands) {
    const [program, ...args] = command.split(' ');
    const [input] = /<<(.*)/s.exec(command)?.slice(1) ?? [];
    if (input === undefined) execFileSync(program as string, args, { stdio: 'pipe' });
    else
      execFileSync(
        program as string,
        args.slice(
          0,
          args.findIndex((word) => word.startsWith('<<')),
        ),
        { stdio: ['pipe', 'pipe', 'pipe'], input },
      );
  }
}

function tryRun(command: string): void {
  try {
    run(command);
  } catch {
    // Deletes what is not there, or what is still referred to.
  }
}

const scripts: readonly (readonly [string, readonly string[]])[] = [
  [
    'a rule, an insert, a replacement',
    [
      'iptables-nft -A FORWARD -s 10.0.0.0/8 -j DROP',
      'iptables-nft -I FORWARD 1 -p udp --dport 53 -j ACCEPT',
      'iptables-nft -R FORWARD 2 -p tcp --dport 10 -j ACCEPT',
    ],
  ],
  ['a policy, back and forth', ['iptables-nft -P FORWARD DROP', 'iptables-nft -P INPUT DROP', 'iptables-nft -P INPUT ACCEPT']],
  [
    'chains that come, are used, renamed and go',
    [
      'iptables-nft -N ONE',
      'iptables-nft -A ONE -j RETURN',
      'iptables-nft -A FORWARD -j ONE',
      'iptables-nft -E ONE TWO',
      'iptables-nft -N THREE',
      'iptables-nft -X THREE',
    ],
  ],
  [
    'comments and quotes',
    [
      'iptables-nft-restore --noflush <<*filter\n:Q - [0:0]\n-A Q -m comment --comment "a -c 1 2 \\"b\\" -j X" -j RETURN\n-A Q -m comment --comment -c\nCOMMIT\n',
    ],
  ],
  ['a table that comes', ['iptables-nft -t raw -A PREROUTING -p tcp --dport 1 -j DROP', 'ip6tables-nft -t mangle -A FORWARD -j ACCEPT']],
  [
    'a restore of several tables',
    [
      'iptables-nft-restore --noflush <<*nat\n:KUBE-SVC-A - [0:0]\n:KUBE-SEP-B - [0:0]\n-A KUBE-SVC-A -m statistic --mode random --probability 0.5 -j KUBE-SEP-B\n-A KUBE-SEP-B -p tcp -j DNAT --to-destination 10.0.0.1:80\n-A PREROUTING -j KUBE-SVC-A\nCOMMIT\n*filter\n:EXTRA - [0:0]\n-A EXTRA -j DROP\nCOMMIT\n',
    ],
  ],
  [
    'the same again',
    [
      'iptables-nft-restore --noflush <<*nat\n:KUBE-SVC-A - [0:0]\n:KUBE-SEP-B - [0:0]\n-A KUBE-SVC-A -m statistic --mode random --probability 0.5 -j KUBE-SEP-B\n-A KUBE-SEP-B -p tcp -j DNAT --to-destination 10.0.0.1:80\nCOMMIT\n',
    ],
  ],
  ['another endpoint', ['iptables-nft-restore --noflush <<*nat\n:KUBE-SEP-B - [0:0]\n-A KUBE-SEP-B -p tcp -j DNAT --to-destination 10.0.0.2:80\nCOMMIT\n']],
  [
    'a flush of everything in a table',
    ['iptables-nft-restore <<*nat\n:PREROUTING ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n-A POSTROUTING -j MASQUERADE\nCOMMIT\n'],
  ],
  [
    'a native table',
    [
      'nft add table inet mine',
      'nft add set inet mine ports { type inet_service; }',
      'nft add map inet mine ways { type inet_service : verdict; }',
      'nft add chain inet mine other',
      'nft add chain inet mine input { type filter hook input priority 5; }',
      'nft add rule inet mine input tcp dport @ports drop',
      'nft add rule inet mine input tcp dport vmap @ways',
      'nft add element inet mine ports { 80, 443 }',
      'nft add element inet mine ways { 22 : jump other }',
    ],
  ],
  [
    'its policy, a chain renamed, a set that goes',
    [
      'nft add chain inet mine input { policy drop; }',
      'nft rename chain inet mine other another',
      'nft add set inet mine gone { type inet_service; }',
      'nft delete set inet mine gone',
      'nft insert rule inet mine input tcp dport { 1, 2 } accept',
      'nft flush chain inet mine another',
    ],
  ],
  [
    "kube-proxy's table, with names as it gives them",
    [
      'nft add table ip kube-proxy',
      'nft add chain ip kube-proxy service-ABCD-shop/web/tcp/http',
      'nft add rule ip kube-proxy service-ABCD-shop/web/tcp/http drop',
      'nft add map ip kube-proxy service-nodeports { type inet_proto . inet_service : verdict; }',
      'nft add element ip kube-proxy service-nodeports { tcp . 30080 : goto service-ABCD-shop/web/tcp/http }',
    ],
  ],
  [
    "a set in a table of iptables, which then is nft's alone",
    ['nft add set ip filter blocked { type ipv4_addr; }', 'nft add rule ip filter INPUT ip saddr @blocked drop'],
  ],
  [
    'and not any more',
    [
      'nft flush ruleset',
      'iptables-nft -A FORWARD -j ACCEPT',
      'nft add table inet mine',
      'nft add set inet mine ports { type inet_service; }',
      'nft add chain inet mine input { type filter hook input priority 5; }',
    ],
  ],
];

function randomCommand(random: (bound: number) => number): string {
  const one = <Some>(list: readonly Some[]): Some => list[random(list.length)] as Some;
  const tool = one(['iptables-nft', 'iptables-nft', 'ip6tables-nft']);
  const chain = one(['INPUT', 'FORWARD', 'A', 'B', 'C']);
  const rule = `-p tcp --dport ${random(9) + 1} -j ${one(['DROP', 'ACCEPT', 'A', 'B', 'C'])}`;
  const native = one(['x', 'y', 'z']);
  return one([
    () => `${tool} -A ${chain} ${rule}`,
    () => `${tool} -A ${chain} ${rule}`,
    () => `${tool} -I ${chain} ${random(3) + 1} ${rule}`,
    () => `${tool} -D ${chain} ${random(3) + 1}`,
    () => `${tool} -R ${chain} ${random(3) + 1} ${rule}`,
    () => `${tool} -N ${chain}`,
    () => `${tool} -F ${chain}`,
    () => `${tool} -X ${chain}`,
    () => `${tool} -P ${one(['INPUT', 'FORWARD'])} ${one(['DROP', 'ACCEPT'])}`,
    () =>
      `iptables-nft-restore --noflush <<*filter\n:${one(['A', 'B'])} - [0:0]\n:C - [0:0]\n-A C ${rule.replace(/-j \S+/, '-j RETURN')}\n-A C -j ACCEPT\nCOMMIT\n`,
    () => `nft add chain inet mine ${native}`,
    () => `nft add rule inet mine ${native} tcp dport ${random(9)} drop`,
    () => `nft delete chain inet mine ${native}`,
    () => `nft ${one(['add', 'delete'])} element inet mine ports { ${random(5)} }`,
    () => `nft add rule inet mine input tcp dport @ports jump ${native}`,
    () => `nft flush chain inet mine ${one([native, 'input'])}`,
  ])();
}

await inNamespace(t, { purpose: 'incremental', file: import.meta.url, timeoutMs: 180_000, tests });
