// The agent as a process in a network namespace, with the real tools, against a collector in the same namespace. The file runs itself again inside.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import t from 'tap';
import { filesOfArchive } from '../../shared/archive.ts';
import { nodeFacts, nothingWanted } from '../../shared/netfilter/facts.ts';
import { readNode } from '../../shared/netfilter/node.read.ts';
import { noBpf } from './bpf/program.ts';
import { inNamespace } from './namespace.ts';
import { Peer, type ReceivedChange } from './peer.ts';

const timeoutMs = 120_000;
/** With eBPF everybody who does something has arguments and parents; without it, nft names a process. */
const ebpf = noBpf === false;

const run = (command: string, ...args: string[]): string => execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

interface Running {
  readonly child: ChildProcess;
  stop(): Promise<number | null>;
  readonly log: () => string;
}

function startAgent(url: string): Running {
  const program = fileURLToPath(new URL('./agent.program.ts', import.meta.url));
  const child = spawn(process.execPath, [program, url], { stdio: ['ignore', 'ignore', 'pipe'] });
  let log = '';
  child.stderr.on('data', (chunk: Buffer) => {
    log += chunk.toString();
  });
  const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
  const stop = () => {
    child.kill('SIGTERM');
    return ended;
  };
  return { child, log: () => log, stop };
}

const seen = (peer: Peer, expected: Partial<ReceivedChange>) => (): ReceivedChange | undefined =>
  peer.changes.find((change) => Object.entries(expected).every(([key, value]) => change[key as keyof ReceivedChange] === value));

async function tests(): Promise<void> {
  run('iptables', '-A', 'FORWARD', '-j', 'ACCEPT');
  const peer = await Peer.start();
  const agent = startAgent(peer.url);
  t.teardown(async () => {
    await agent.stop();
    await peer.close();
  });
  await peer.wait(() => peer.facts.get('source/iptables'), 10_000);
  // Until the monitors have subscribed, nothing is told.
  await new Promise((resolve) => setTimeout(resolve, 1_500));

  await t.test('the first reading is the state and no change', async (t) => {
    t.match(peer.hellos, [{ node: 'node1', acknowledged: 0 }]);
    t.strictSame(peer.changes, []);
    for (const source of ['iptables', 'ip6tables', 'nftables', 'interfaces', 'routes', 'sysctls', 'listeners', 'processes']) {
      t.match(peer.facts.get(`source/${source}`), { outcome: 'facts' }, source);
    }
    t.match(peer.facts.get('source/iptables'), { watch: 'events' });
    t.match(peer.facts.get('source/listeners'), { watch: 'poll' });
    t.match(peer.facts.get('host/node'), { kind: 'host', kernel: /\d/ });
    t.match(peer.facts.get('interface/lo'), { addresses: ['127.0.0.1/8', '::1/128'] });
  });

  await t.test('a rule, with the process that made it', async (t) => {
    const start = Date.now();
    run('iptables', '-I', 'FORWARD', '-p', 'tcp', '--dport', '8080', '-j', 'DROP');
    const change = await peer.wait(seen(peer, { subject: 'ip filter FORWARD', kind: 'rule' }), 2_000);
    t.match(change, {
      before: null,
      after: '-A FORWARD -p tcp -m tcp --dport 8080 -j DROP',
      node: 'node1',
      owner: 'admin',
      actor: ebpf
        ? { comm: 'iptables', how: 'ebpf', argv: ['iptables', '-I', 'FORWARD'], parents: [{ pid: process.pid }], uid: 0 }
        : { comm: 'iptables', how: 'nft-generation' },
    });
    t.ok((change.actor?.pid ?? 0) > 0);
    t.ok(Math.abs(change.at - start) < 2_000);
    run('iptables', '-D', 'FORWARD', '-p', 'tcp', '--dport', '8080', '-j', 'DROP');
    const gone = await peer.wait(seen(peer, { subject: 'ip filter FORWARD', after: null }), 2_000);
    t.equal(gone.before, '-A FORWARD -p tcp -m tcp --dport 8080 -j DROP');
  });

  await t.test('a policy', async (t) => {
    run('iptables', '-P', 'FORWARD', 'DROP');
    t.match(await peer.wait(seen(peer, { kind: 'policy' }), 2_000), {
      subject: 'ip filter FORWARD',
      before: '-P FORWARD ACCEPT',
      after: '-P FORWARD DROP',
      actor: { comm: 'iptables' },
    });
    run('iptables', '-P', 'FORWARD', 'ACCEPT');
  });

  await t.test('an IPv6 rule', async (t) => {
    run('ip6tables', '-A', 'INPUT', '-p', 'tcp', '--dport', '9', '-j', 'REJECT');
    t.match(await peer.wait(seen(peer, { subject: 'ip6 filter INPUT' }), 2_000), { kind: 'rule', after: /--dport 9 / });
  });

  await t.test('a native table', async (t) => {
    run('nft', 'add table inet mine { chain in { type filter hook input priority 5; tcp dport 1 drop; }; }');
    t.match(await peer.wait(seen(peer, { subject: 'inet mine in' }), 2_000), {
      kind: 'chain',
      before: null,
      after: /tcp dport 1 drop/,
      actor: { comm: 'nft' },
    });
    run('nft', 'delete', 'table', 'inet', 'mine');
    t.match(await peer.wait(seen(peer, { subject: 'inet mine', after: null }), 2_000), { kind: 'table', actor: { comm: 'nft' } });
  });

  await t.test('a table of iptables with a native base chain: both programs show a part of it', async (t) => {
    run('nft', 'add chain ip filter early { type filter hook input priority -5; }');
    t.match(await peer.wait(seen(peer, { subject: 'ip filter early' }), 3_000), { before: null, actor: { comm: 'nft' } });
    run('nft', 'add rule ip filter early tcp dport 11 drop');
    t.match(await peer.wait(seen(peer, { subject: 'ip filter early', kind: 'rule' }), 3_000), { after: /tcp dport 11 drop/ });
    run('iptables', '-A', 'FORWARD', '-p', 'tcp', '--dport', '12', '-j', 'DROP');
    t.match(await peer.wait(() => peer.changes.find(({ after }) => after?.includes('--dport 12')), 3_000), { subject: 'ip filter FORWARD', kind: 'rule' });
    run('nft', 'delete chain ip filter early');
    await peer.wait(seen(peer, { subject: 'ip filter early', after: null }), 3_000);
    run('iptables', '-A', 'FORWARD', '-p', 'tcp', '--dport', '13', '-j', 'DROP');
    t.match(await peer.wait(() => peer.changes.find(({ after }) => after?.includes('--dport 13')), 3_000), { subject: 'ip filter FORWARD', kind: 'rule' });
    t.equal(peer.changes.filter(({ after }) => /--dport 1[123]/.test(after ?? '')).length, 2, 'nothing is told twice');
    t.notOk(
      peer.changes.some(({ kind, subject }) => kind === 'table' && subject === 'ip filter'),
      'the table is the same',
    );
  });

  await t.test('a legacy rule: its process is known by eBPF alone', async (t) => {
    run('iptables-legacy', '-A', 'FORWARD', '-p', 'udp', '--dport', '53', '-j', 'DROP');
    const first = await peer.wait(seen(peer, { subject: 'ip filter FORWARD (legacy)' }), 6_000);
    t.match(first, { kind: 'rule', after: '-A FORWARD -p udp -m udp --dport 53 -j DROP' });
    t.match(
      first.actor,
      ebpf ? { comm: 'iptables-legacy', how: 'ebpf', argv: ['iptables-legacy', '-A', 'FORWARD'], parents: [{ pid: process.pid }] } : undefined,
    );
  });

  await t.test('a set, and a setting of a command: their processes are known by eBPF alone', { skip: noBpf }, async (t) => {
    run('ipset', 'create', 'blocked', 'hash:ip');
    run('ipset', 'add', 'blocked', '192.0.2.66');
    const created = await peer.wait(seen(peer, { subject: 'ipset blocked', kind: 'set' }), 3_000);
    t.match(created.actor, { comm: 'ipset', argv: ['ipset', /create|add/, 'blocked'], uid: 0 });
    run('sysctl', '-q', '-w', 'net.ipv4.conf.all.route_localnet=1');
    const set = await peer.wait(seen(peer, { subject: 'net.ipv4.conf.all.route_localnet' }), 3_000);
    t.match(set, { before: '0', after: '1', actor: { comm: 'sysctl', argv: ['sysctl', '-q', '-w', 'net.ipv4.conf.all.route_localnet=1'] } });
  });

  await t.test('how much eBPF sees is a fact', async (t) => {
    t.match(peer.facts.get('source/ebpf'), ebpf ? { outcome: 'facts', rung: 'everything', watch: 'events' } : { rung: 'monitors', reason: /./ });
  });

  await t.test('a setting', async (t) => {
    writeFileSync('/proc/sys/net/ipv4/ip_forward', '1');
    t.match(await peer.wait(seen(peer, { subject: 'net.ipv4.ip_forward' }), 4_000), { kind: 'sysctl', before: '0', after: '1' });
    t.match(await peer.wait(() => peer.facts.get('sysctl/net.ipv4.ip_forward')), { value: '1' });
  });

  await t.test('an address and its route', async (t) => {
    run('ip', 'link', 'add', 'eth7', 'type', 'veth', 'peer', 'name', 'eth8');
    run('ip', 'link', 'set', 'eth8', 'up');
    run('ip', 'link', 'set', 'eth7', 'up');
    await peer.wait(seen(peer, { kind: 'interface', subject: 'interface eth7', after: 'up' }), 2_000);
    run('ip', 'addr', 'add', '192.0.2.7/24', 'dev', 'eth7');
    t.match(await peer.wait(() => peer.changes.find(({ kind, after }) => kind === 'address' && after?.includes('192.0.2.7/24')), 2_000), {
      subject: 'interface eth7',
      ...(ebpf ? { actor: { comm: 'ip', argv: ['ip', 'addr', 'add', '192.0.2.7/24', 'dev', 'eth7'] } } : {}),
    });
    t.match(await peer.wait(seen(peer, { kind: 'route', subject: 'route 192.0.2.0/24' }), 2_000), { before: null, after: /dev eth7/ });
    t.match(await peer.wait(() => peer.facts.get('interface/eth7')), { up: true });
  });

  await t.test('a listener', async (t) => {
    const server = createServer().listen(30080, '127.0.0.1');
    t.match(await peer.wait(seen(peer, { kind: 'listener', subject: 'tcp 127.0.0.1:30080' }), 40_000), { before: null });
    server.close();
    t.match(await peer.wait(seen(peer, { kind: 'listener', subject: 'tcp 127.0.0.1:30080', after: null }), 40_000), { before: /\w/ });
  });

  await t.test('NodePorts that the collector wants are judged', async (t) => {
    peer.send({ type: 'want', nodePorts: [{ protocol: 'tcp', family: 4, port: 30081 }], peers: [], podNetworks: [] });
    t.match(await peer.wait(() => peer.facts.get('nodeport/tcp/4/30081'), 2_000), { kind: 'nodeport', claimed: { by: 'none' } });
  });

  await t.test('a capture is sent on request', async (t) => {
    peer.send({ type: 'capture', id: 'c1' });
    const parts = await peer.wait(() => {
      const found = peer.messages.filter((message) => message.type === 'captured');
      return found.at(-1)?.last === true ? found : undefined;
    }, 20_000);
    t.strictSame(
      parts.map(({ part, error }) => [part, error]),
      parts.map((_, index) => [index, undefined]),
    );
    const files = filesOfArchive(gunzipSync(Buffer.concat(parts.map(({ content }) => Buffer.from(content ?? '', 'base64')))));
    t.match(JSON.parse(files?.get('capture.json')?.toString() ?? ''), { node: 'node1', sources: [{ name: 'processes' }] });
    const facts = nodeFacts(readNode(files ?? new Map()), nothingWanted);
    t.ok(facts.length > 0, 'it is read as any capture is');
    peer.send({ type: 'capture', id: 'c2' });
    t.match(await peer.wait(() => peer.messages.find((message) => message.type === 'captured' && message.id === 'c2'), 2_000), { error: /ask again/ });
  });

  await t.test('a packet is walked on the live rules', async (t) => {
    peer.send({ type: 'trace', id: 't1', packet: { src: '198.51.100.1', dst: '192.0.2.7', proto: 'tcp', dport: '30081' } });
    const answer = await peer.wait(() => peer.messages.find((message) => message.type === 'traced'), 2_000);
    t.match(answer, { id: 't1', result: { verdict: 'refused' } });
    peer.send({ type: 'trace', id: 't2', packet: { src: 'nonsense', dst: '192.0.2.7', dport: '1' } });
    t.match(await peer.wait(() => peer.messages.find((message) => message.type === 'traced' && message.id === 't2'), 2_000), { error: /^src nonsense/ });
    peer.send({ type: 'trace', id: 't3', packet: { dst: '192.0.2.7', dport: '30081' } });
    const drawn = await peer.wait(() => peer.messages.find((message) => message.type === 'traced' && message.id === 't3'), 2_000);
    t.match(
      drawn,
      { result: { verdict: 'refused', graph: { packet: 'external: every source → 192.0.2.7:30081/tcp', verdict: 'refused' } } },
      'clients as in the facts',
    );
    peer.send({ type: 'trace', id: 't4', packet: { dst: '192.0.2.7', dport: '30081', vantage: 'peer' } });
    t.match(await peer.wait(() => peer.messages.find((message) => message.type === 'traced' && message.id === 't4'), 2_000), {
      error: 'src is missing, and this node knows no clients of the vantage peer',
    });
  });

  await t.test('a nonsensical frame ends the connection and nothing else', async (t) => {
    const before = peer.hellos.length;
    peer.sendRaw('{"type":"want","nodePorts":"all"}');
    await peer.wait(() => peer.messages.find((message) => message.type === 'error' && message.code === 'FRAME_INVALID'), 2_000);
    await peer.wait(() => peer.hellos.length > before || undefined, 3_000);
    t.match(await peer.wait(() => peer.facts.get('source/iptables')), { outcome: 'facts' });
  });

  await t.test('a monitor that is killed is started again', async (t) => {
    const pid = run('pgrep', '-P', String(agent.child.pid), '-f', '^(nft -a monitor|.*/portreeve-watch)').trim();
    process.kill(Number(pid), 'SIGKILL');
    await peer.wait(() => agent.log().includes('a monitor ended') || undefined, 2_000);
    run('iptables', '-A', 'OUTPUT', '-p', 'tcp', '--dport', '7', '-j', 'DROP');
    t.match(await peer.wait(seen(peer, { subject: 'ip filter OUTPUT' }), 6_000), { after: /--dport 7 / });
    const gaps = peer.changes.filter(({ kind }) => kind === 'gap');
    t.match(gaps, [{ gap: { reason: 'watch-overrun' }, subject: 'events of the kernel', before: null, after: /was started: of \d+\.\d s/ }]);
    t.ok(gaps.every(({ gap }) => gap !== undefined && gap.from <= gap.to && gap.to <= Date.now()));
  });

  await t.test('changes are numbered without a hole', async (t) => {
    t.strictSame(
      peer.changes.map(({ seq }) => seq),
      peer.changes.map((_, i) => i + 1),
    );
    t.strictSame(peer.malformed, []);
  });

  await t.test('memory', async (t) => {
    const status = readFileSync(`/proc/${agent.child.pid}/status`, 'utf8');
    const rss = Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024;
    t.comment(`RSS ${rss.toFixed(0)} MB`);
    t.ok(rss < 200);
  });

  await t.test('SIGTERM ends it, and its monitors with it', async (t) => {
    t.equal(await agent.stop(), 0);
    t.match(agent.log(), /agent stopped/);
    t.throws(() => run('pgrep', '-P', String(agent.child.pid)));
  });
}

await inNamespace(t, { purpose: 'agent', file: import.meta.url, timeoutMs, tests });
