// A cluster of network namespaces: two nodes, four pods, a client and the wire between them, addressed as in the captured cluster 01-healthy-iptables-nft.
//
//   client 172.31.0.100 ─┐            ┌─ node1 172.31.0.11, .211 ── cni0 10.244.1.1 ── pods 10.244.1.11, .12
//                        ├─ wire: br0 ┤
//                        ┘            └─ node2 172.31.0.12       ── cni0 10.244.2.1 ── pods 10.244.2.11, .12
//
// Rules are written in each node by the stand-in for kube-proxy, from the objects of `directory`; pods and client are real processes with real sockets.
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import type { Meeting, Probe } from './client.ts';
import { Namespaces, type Running } from './namespaces.ts';

export type NodeName = 'node1' | 'node2';

export interface Cluster {
  readonly namespaces: Namespaces;
  /** Where the cluster's objects stand: services.json, endpointslices.json, nodes.json, pods.json. */
  readonly directory: string;
  /** Namespace of each node. */
  readonly nodes: Readonly<Record<NodeName, string>>;
  readonly proxies: Readonly<Record<NodeName, Running>>;
  /** Makes real connections from the client and tells what they met, in order. */
  readonly meet: (probes: readonly Probe[]) => Promise<readonly Meeting[]>;
  /** Replaces one of the object files by what `change` makes of its items, in one step, as readers watch the directory. */
  readonly edit: (file: string, change: (items: readonly KubernetesObject[]) => readonly KubernetesObject[]) => void;
  readonly close: () => Promise<void>;
}

// biome-ignore lint/suspicious/noExplicitAny: objects of Kubernetes are edited here as the JSON they are.
export type KubernetesObject = any;

const fixture = new URL('../fixtures/01-healthy-iptables-nft/', import.meta.url).pathname;
const script = (name: string): string => new URL(name, import.meta.url).pathname;
const node = [process.execPath, '--disable-warning=ExperimentalWarning'];

/** What keeps a lab from being built here, as a sentence; undefined when nothing does. `needed`: programs beyond those that every lab calls. */
export async function labObstacle(needed: readonly string[] = []): Promise<string | undefined> {
  if (process.getuid?.() !== 0) return 'network namespaces need root';
  for (const tool of ['ip', 'iptables-restore', 'ip6tables-restore', 'sysctl', 'nft', ...needed]) {
    const found = await execa('sh', ['-c', `command -v ${tool}`], { reject: false });
    if (found.exitCode !== 0) return `${tool} is not installed`;
  }
  const made = await execa('unshare', ['-n', 'true'], { reject: false });
  return made.exitCode === 0 ? undefined : `the kernel refuses network namespaces: ${made.stderr}`;
}

/** Whether somebody who is not root may build a lab in a user namespace of their own. */
export function userNamespaceWorks(): boolean {
  return spawnSync('unshare', ['-Urnm', 'sh', '-c', 'mount -t tmpfs tmpfs /run && ip netns add probe']).status === 0;
}

/** Builds the cluster; when it resolves, every pod answers and both nodes have their rules. On failure everything made so far is removed. */
export async function buildCluster(): Promise<Cluster> {
  const namespaces = new Namespaces();
  const directory = mkdtempSync(join(tmpdir(), 'portreeve-cluster-'));
  const close = async (): Promise<void> => {
    await namespaces.close();
    rmSync(directory, { recursive: true, force: true });
  };
  try {
    for (const file of ['services.json', 'endpointslices.json', 'nodes.json', 'pods.json']) cpSync(join(fixture, file), join(directory, file));
    const wire = await buildWire(namespaces);
    const client = await buildClient(namespaces, wire);
    const nodes = { node1: await buildNode(namespaces, { wire, number: 1 }), node2: await buildNode(namespaces, { wire, number: 2 }) };
    await Promise.all([buildPods(namespaces, { node: nodes.node1, number: 1 }), buildPods(namespaces, { node: nodes.node2, number: 2 })]);
    const proxy = (name: NodeName): Promise<Running> =>
      namespaces.start(nodes[name], [...node, script('kube-proxy.ts'), name, directory], { ready: /^ready$/m });
    const [node1, node2] = await Promise.all([proxy('node1'), proxy('node2')]);
    const meet = (probes: readonly Probe[]): Promise<readonly Meeting[]> => meetFrom(namespaces, { client, probes });
    return { namespaces, directory, nodes, proxies: { node1, node2 }, meet, edit: editor(directory), close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function buildWire(namespaces: Namespaces): Promise<string> {
  const wire = await namespaces.add('wire');
  await namespaces.ip(wire, ['link add br0 type bridge', 'link set br0 up']);
  return wire;
}

async function attach(
  namespaces: Namespaces,
  { namespace, wire, port }: { readonly namespace: string; readonly wire: string; readonly port: string },
): Promise<void> {
  await namespaces.ip(namespace, [`link add eth0 type veth peer name ${port} netns ${wire}`, 'link set eth0 up']);
  await namespaces.ip(wire, [`link set ${port} master br0`, `link set ${port} up`]);
}

async function buildClient(namespaces: Namespaces, wire: string): Promise<string> {
  const client = await namespaces.add('client');
  await attach(namespaces, { namespace: client, wire, port: 'client' });
  await namespaces.ip(client, [
    'address add 172.31.0.100/24 dev eth0',
    'address add fd00:31:0:1::100/64 dev eth0 nodad',
    'route add 203.0.113.10 via 172.31.0.11',
  ]);
  return client;
}

async function buildNode(namespaces: Namespaces, { wire, number }: { readonly wire: string; readonly number: 1 | 2 }): Promise<string> {
  const other = 3 - number;
  const name = await namespaces.add(`node${number}`);
  await attach(namespaces, { namespace: name, wire, port: `node${number}` });
  await namespaces.ip(name, [
    `address add 172.31.0.1${number}/24 dev eth0`,
    ...(number === 1 ? ['address add 172.31.0.211/24 dev eth0'] : []),
    `address add fd00:31:0:1::1${number}/64 dev eth0 nodad`,
    'link add cni0 type bridge',
    `address add 10.244.${number}.1/24 dev cni0`,
    `address add fd00:10:244:${number}::1/64 dev cni0 nodad`,
    'link set cni0 up',
    'route add default via 172.31.0.1 dev eth0',
    `route add 10.244.${other}.0/24 via 172.31.0.1${other} dev eth0`,
    `route add fd00:10:244:${other}::/64 via fd00:31:0:1::1${other} dev eth0`,
  ]);
  // Refusals are ICMP errors, which the kernel limits for each client; without the limit lifted the second of two quick attempts would look like a timeout.
  const settings = [
    'net.ipv4.ip_forward=1',
    'net.ipv4.conf.all.route_localnet=1',
    'net.ipv6.conf.all.forwarding=1',
    'net.ipv4.icmp_ratelimit=0',
    'net.ipv6.icmp.ratelimit=0',
  ];
  const bridged = ['net.bridge.bridge-nf-call-iptables=1', 'net.ipv4.conf.all.rp_filter=0', 'net.ipv4.conf.eth0.rp_filter=0', 'net.ipv4.conf.cni0.rp_filter=0'];
  await namespaces.run(name, ['sysctl', '-q', '-e', '-w', ...settings, ...bridged]);
  return name;
}

async function buildPods(namespaces: Namespaces, { node: host, number }: { readonly node: string; readonly number: 1 | 2 }): Promise<void> {
  await Promise.all(
    [1, 2].map(async (index) => {
      const pod = await namespaces.add(`pod-n${number}p${index}`);
      await namespaces.ip(host, [
        `link add veth1${index} type veth peer name eth0 netns ${pod}`,
        `link set veth1${index} master cni0`,
        `link set veth1${index} up`,
      ]);
      await namespaces.ip(pod, [
        'link set eth0 up',
        `address add 10.244.${number}.1${index}/24 dev eth0`,
        `address add fd00:10:244:${number}::1${index}/64 dev eth0 nodad`,
        `route add default via 10.244.${number}.1`,
        `route add ::/0 via fd00:10:244:${number}::1`,
      ]);
      await namespaces.start(pod, [...node, script('pod.ts'), `pod-n${number}p${index}`], { ready: /^ready$/m });
    }),
  );
}

async function meetFrom(
  namespaces: Namespaces,
  { client, probes }: { readonly client: string; readonly probes: readonly Probe[] },
): Promise<readonly Meeting[]> {
  const { stdout, stderr, exitCode } = await namespaces.run(client, [...node, script('client.ts'), JSON.stringify(probes)]);
  if (exitCode !== 0) throw new Error(`the client failed: ${stderr}`);
  return JSON.parse(stdout);
}

const editor =
  (directory: string): Cluster['edit'] =>
  (file, change) => {
    const path = join(directory, file);
    const list = JSON.parse(readFileSync(path, 'utf8'));
    writeFileSync(`${directory}.${file}`, JSON.stringify({ ...list, items: change(list.items) }, null, 2));
    renameSync(`${directory}.${file}`, path);
  };
