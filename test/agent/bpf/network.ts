// A client, a node and a pod, each a network namespace, for drops that are made on purpose.
//
//   client 172.31.0.100, fd00:31::100 ── eth0 node 172.31.0.11, fd00:31::11; 10.244.1.1 on pod0 ── pod 10.244.1.5

import { fileURLToPath } from 'node:url';
import type { Meeting, Probe } from '../../labs/client.ts';
import { Namespaces, type Ran } from '../../labs/namespaces.ts';

export interface Network {
  readonly namespaces: Namespaces;
  readonly client: string;
  readonly node: string;
  readonly pod: string;
  /** Runs a line of words in the node; throws when it fails. */
  readonly onNode: (line: string) => Promise<Ran>;
  /** Makes connections from the client. */
  readonly meet: (...probes: readonly Probe[]) => Promise<readonly Meeting[]>;
  readonly close: () => Promise<void>;
}

const client = fileURLToPath(new URL('../../labs/client.ts', import.meta.url));

export async function buildNetwork(): Promise<Network> {
  const namespaces = new Namespaces();
  const [outside, node, pod] = [await namespaces.add('client'), await namespaces.add('node'), await namespaces.add('pod')];
  await namespaces.ip(node, [
    `link add eth0 type veth peer name eth0 netns ${outside}`,
    `link add pod0 type veth peer name eth0 netns ${pod}`,
    'link set eth0 up',
    'link set pod0 up',
    'address add 172.31.0.11/24 dev eth0',
    'address add fd00:31::11/64 dev eth0 nodad',
    'address add 10.244.1.1/24 dev pod0',
  ]);
  await namespaces.ip(outside, ['link set eth0 up', 'address add 172.31.0.100/24 dev eth0', 'address add fd00:31::100/64 dev eth0 nodad']);
  await namespaces.ip(pod, ['link set eth0 up', 'address add 10.244.1.5/24 dev eth0', 'route add default via 10.244.1.1']);
  const settings = ['net.ipv4.ip_forward=1', 'net.ipv4.conf.all.rp_filter=0', 'net.ipv4.conf.eth0.rp_filter=0', 'net.ipv4.neigh.pod0.retrans_time_ms=100'];
  await namespaces.run(node, ['sysctl', '-q', '-w', ...settings]);
  const onNode = async (line: string): Promise<Ran> => {
    const ran = await namespaces.run(node, line.split(' '));
    if (ran.exitCode !== 0) throw new Error(`${line}: ${ran.stderr}`);
    return ran;
  };
  const meet = async (...probes: readonly Probe[]): Promise<readonly Meeting[]> => {
    const quick = probes.map((probe) => ({ timeoutMs: 250, ...probe }));
    const { stdout, stderr } = await namespaces.run(outside, [process.execPath, '--disable-warning=ExperimentalWarning', client, JSON.stringify(quick)]);
    if (stdout === '') throw new Error(stderr);
    return JSON.parse(stdout);
  };
  return { namespaces, client: outside, node, pod, onNode, meet, close: () => namespaces.close() };
}
