// Packets that real rules, routes and sockets drop in real namespaces: what portreeve-bpf says of each.
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { buildNetwork, type Network } from './network.ts';
import { type Named, noBpf, Watching } from './program.ts';

const flood = fileURLToPath(new URL('./flood.program.ts', import.meta.url));
const tcp = (port: number) => ({ protocol: 'tcp' as const, to: `172.31.0.11:${port}` });
const tcp6 = (port: number) => ({ protocol: 'tcp' as const, to: `[fd00:31::11]:${port}` });
const udp = (port: number) => ({ protocol: 'udp' as const, to: `172.31.0.11:${port}` });

interface Case {
  readonly name: string;
  readonly port: number;
  readonly family?: 4 | 6;
  readonly protocol?: 'udp';
  readonly rules: readonly string[];
  readonly expected: { readonly [Key in keyof Named]?: Named[Key] | undefined };
}

const fromClient = { of: 'nodeport', own: true, client: '172.31.0.100', prefix: '172.31.0.0/24', device: 'eth0' } as const;
const fromClient6 = { ...fromClient, client: 'fd00:31::100', prefix: 'fd00:31::/64' } as const;

const cases: readonly Case[] = [
  {
    name: 'INPUT DROP of iptables-nft',
    port: 30080,
    rules: ['iptables-nft -A INPUT -p tcp --dport 30080 -j DROP'],
    expected: { ...fromClient, name: 'NETFILTER_DROP', flags: 'S', port: 30080, destination: '172.31.0.11' },
  },
  {
    name: 'INPUT DROP of ip6tables-nft',
    port: 30081,
    family: 6,
    rules: ['ip6tables-nft -A INPUT -p tcp --dport 30081 -j DROP'],
    expected: { ...fromClient6, name: 'NETFILTER_DROP', family: 6, destination: 'fd00:31::11' },
  },
  {
    name: 'INPUT DROP of iptables-legacy, UDP',
    port: 30082,
    protocol: 'udp',
    rules: ['iptables-legacy -A INPUT -p udp --dport 30082 -j DROP'],
    expected: { ...fromClient, name: 'NETFILTER_DROP', protocol: 'udp', flags: undefined },
  },
  {
    name: 'a native nft rule',
    port: 30083,
    rules: ['nft add table inet mine', 'nft add chain inet mine in { type filter hook input priority 5 ; }', 'nft add rule inet mine in tcp dport 30083 drop'],
    expected: { ...fromClient, name: 'NETFILTER_DROP' },
  },
  {
    name: 'raw PREROUTING, before conntrack',
    port: 30084,
    rules: ['iptables-nft -t raw -A PREROUTING -p tcp --dport 30084 -j DROP'],
    expected: { ...fromClient, name: 'NETFILTER_DROP' },
  },
  {
    name: 'REJECT',
    port: 30085,
    rules: ['iptables-nft -A INPUT -p tcp --dport 30085 -j REJECT'],
    expected: { ...fromClient, name: 'NETFILTER_DROP' },
  },
  { name: 'a closed TCP port', port: 30086, rules: [], expected: { ...fromClient, name: 'NO_SOCKET', flags: 'S' } },
  { name: 'a closed UDP port', port: 30087, protocol: 'udp', rules: [], expected: { ...fromClient, name: 'NO_SOCKET' } },
  { name: 'a closed TCP port, IPv6', port: 30088, family: 6, rules: [], expected: { ...fromClient6, name: 'NO_SOCKET' } },
  {
    name: 'DNAT, then FORWARD DROP: the NodePort comes from conntrack',
    port: 30089,
    rules: [
      'iptables-nft -t nat -A PREROUTING -p tcp --dport 30089 -j DNAT --to-destination 10.244.1.5:8080',
      'iptables-nft -A FORWARD -p tcp --dport 8080 -j DROP',
    ],
    expected: { ...fromClient, name: 'NETFILTER_DROP', port: 8080, backend: '10.244.1.5', destination: '10.244.1.5' },
  },
  {
    name: 'DNAT to a pod that is gone',
    port: 30090,
    rules: ['iptables-nft -t nat -A PREROUTING -p tcp --dport 30090 -j DNAT --to-destination 10.244.1.99:8081'],
    expected: { ...fromClient, device: 'pod0', name: 'NEIGH_FAILED', port: 8081, backend: '10.244.1.99' },
  },
  {
    name: "the pod's answer is dropped",
    port: 30091,
    rules: [
      'iptables-nft -t nat -A PREROUTING -p tcp --dport 30091 -j DNAT --to-destination 10.244.1.5:8082',
      'iptables-nft -A FORWARD -p tcp --sport 8082 -j DROP',
    ],
    expected: {
      of: 'reply',
      own: true,
      client: '172.31.0.100',
      prefix: '172.31.0.0/24',
      name: 'NETFILTER_DROP',
      port: 8082,
      backend: '10.244.1.5',
      device: 'pod0',
    },
  },
];

async function watchingNode(network: Network, words: readonly string[] = []): Promise<Watching> {
  const watching = new Watching(network.node, words);
  watching.send(...cases.map(({ port, family = 4, protocol = 'tcp' }) => `+ nodeport ${protocol} ${family} ${port}`));
  await watching.settled();
  return watching;
}

t.test('drops in the kernel', { skip: noBpf, timeout: 120_000 }, async (t) => {
  const network = await buildNetwork();
  t.teardown(() => network.close());
  await network.namespaces.start(network.pod, [process.execPath, '-e', 'require("net").createServer().listen(8082, () => console.log("ready"))'], {
    ready: /ready/,
  });
  for (const { rules } of cases) for (const rule of rules) await network.onNode(rule);
  const watching = await watchingNode(network);
  t.teardown(() => watching.close());
  const probes = cases.map(({ port, family, protocol }) => (protocol === 'udp' ? udp(port) : family === 6 ? tcp6(port) : tcp(port)));
  await network.meet(...probes, tcp(32_000));

  for (const { name, port, expected } of cases) {
    await t.test(name, async (t) => {
      const event = await watching.drop(({ nodePort }) => nodePort === port);
      t.match(event, expected);
      t.ok(event.count >= 1 && event.lastAt >= event.firstAt && Math.abs(Date.now() - event.firstAt) < 60_000);
    });
  }

  await t.test('a port that is no NodePort, and one that is a NodePort no more', async (t) => {
    t.strictSame(watching.drops(32_000), []);
    t.strictSame(
      watching.drops().filter(({ nodePort }) => nodePort === undefined),
      [],
    );
    watching.send('- nodeport tcp 4 30086', '+ nodeport tcp 4 30092');
    await watching.settled();
    const before = watching.drops(30_086).length;
    await network.meet(tcp(30_086), tcp(30_092));
    await watching.drop(({ nodePort }) => nodePort === 30_092);
    t.equal(watching.drops(30_086).length, before);
  });

  await t.test('a source that would be answered on another interface', async (t) => {
    watching.send('+ nodeport tcp 4 30093');
    await network.onNode('sysctl -q -w net.ipv4.conf.eth0.rp_filter=1');
    await network.onNode('ip route add 172.31.0.100/32 dev pod0');
    await watching.settled();
    await network.meet(tcp(30_093));
    t.match(await watching.drop(({ nodePort }) => nodePort === 30_093), { name: 'IP_RPFILTER', client: '172.31.0.100' });
    await network.onNode('ip route del 172.31.0.100/32 dev pod0');
    await network.onNode('sysctl -q -w net.ipv4.conf.eth0.rp_filter=0');
  });

  await t.test('a pod that does not listen: the packet ends in its own namespace, and with resets watched the client is seen to be refused', async (t) => {
    await network.onNode('iptables-nft -t nat -A PREROUTING -p tcp --dport 30094 -j DNAT --to-destination 10.244.1.5:9999');
    watching.send('+ nodeport tcp 4 30094', '+ backend tcp 10.244.1.5 9999', 'resets on');
    await watching.settled();
    t.match(await network.meet(tcp(30_094)), [{ outcome: 'refused' }]);
    const inPod = await watching.drop(({ of, port }) => of === 'backend' && port === 9_999);
    t.match(inPod, { own: false, name: 'NO_SOCKET', backend: '10.244.1.5', nodePort: undefined, flags: 'S' });
    const reset = await watching.drop(({ of, nodePort }) => of === 'reset' && nodePort === 30_094);
    t.match(reset, { own: true, backend: '10.244.1.5', client: '172.31.0.100', flags: 'RA', device: 'eth0', reason: undefined });
    watching.send('resets off', '- backend tcp 10.244.1.5 9999');
    await watching.settled();
    const before = watching.drops(30_094).length;
    await network.meet(tcp(30_094));
    await watching.settled();
    t.equal(watching.drops(30_094).length, before);
  });

  await t.test('what another namespace drops on its way to such an address is not ours; what the pod itself rejects is', async (t) => {
    const { namespaces } = network;
    // Another node with a pod of the same address.
    const [other, client] = [await namespaces.add('other'), await namespaces.add('stranger')];
    await namespaces.ip(other, [
      `link add eth0 type veth peer name eth0 netns ${client}`,
      'link add pod0 type bridge',
      'link set eth0 up',
      'link set pod0 up',
      'address add 203.0.113.1/24 dev eth0',
      'address add 10.244.1.1/24 dev pod0',
    ]);
    await namespaces.ip(client, ['link set eth0 up', 'address add 203.0.113.2/24 dev eth0', 'route add default via 203.0.113.1']);
    await namespaces.run(other, ['sysctl', '-q', '-w', 'net.ipv4.ip_forward=1']);
    await namespaces.run(other, ['iptables-nft', '-A', 'FORWARD', '-p', 'tcp', '--dport', '8084', '-j', 'DROP']);
    await namespaces.run(network.pod, ['iptables-nft', '-A', 'INPUT', '-p', 'tcp', '--dport', '8084', '-j', 'REJECT']);
    await network.onNode('iptables-nft -t nat -A PREROUTING -p tcp --dport 30097 -j DNAT --to-destination 10.244.1.5:8084');
    watching.send('+ nodeport tcp 4 30097', '+ backend tcp 10.244.1.5 8084');
    await watching.settled();
    const knock = ['-e', 'require("net").connect(8084, "10.244.1.5").on("error", () => {}).setTimeout(300, function () { this.destroy(); })'];
    await namespaces.run(client, [process.execPath, ...knock]);
    const dropped = await namespaces.run(other, ['iptables-nft', '-v', '-S', 'FORWARD', '1']);
    t.match(dropped.stdout, / -c [1-9]/, 'the other node has dropped a packet to that address');
    await network.meet(tcp(30_097));
    const inPod = await watching.drop(({ of, port }) => of === 'backend' && port === 8_084);
    t.match(inPod, { own: false, name: 'NETFILTER_DROP', client: '172.31.0.100' });
    t.strictSame(
      watching.drops().filter(({ client: from }) => from.startsWith('203.0.113.')),
      [],
    );
  });

  await t.test('a flood is counted whole and told of once a second', async (t) => {
    await network.onNode('iptables-nft -A INPUT -p udp --dport 30095 -j DROP');
    watching.send('+ nodeport udp 4 30095');
    await watching.settled();
    const start = Date.now();
    await network.namespaces.run(network.client, [process.execPath, flood, '172.31.0.11', '30095', '20000']);
    const last = await watching.wait((event) => event.kind === 'drop' && event.nodePort === 30_095 && event.count === 20_000);
    t.match(last, { prefix: '172.31.0.0/24' });
    const lines = watching.drops(30_095).length;
    t.ok(lines <= (Date.now() - start) / 900 + 2, `${lines} lines`);
    t.strictSame(
      watching.events.filter(({ kind }) => kind === 'lost'),
      [],
    );
  });

  await t.test('more networks than are told apart share one line', async (t) => {
    await network.onNode('iptables-nft -A INPUT -p udp --dport 30096 -j DROP');
    await network.namespaces.ip(
      network.client,
      Array.from({ length: 80 }, (_, i) => `address add 198.18.${i}.1/32 dev lo`),
    );
    watching.send('+ nodeport udp 4 30096');
    await watching.settled();
    await network.namespaces.run(network.client, [process.execPath, flood, '172.31.0.11', '30096', '80', '80']);
    const shared = await watching.wait((event) => event.kind === 'drop' && event.nodePort === 30_096 && event.prefix === undefined && event.count === 16);
    t.match(shared, { name: undefined, of: 'nodeport' });
    t.equal(new Set(watching.drops(30_096).map(({ prefix }) => prefix)).size, 65);
  });

  await t.test('commands that make no sense are refused with a reason', async (t) => {
    watching.send(
      '+ nodeport tcp 5 30080',
      '+ nodeport tcp 4 65536',
      '+ backend tcp nowhere 80',
      '+ tool 9 x',
      'resets maybe',
      'dance',
      `+ ${'x'.repeat(1_000)}`,
      '',
    );
    await watching.settled();
    t.match(
      watching.events.filter(({ kind }) => kind === 'refused'),
      [
        { line: '+ nodeport tcp 5 30080' },
        { line: '+ nodeport tcp 4 65536' },
        { reason: 'no address' },
        { line: '+ tool 9 x' },
        { line: 'resets maybe' },
        { reason: 'no such command' },
      ],
    );
  });

  await t.test('the end of stdin is the end', async (t) => {
    await watching.close();
    t.equal(watching.child.exitCode, 0);
  });
});

t.test('more backends than there is room for are refused', { skip: noBpf }, async (t) => {
  const network = await buildNetwork();
  t.teardown(() => network.close());
  const watching = await watchingNode(network, ['--backends', '2']);
  watching.send('+ backend tcp 10.0.0.1 1', '+ backend udp 10.0.0.1 1', '+ backend tcp fd00::1 1');
  await watching.settled();
  t.match(
    watching.events.filter(({ kind }) => kind === 'refused'),
    [{ line: '+ backend tcp fd00::1 1', reason: 'more backends than --backends' }],
  );
  await watching.close();
});
