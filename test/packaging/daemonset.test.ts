// The agent's container as the chart's manifest has it: with exactly its mounts, user and capabilities every source works that the manifest promises.
import { existsSync } from 'node:fs';
import { arch } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { buildImages } from '../../packaging/image.ts';
import { type Architecture, root } from '../../packaging/release.ts';
import { buildCluster, type Cluster, labObstacle } from '../labs/cluster.ts';
import { type Container, startContainer } from '../labs/container.ts';
import { manifestsOf, render, rendererObstacle } from './chart.ts';

t.setTimeout(300_000);
const tool = (name: string): boolean => [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin'].some((place) => existsSync(join(place, name)));
const missing = ['mmdebstrap', 'setcap', 'capsh', 'readelf', 'nsenter'].find((name) => !tool(name));
const obstacle = rendererObstacle() ?? (missing === undefined ? undefined : `${missing} is not installed`) ?? (await labObstacle());

interface Source {
  /** Milliseconds since 1970; null: not read yet. */
  readonly readAt: number | null;
  readonly name: string;
  readonly outcome: string;
  readonly reason?: string;
  readonly missingCapabilities: readonly string[];
}
interface Status {
  readonly sources: readonly Source[];
  readonly agent: { readonly parts: Readonly<Record<string, string>> };
}

// Process 1 of a virtual machine may be closed even to root; a node's is not. So everything is run where the first process is ours.
const isInside = process.env['PORTREEVE_OWN_PROCESSES'] !== undefined;
if (obstacle === undefined && !isInside) {
  const env = { ...process.env, PORTREEVE_OWN_PROCESSES: '1' };
  const words = ['--pid', '--fork', '--mount', '--mount-proc', '--kill-child', process.execPath, ...process.execArgv, fileURLToPath(import.meta.url)];
  await t.spawn('unshare', words, { env, timeout: 280_000 }, 'where the first process is ours');
} else t.test('the container of the DaemonSet', { skip: obstacle ?? false }, theContainer);

async function theContainer(t: Tap): Promise<void> {
  const image = buildImages({ out: join(root, 'dist/images'), architecture: arch() as Architecture }, ['portreeve-agent'])[0] as string;
  const cluster = await buildCluster();
  t.teardown(() => cluster.close());

  await t.test("with the host's processes (values of kubeadm)", async (t: Tap) => {
    const container = await start(cluster, image, [join(root, 'packaging/helm/values/kubeadm-iptables.yaml')]);
    t.teardown(() => container.stop());
    const { sources, agent } = await statusOf(container);
    t.same(
      sources.filter(({ outcome }) => outcome === 'failed'),
      [],
      'no source fails',
      { output: container.output() },
    );
    for (const name of ['processes', 'tools', 'kernel', 'iptables', 'ip6tables', 'nftables', 'interfaces', 'routes', 'sysctls', 'listeners', 'pod-sockets'])
      t.equal(sources.find((source) => source.name === name)?.outcome, 'facts', name);
    t.same(
      [...new Set(sources.flatMap(({ missingCapabilities }) => missingCapabilities))].filter((name) => name !== 'CAP_SYS_ADMIN'),
      [],
      'it has every capability that a source can use, but SYS_ADMIN',
    );
    if (existsSync('/sys/kernel/btf/vmlinux')) t.match(agent.parts['eBPF'], /^(?:everything|drops)/, 'eBPF');
    t.equal(container.exec(probe), 0, "the kubelet's probe hears it");
    t.equal(container.exec(['/usr/lib/portreeve-agent/portreeve-launch', '--ask', '/run/portreeve/nothing.sock']), 1, 'and not what is not there');
  });

  await t.test("without the host's processes (values of the chart)", async (t: Tap) => {
    const container = await start(cluster, image, []);
    t.teardown(() => container.stop());
    const { sources } = await statusOf(container);
    t.same(
      sources.filter(({ outcome }) => outcome === 'failed'),
      [],
      'no source fails',
      { output: container.output() },
    );
    for (const name of ['tools', 'kernel', 'iptables', 'ip6tables', 'nftables', 'interfaces', 'routes', 'sysctls'])
      t.equal(sources.find((source) => source.name === name)?.outcome, 'facts', name);
    const processes = sources.find(({ name }) => name === 'processes');
    t.same(
      [processes?.outcome, processes?.reason],
      ['absent', "this container does not see the host's processes (hostPID)"],
      'a list of none is not told as if it were the node’s',
    );
    t.equal(container.exec(probe), 0);
  });
}

// biome-ignore lint/suspicious/noExplicitAny: tap exports no name for what a test is given.
type Tap = any;

const probe = ['/usr/lib/portreeve-agent/portreeve-launch', '--ask', '/run/portreeve/agent.sock'];

function start(cluster: Cluster, image: string, values: readonly string[]): Promise<Container> {
  const daemonSet = manifestsOf(render(...values)).find(({ kind }) => kind === 'DaemonSet');
  const secrets = { '/var/run/secrets/portreeve/token': 'a.b.c', '/etc/portreeve/tls/ca.crt': '' };
  return startContainer({ image, pod: daemonSet.spec.template.spec, network: cluster.nodes.node1, fields: { NODE_NAME: 'node1' }, secrets });
}

/** Once everything has been read. */
async function statusOf(container: Container): Promise<Status> {
  for (const deadline = Date.now() + 30_000; ; await sleep(200)) {
    const status = (await container.ask('/run/portreeve/agent.sock', { ask: 'status' }).catch(() => undefined)) as
      | (Status & { readonly sources: readonly { readonly readAt: number | null }[] })
      | undefined;
    if (status?.sources.every(({ readAt }) => readAt !== null)) return status;
    if (Date.now() > deadline) throw new Error(`the agent does not tell how it stands: ${JSON.stringify(status)}\n${container.output()}`);
  }
}
