// Sources on the real tools and the real kernel, in a network namespace: what they read is what was set.
import { execFileSync, spawn } from 'node:child_process';
import { createServer, type Server } from 'node:net';
import t from 'tap';
import { thisMachine } from '../../../agent/host/machine.ts';
import { monitorSockets } from '../../../agent/monitors/sockets.ts';
import { Observer } from '../../../agent/observer.ts';
import { nothingRead, readSources } from '../../../agent/reader.ts';
import { flows } from '../../../agent/sources/flows.ts';
import { interfaces } from '../../../agent/sources/interfaces.ts';
import { ip6tables, iptables } from '../../../agent/sources/iptables.ts';
import { kernel } from '../../../agent/sources/kernel.ts';
import { listeners } from '../../../agent/sources/listeners.ts';
import { neighbours } from '../../../agent/sources/neighbours.ts';
import { nftables } from '../../../agent/sources/nftables.ts';
import { offloads } from '../../../agent/sources/offloads.ts';
import { podSockets } from '../../../agent/sources/pod-sockets.ts';
import { processes } from '../../../agent/sources/processes.ts';
import { routes } from '../../../agent/sources/routes.ts';
import type { Source } from '../../../agent/sources/source.ts';
import { tools } from '../../../agent/sources/tools.ts';
import type { Fact } from '../../../shared/model/fact.ts';
import { nodeFacts, nothingWanted } from '../../../shared/netfilter/facts.ts';
import { readNode } from '../../../shared/netfilter/node.read.ts';
import { inNamespace } from '../namespace.ts';

const machine = thisMachine(new AbortController().signal);
const factOf = (facts: readonly Fact[], key: string): Fact | undefined => facts.find((fact) => fact.key === key);

/** A program that listens on addresses and says so. */
const listen = (sockets: readonly (readonly [string, number])[]): string =>
  `const net=require("net");let n=${sockets.length};for(const [h,p] of ${JSON.stringify(sockets)}) net.createServer().listen({host:h,port:p,ipv6Only:true},()=>{if(--n===0)console.log("up")})`;

const sh = (script: string) => execFileSync('bash', ['-ec', script], { stdio: ['ignore', 'pipe', 'pipe'] }).toString();

await inNamespace(t, {
  purpose: 'sources',
  file: import.meta.url,
  timeoutMs: 120_000,
  tests: async () => {
    await t.test('both backends, native chains in a table of iptables, and a table of its own', async (t) => {
      sh(`iptables -t mangle -A INPUT -p tcp --dport 98 -j DROP; iptables-legacy -A INPUT -p tcp --dport 97 -j DROP
        nft add chain ip mangle y '{ type filter hook input priority -10; }'; nft add rule ip mangle y tcp dport 99 drop
        nft add table inet mine; nft add chain inet mine c '{ type filter hook forward priority 0; }'`);
      const readings = await readSources(machine, [tools, iptables, ip6tables, nftables], nothingRead);
      t.match([...readings.outcomes.values()], [{ outcome: 'facts' }, { outcome: 'facts' }, { outcome: 'facts' }, { outcome: 'facts' }]);
      t.match(JSON.parse(readings.files.get('tools.json')?.toString() ?? ''), {
        iptables: [{ command: 'iptables-save', origin: 'host', version: /^\d+\.\d+\.\d+$/ }, { backend: 'legacy' }, { backend: 'nf_tables' }],
        versions: { nft: /^\d/, ip: /^\d/, ss: /^\d/, conntrack: /^\d/ },
      });
      const node = readNode(readings.files);
      t.strictSame(
        node.issues.filter(({ file }) => file !== 'iptables-save.txt'),
        [],
      );
      t.strictSame(
        node.tables.map(({ backend, family, name, chains }) => [
          backend,
          family,
          name,
          [...chains.values()].filter(({ length }) => length > 0 || backend === 'nft').map((chain) => chain.name),
        ]),
        [
          ['iptables-nft', 'ip', 'mangle', ['INPUT']],
          ['legacy', 'ip', 'filter', ['INPUT']],
          ['nft', 'ip', 'mangle', ['y']],
          ['nft', 'inet', 'mine', ['c']],
        ],
      );
      sh('nft flush ruleset; iptables-legacy -F');
    });
    await t.test('a tunnel whose entries are whole, and broken', async (t) => {
      sh(`ip link add under type veth peer name under2; ip addr add 192.0.2.1/24 dev under; ip link set under up; ip link set under2 up
        ip link add flannel.1 type vxlan id 1 dstport 8472 local 192.0.2.1 dev under nolearning; ip link set flannel.1 up; ip addr add 10.244.1.0/32 dev flannel.1
        ip route add default via 192.0.2.254
        for n in 2 3 4; do ip route add 10.244.$n.0/24 via 10.244.$n.0 dev flannel.1 onlink; done
        ip neigh add 10.244.2.0 lladdr 02:00:00:00:00:02 dev flannel.1 nud permanent; bridge fdb append 02:00:00:00:00:02 dev flannel.1 dst 192.0.2.2
        ip neigh add 10.244.3.0 lladdr 02:00:00:00:00:03 dev flannel.1 nud permanent`);
      const read = async () => nodeFacts(readNode((await readSources(machine, [interfaces, routes, neighbours, offloads], nothingRead)).files), nothingWanted);
      const facts = await read();
      t.strictSame(factOf(facts, 'tunnel/flannel.1'), {
        kind: 'tunnel',
        key: 'tunnel/flannel.1',
        device: 'flannel.1',
        hops: 3,
        broken: { '10.244.3.0': 'no node is known behind 02:00:00:00:00:03 (bridge fdb)', '10.244.4.0': 'no neighbour entry' },
      });
      const ethtool = sh('command -v ethtool || true') !== '';
      if (!ethtool) t.pass('offloads are not tested: ethtool is not installed');
      else t.match(factOf(facts, 'interface/flannel.1'), { type: 'vxlan', offloads: { 'tx-checksum-ip-generic': true } });
      if (ethtool) sh('ethtool -K flannel.1 tx-checksum-ip-generic off >/dev/null');
      if (ethtool) t.match(factOf(await read(), 'interface/flannel.1'), { offloads: { 'tx-checksum-ip-generic': false } });
      sh('ip link del flannel.1; ip link del under');
    });
    await t.test('hairpin of bridge ports, and a text that stays the same', async (t) => {
      sh('ip link add br0 type bridge; ip link set br0 up; ip link add v0 type veth peer name v1; ip link set v0 master br0 up; ip link set v1 up; sleep 2');
      const read = async () => await readSources(machine, [interfaces], nothingRead);
      const first = await read();
      t.match(factOf(nodeFacts(readNode(first.files), nothingWanted), 'interface/v0'), { master: 'br0', type: 'veth', hairpin: false });
      sh('sleep 1.2');
      const second = await read();
      const plain = (readings: typeof first) =>
        readings.files
          .get('ip-addr.json')
          ?.toString()
          .replaceAll(/,"tentative":true/g, '');
      t.equal(plain(second), plain(first));
      sh('bridge link set dev v0 hairpin on');
      t.match(factOf(nodeFacts(readNode((await read()).files), nothingWanted), 'interface/v0'), { hairpin: true });
      sh('ip link del br0; ip link del v0');
    });
    await t.test('sockets of this node, and of a pod in a namespace of its own', async (t) => {
      const own = spawn(
        process.execPath,
        [
          '-e',
          listen([
            ['0.0.0.0', 18080],
            ['::', 18081],
          ]),
        ],
        { stdio: ['pipe', 'pipe', 'inherit'] },
      );
      const pod = spawn(
        'unshare',
        [
          '-n',
          'sh',
          '-c',
          `ip link set lo up; ip link add eth0 type veth peer name e1; ip link set e1 up; ip addr add 10.199.77.5/24 dev eth0; ip link set eth0 up; exec "${process.execPath}" -e '${listen(
            [
              ['0.0.0.0', 8080],
              ['127.0.0.1', 9090],
            ],
          )}'`,
        ],
        { stdio: ['pipe', 'pipe', 'inherit'] },
      );
      t.teardown(() => [own, pod].map((child) => child.kill('SIGKILL')));
      await Promise.all([own, pod].map((child) => new Promise((resolve) => child.stdout.once('data', resolve))));
      // Others on this machine may have namespaces too: a few are looked at in each reading.
      const all = async (on: typeof machine, sources: readonly Source[]) => {
        let readings = await readSources(on, sources, nothingRead);
        for (let tries = 0; tries < 40 && readings.outcomes.get('pod-sockets')?.lacks !== undefined; tries++)
          readings = await readSources(on, sources, readings);
        return readings;
      };
      const readings = await all(machine, [listeners, podSockets]);
      const facts = nodeFacts(readNode(readings.files), nothingWanted);
      t.match(factOf(facts, 'listener/tcp/4/*/18080'), { processes: [{ pid: own.pid }] });
      t.match(factOf(facts, 'listener/tcp/6/*/18081'), { processes: [{ pid: own.pid }] });
      t.strictSame(factOf(facts, 'podlisten/10.199.77.5'), {
        kind: 'pod-sockets',
        key: 'podlisten/10.199.77.5',
        address: '10.199.77.5',
        ports: ['tcp/8080'],
        loopbackPorts: ['tcp/9090'],
      });
      // Without CAP_SYS_ADMIN nobody enters a namespace: the kernel's lists say the same.
      const bare = { ...machine, run: async () => ({ kind: 'missing' as const }) };
      const listed = nodeFacts(readNode((await all(bare, [podSockets])).files), nothingWanted);
      t.strictSame(factOf(listed, 'podlisten/10.199.77.5'), factOf(facts, 'podlisten/10.199.77.5'));
      // The kernel's own list of sockets names the same listeners as ss.
      const ports = (all: readonly Fact[]) =>
        all
          .filter(({ kind }) => kind === 'listener')
          .map(({ key }) => key.replace(/^listener\/tcp\/4\/\*\/18081$/, ''))
          .filter((key) => key !== '')
          .sort();
      t.strictSame(ports(nodeFacts(readNode((await readSources(bare, [listeners], nothingRead)).files), nothingWanted)), ports(facts));
    });
    await t.test('processes with hostile names, and those that end while they are read', async (t) => {
      const directory = t.testdir({});
      // A name may hold spaces, newlines and escapes; only those of a list are read, so the list is asked for one that is on it.
      sh(`cp "$(readlink -f "$(command -v sleep)")" "${directory}/keepalived"`);
      const child = spawn(`${directory}/keepalived`, ['30'], { argv0: 'keep\u001b[31m\nalive', stdio: 'ignore' });
      t.teardown(() => child.kill('SIGKILL'));
      const churn = spawn('sh', ['-c', 'while :; do /bin/true; done'], { stdio: 'ignore' });
      t.teardown(() => churn.kill('SIGKILL'));
      for (let round = 0; round < 20; round++) {
        const reading = await processes.read(machine, new Map());
        t.equal(reading.outcome, 'facts');
        const entries = JSON.parse(reading.outcome === 'facts' ? (reading.files.get('processes.json')?.toString() ?? '[]') : '[]') as readonly {
          readonly pid: number;
          readonly argv: readonly string[];
        }[];
        if (round === 19)
          t.match(
            entries.find(({ pid }) => pid === child.pid),
            { comm: 'keepalived', argv: ['keep\u001b[31m\nalive', '30'], startedAt: Number },
          );
      }
    });
    await t.test('stale connections of UDP, from the table and from the list of the kernel', async (t) => {
      sh(
        `ip link add under type veth peer name under2; ip link set under2 up; ip addr add 192.0.2.1/24 dev under; ip link set under up; ip addr add 192.0.2.5/24 dev under
        iptables -t nat -A OUTPUT -p udp -d 192.0.2.1 --dport 30999 -j DNAT --to-destination 192.0.2.5:53
        echo x > /dev/udp/192.0.2.1/30999`,
      );
      const readings = await readSources(machine, [interfaces, flows], nothingRead);
      const wanted = { ...nothingWanted, nodePorts: [{ protocol: 'udp' as const, family: 4 as const, port: 30999 }] };
      t.match(factOf(nodeFacts(readNode(readings.files), wanted), 'flows/udp/4/30999'), { targets: { '192.0.2.5:53': { count: 1, unanswered: Number } } });
      const listed = await flows.read({ ...machine, run: async () => ({ kind: 'missing' as const }) }, readings.files);
      t.equal(listed.outcome === 'facts' ? listed.files.get('conntrack.txt')?.toString() : '', readings.files.get('conntrack.txt')?.toString());
      sh('ip link del under; nft flush ruleset');
    });
    await t.test('this kernel has what the modes of kube-proxy need that run on it', async (t) => {
      sh('iptables -N KUBE-SERVICES');
      const readings = await readSources(machine, [kernel, iptables], nothingRead);
      sh('nft flush ruleset');
      if (readings.outcomes.get('kernel')?.lacks !== undefined) return t.pass('this kernel does not say what it could load');
      t.match(factOf(nodeFacts(readNode(readings.files), nothingWanted), 'kernel'), { missing: [] });
    });
    await t.test('a comment that looks like a rule decides nothing, and nothing is taken for what it is not', async (t) => {
      sh(`iptables -A INPUT -m comment --comment $'a\\n-A INPUT -j ACCEPT' -j DROP; iptables -A INPUT -m comment --comment $'\\033[31mred' -j DROP`);
      const reading = await iptables.read(machine, new Map());
      sh('nft flush ruleset');
      const node = readNode(reading.outcome === 'facts' ? reading.files : new Map());
      const chain = node.tables[0]?.chains.get('INPUT');
      const steps = Array.from({ length: chain?.length ?? 0 }, (_, index) => chain?.rule(index).steps.map(({ kind }) => kind));
      // Both halves of the torn line are in doubt, and the rule after them is read as it is.
      t.strictSame(steps, [['may', 'unknown'], ['may', 'unknown'], ['drop']]);
    });
    await t.test('the end of a socket is heard, until too many end', async (t) => {
      const heard: string[] = [];
      const monitor = monitorSockets(
        { onChange: (wake) => heard.push(wake), onUncertain: () => heard.push('started'), onEnd: (reason) => heard.push(reason) },
        50,
      );
      t.teardown(() => monitor.close());
      await new Promise((resolve) => setTimeout(resolve, 400));
      const open = async () =>
        await new Promise<Server>((resolve) => {
          const server = createServer().listen(0, '127.0.0.1', () => resolve(server));
        });
      const until = async (what: RegExp) => {
        for (let tries = 0; tries < 100 && !heard.some((each) => what.test(each)); tries++) await new Promise((resolve) => setTimeout(resolve, 20));
        return heard.find((each) => what.test(each));
      };
      (await open()).close();
      t.equal(await until(/listener/), 'listener');
      t.equal(monitor.running, true);
      for (let count = 0; count < 60; count++) (await open()).close();
      t.match(await until(/ended within/), /more than 50 sockets ended within 10 s: they are not followed for 300 s/);
      t.equal(monitor.running, false);
    });
    await t.test('a source that failed is read again within seconds, though no event says that it may', async (t) => {
      // Its first reading, and the one after the monitor of links has started, find it ill.
      let reads = 0;
      const flaky: Source = {
        name: 'flaky',
        needs: { commands: [], capabilities: [] },
        files: ['flaky.txt'],
        wakes: ['link'],
        pollMs: () => undefined,
        read: async () =>
          ++reads <= 2 ? { outcome: 'failed', reason: 'not now' } : { outcome: 'facts', files: new Map([['flaky.txt', Buffer.from('x')]]), commands: {} },
      };
      const seen: unknown[] = [];
      const observer = new Observer({
        node: 'node1',
        machine,
        host: { kind: 'host', key: 'host/node', hostname: 'n', kernel: '6', os: 'x', bootedAt: 0 },
        sources: [flaky],
        onFacts: (facts) => seen.push(facts.get('source/flaky')),
        onChanges: () => undefined,
        onNotice: () => undefined,
      });
      t.teardown(() => observer.close());
      await observer.start();
      t.match(seen[0], { outcome: 'failed', reason: 'not now' });
      for (let tries = 0; tries < 300 && reads < 3; tries++) await new Promise((resolve) => setTimeout(resolve, 50));
      await new Promise((resolve) => setTimeout(resolve, 100));
      t.match(seen.at(-1), { outcome: 'facts' });
      t.match(observer.status(), [{ name: 'flaky', outcome: 'facts', readAt: Number }]);
    });
  },
});
