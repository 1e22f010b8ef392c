// kube-proxy's own word: from real HTTP on a loopback port, from configuration files of every distribution, and from those that lie in its container.
import { spawn } from 'node:child_process';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import t from 'tap';
import { inodeOf } from '../../../agent/host/files.ts';
import type { Machine } from '../../../agent/host/machine.ts';
import { thisMachine } from '../../../agent/host/machine.ts';
import { listedArguments, settingsOf } from '../../../agent/sources/proxy.config.parse.ts';
import { addressesOf, healthText, metricsText } from '../../../agent/sources/proxy.parse.ts';
import { proxyConfig, proxyMetrics } from '../../../agent/sources/proxy.ts';
import { holdersOf } from '../../../agent/sources/xtables-lock.parse.ts';
import { lockHolder } from '../../../agent/sources/xtables-lock.ts';
import { nodeFacts, nothingWanted } from '../../../shared/netfilter/facts.ts';
import { readNode } from '../../../shared/netfilter/node.read.ts';
import { type SourceCase, scriptedMachine, testSources } from './machine.ts';

const running = (comm: string, ...argv: string[]) => ({ 'processes.json': JSON.stringify([{ pid: 77, comm, argv: [comm, ...argv] }]) });
const files = (texts: Readonly<Record<string, string>>) => new Map(Object.entries(texts).map(([name, text]) => [name, Buffer.from(text)]));

const metrics = [
  '# HELP go_goroutines x',
  'go_goroutines 12',
  'kubernetes_build_info{build_date="x",git_version="v1.30.5",major="1"} 1',
  'kubeproxy_sync_proxy_rules_last_timestamp_seconds 1.7e+09',
  'kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds 1.7e+09',
  'kubeproxy_sync_proxy_rules_iptables_restore_failures_total 2',
  'kubeproxy_sync_proxy_rules_duration_seconds_sum 3',
  '',
].join('\n');

t.test('health and metrics of a running one, of a sick one, of one that is gone', async (t) => {
  let answer: { status: number; body: string } = {
    status: 200,
    body: '{"lastUpdated": "2026-01-01T00:00:00Z","currentTime": "2026-01-01T00:00:00Z", "nodeEligible": true}',
  };
  const server = createServer((request, response) => {
    if (request.url === '/metrics') response.end(metrics);
    else if (request.url === '/healthz') response.writeHead(answer.status).end(answer.body);
    else response.writeHead(404).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const known = files(running('kube-proxy', `--metrics-bind-address=127.0.0.1:${port}`, `--healthz-bind-address=0.0.0.0:${port}`));
  const machine = scriptedMachine(t.testdir({}), {});
  const read = async () => {
    const reading = await proxyMetrics.read(machine, known);
    return reading.outcome === 'facts' ? Object.fromEntries([...reading.files].map(([name, content]) => [name, content.toString()])) : reading;
  };
  const well = await read();
  t.strictSame(well, {
    'kube-proxy-metrics.txt':
      'kubernetes_build_info{build_date="x",git_version="v1.30.5",major="1"} 1\nkubeproxy_sync_proxy_rules_last_timestamp_seconds 1.7e+09\nkubeproxy_sync_proxy_rules_last_queued_timestamp_seconds 1.7e+09\nkubeproxy_sync_proxy_rules_iptables_restore_failures_total 2\n',
    'kube-proxy-health.txt': 'healthz = ok\nnode-eligible = true\n',
  });
  const facts = nodeFacts(readNode(files({ ...(well as Record<string, string>), ...running('kube-proxy') })), nothingWanted);
  t.match(
    facts.find(({ kind }) => kind === 'proxy'),
    { version: 'v1.30.5', health: 'ok', sync: { restoreFailures: 2 } },
  );
  answer = { status: 503, body: '{"lastUpdated": "x","currentTime": "y", "nodeEligible": false}\u001b[31m' };
  t.match(await read(), { 'kube-proxy-health.txt': 'healthz = 503 {"nodeEligible": false}?[31m\nnode-eligible = false\n' });
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  t.strictSame(await read(), { 'kube-proxy-health.txt': 'healthz = nobody listens\n' });
});

t.test('a service that does not end its answer, and one that sends too much', async (t) => {
  const server = createServer((request, response) => {
    response.write('kubeproxy_');
    if (request.url === '/metrics') return;
    response.destroy();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const known = files(running('kube-proxy', `--metrics-bind-address=127.0.0.1:${port}`, `--healthz-bind-address=127.0.0.1:${port}`));
  const reading = await proxyMetrics.read(scriptedMachine(t.testdir({}), {}), known);
  t.match(reading, { outcome: 'facts', unread: /\/metrics: no answer within 2000 ms/ });
  t.match(reading.outcome === 'facts' ? reading.files.get('kube-proxy-health.txt')?.toString() : '', /^healthz = (?!ok)/);
  server.closeAllConnections();
  server.close();
});

const kubeadm = `apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection:
  kubeconfig: /var/lib/kube-proxy/kubeconfig.conf
clusterCIDR: 10.244.0.0/16
metricsBindAddress: ""
mode: "ipvs"
nodePortAddresses:
- 192.0.2.0/24
- primary
ipvs:
  strictARP: true
iptables:
  masqueradeAll: false
`;
const k3s =
  'token: top-secret\nflannel-backend: wireguard-native\ndisable-network-policy: true\nkube-proxy-arg:\n- "proxy-mode=nftables"\n- --nodeport-addresses=primary\n';

const cases: readonly SourceCase[] = [
  { name: 'none runs', source: proxyConfig, expected: { outcome: 'absent', reason: 'no kube-proxy is seen on this node' } },
  {
    name: 'flags alone',
    source: proxyConfig,
    known: running('kube-proxy', '--proxy-mode=iptables'),
    expected: { outcome: 'absent', reason: /its flags say all/ },
  },
  {
    name: 'a file in its container',
    source: proxyConfig,
    known: running('kube-proxy', '--config=/var/lib/kube-proxy/config.conf'),
    files: { '/proc/77/root/var/lib/kube-proxy/config.conf': kubeadm },
    read: ['kube-proxy-config.txt'],
    expected: { outcome: 'facts' },
    texts: {
      'kube-proxy-config.txt':
        '# /var/lib/kube-proxy/config.conf 05f4589f\ncluster-cidr = 10.244.0.0/16\nmetrics-bind-address = \nproxy-mode = ipvs\nnodeport-addresses = 192.0.2.0/24,primary\nmasquerade-all = false\nipvs-strict-arp = true\n',
    },
  },
  {
    name: 'its container is closed to us',
    source: proxyConfig,
    known: running('kube-proxy', '--config', '/c'),
    denied: ['/proc/77/root/c'],
    expected: { outcome: 'failed', reason: '/c: permission denied' },
  },
  {
    name: 'the process is gone since it was seen',
    source: proxyConfig,
    known: running('kube-proxy', '--config=/c'),
    expected: { outcome: 'failed', reason: '/c is not in the container of process 77' },
  },
  {
    name: 'no YAML',
    source: proxyConfig,
    known: running('kube-proxy', '--config=/c'),
    files: { '/proc/77/root/c': 'a: [1\nb: }' },
    expected: { outcome: 'failed', reason: '/c: is no YAML' },
  },
  {
    name: 'k3s: what it hands on, and nothing secret',
    source: proxyConfig,
    known: running('k3s-server'),
    files: { '/etc/rancher/k3s/config.yaml': k3s },
    read: ['kube-proxy-config.txt'],
    expected: { outcome: 'facts' },
    texts: {
      'kube-proxy-config.txt':
        '# /etc/rancher/k3s/config.yaml 0afd7799\nflannel-backend = wireguard-native\ndisable-network-policy = true\nproxy-mode = nftables\nnodeport-addresses = primary\n',
    },
  },
  { name: 'k3s without a file', source: proxyConfig, known: running('k3s-agent'), expected: { outcome: 'absent' } },
  {
    name: 'MicroK8s',
    source: proxyConfig,
    known: running('kubelite'),
    files: { '/proc/1/root/var/snap/microk8s/current/args/kube-proxy': '# x\n--cluster-cidr=10.1.0.0/16\n--kubeconfig=/x\n--proxy-mode="ipvs"\n' },
    read: ['kube-proxy-config.txt'],
    expected: { outcome: 'facts' },
    texts: { 'kube-proxy-config.txt': '# /var/snap/microk8s/current/args/kube-proxy 7ba51e1c\ncluster-cidr = 10.1.0.0/16\nproxy-mode = ipvs\n' },
  },
  { name: 'none runs: nobody is asked', source: proxyMetrics, expected: { outcome: 'absent' } },
  {
    name: 'switched off by its configuration, health asked all the same',
    source: proxyMetrics,
    known: { ...running('kube-proxy'), 'kube-proxy-config.txt': 'metrics-bind-address = \nhealthz-bind-address = 127.0.0.1:1\n' },
    read: ['kube-proxy-health.txt'],
    expected: { outcome: 'facts' },
    texts: { 'kube-proxy-health.txt': 'healthz = nobody listens\n' },
  },
];
testSources(cases);

t.test('a file that is the same is not read again as YAML', async (t) => {
  const machine: Machine = scriptedMachine(t.testdir({}), { files: { '/proc/77/root/c': 'mode: ipvs' } });
  const first = await proxyConfig.read(machine, files(running('kube-proxy', '--config=/c')));
  const text = first.outcome === 'facts' ? (first.files.get('kube-proxy-config.txt')?.toString() ?? '') : '';
  const changed = `${text.split('\n')[0]}\nproxy-mode = kept\n`;
  const again = await proxyConfig.read(machine, files({ ...running('kube-proxy', '--config=/c'), 'kube-proxy-config.txt': changed }));
  t.equal(again.outcome === 'facts' ? again.files.get('kube-proxy-config.txt')?.toString() : '', changed);
});

t.test('settings of k0s, and of what is no configuration', async (t) => {
  t.strictSame(settingsOf({ apiVersion: 'k0s.k0sproject.io/v1beta1', spec: { network: { kubeProxy: { mode: 'nftables', disabled: true } } } }), [
    ['proxy-mode', 'nftables'],
    ['disable-kube-proxy', 'true'],
  ]);
  for (const value of [null, 7, 'text', [], { a: { b: 1 } }]) t.strictSame(settingsOf(value), []);
  t.strictSame(listedArguments('--proxy-mode ipvs --v=2\n#--cluster-cidr=1\n'), [['proxy-mode', 'ipvs']]);
});

t.test('where it shows itself', async (t) => {
  t.strictSame(addressesOf([], ''), { metrics: { host: '127.0.0.1', port: 10249 }, health: { host: '127.0.0.1', port: 10256 } });
  t.match(addressesOf(['kube-proxy', '--metrics-bind-address', '[::]:9'], ''), { metrics: { host: '127.0.0.1', port: 9 } });
  t.match(addressesOf(['k3s', '--kube-proxy-arg=healthz-bind-address=192.0.2.1:8'], ''), { health: { host: '192.0.2.1', port: 8 } });
  t.match(addressesOf([], 'metrics-bind-address = 0.0.0.0\n'), { metrics: { host: '127.0.0.1', port: 10249 } });
  t.equal(metricsText('go_goroutines 1\nkubernetes_build_info{} 1\n'), '');
  t.equal(healthText(200, ''), 'healthz = ok\n');
});

t.test('the flags of a configuration file count before those of the command line, but not for those who embed it', async (t) => {
  const flags = (processes: Readonly<Record<string, string>>) => {
    const node = readNode(files({ ...processes, 'kube-proxy-config.txt': 'proxy-mode = ipvs\nmetrics-bind-address = \n' }));
    const fact = nodeFacts(node, nothingWanted).find(({ kind }) => kind === 'proxy');
    return fact?.kind === 'proxy' ? fact.flags?.['proxy-mode'] : undefined;
  };
  t.equal(flags(running('kube-proxy', '--proxy-mode=iptables')), 'ipvs');
  t.equal(flags(running('k3s', '--kube-proxy-arg=proxy-mode=iptables')), 'iptables');
});

t.test('who holds the lock of iptables', async (t) => {
  const locks = '1: FLOCK  ADVISORY  WRITE 4711 00:19:99 0 EOF\n1: -> FLOCK  ADVISORY  WRITE 4712 00:19:99 0 EOF\n2: POSIX  ADVISORY  READ 5 08:01:98 0 EOF\n';
  t.strictSame(holdersOf(locks, new Set([99])), [4711]);
  const path = `${t.testdir({ lock: '', programs: {} })}/lock`;
  const stat = (ticks: number) => `4711 (my lock) ${Array.from({ length: 50 }, (_, i) => (i === 19 ? ticks : 0)).join(' ')}`;
  const own = (comm: string, ticks: number) =>
    scriptedMachine(join(dirname(path), 'programs'), {
      files: {
        '/proc/locks': `1: FLOCK  ADVISORY  WRITE 4711 00:19:${inodeOf(path)} 0 EOF\n`,
        '/proc/uptime': '100.00 1.00\n',
        '/proc/4711/comm': `${comm}\n`,
        '/proc/4711/stat': stat(ticks),
      },
    });
  t.strictSame(await lockHolder(own('my lock', 10), [path]), { pid: 4711, comm: 'my_lock' });
  t.equal(await lockHolder(own('my lock', 9_000), [path]), undefined, 'a young one is at work');
  t.equal(await lockHolder(own('kube-router', 10), [path]), undefined, 'one that runs on takes it again and again');
});

t.test('a lock that is held for real', async (t) => {
  const path = `${t.testdir({ lock: '' })}/lock`;
  const child = spawn('flock', [path, 'sleep', '30'], { stdio: 'ignore', detached: true });
  t.teardown(() => process.kill(-(child.pid as number)));
  const real = thisMachine(new AbortController().signal);
  // The process is young: the clock that its age is taken by is set forward.
  const later: Machine = {
    ...real,
    read: async (each) => (each === '/proc/uptime' ? { kind: 'done', content: Buffer.from('9999999999 1\n') } : await real.read(each)),
  };
  let found: Awaited<ReturnType<typeof lockHolder>>;
  for (let tries = 0; tries < 100 && found === undefined; tries++) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    found = await lockHolder(later, [path]);
  }
  t.match(found, { comm: 'flock' });
});
