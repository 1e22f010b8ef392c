// Rules that a real kube-proxy wrote for the objects of its own tests, in three modes and two releases: none of them has a drift. The corpus is not part of the
// project; the test says so and is skipped where it is not there.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { compareNode, type Drift } from '../../../collector/compare/index.ts';
import { expectationsFor } from '../../../collector/expect/index.ts';
import { type ObjectKind, readObjects } from '../../../collector/kubernetes/objects.ts';
import { nodeFacts } from '../../../shared/netfilter/facts.ts';
import { readNode } from '../../../shared/netfilter/node.read.ts';

interface VirtualServer {
  readonly address: string;
  readonly port: number;
  readonly protocol: string;
  readonly scheduler: string;
  readonly realServers: readonly { readonly address: string; readonly port: number; readonly weight: number }[];
}

interface Recorded {
  readonly id: string;
  readonly kubernetes: string;
  readonly mode: 'iptables' | 'nftables' | 'ipvs';
  readonly family: 'ipv4' | 'ipv6';
  readonly nodeName: string;
  readonly nodeIPs: readonly string[];
  readonly config?: { readonly nodePortAddresses: string };
  readonly services: readonly { readonly spec: { readonly ports?: readonly { readonly nodePort?: number }[] } }[];
  readonly endpointSlices: readonly object[];
  readonly normalForm?: string;
  readonly normalFormJson?: unknown;
  readonly virtualServers?: readonly VirtualServer[];
}

const corpus = join(import.meta.dirname, '../../../../shared/corpus');
const files = ['kube-proxy-flows.json', 'kube-proxy-nft-flows.json', 'kube-proxy-ipvs.json'];

for (const file of files) {
  const path = join(corpus, file);
  const skip = existsSync(path) ? false : `no ${path}`;
  t.test(file, { skip }, (t) => {
    const all = JSON.parse(readFileSync(path, 'utf8')) as Recorded[];
    const withNodePorts = all.flatMap(prepared);
    let compared = 0;
    for (const recorded of withNodePorts) {
      const { drifts, expectations } = compare(recorded);
      compared += expectations;
      t.same(drifts.map(text), [], recorded.id);
    }
    t.ok(compared >= withNodePorts.length, `${compared} NodePorts compared in ${withNodePorts.length} rulesets`);
    t.end();
  });
}

function text({ kind, key, extra, missing, affected }: Drift): string {
  return `${key} ${kind} +${extra} -${missing} ${JSON.stringify(affected).slice(0, 400)}`;
}

function nodePortsOf({ services }: Recorded): ReadonlySet<number | undefined> {
  return new Set(services.flatMap(({ spec }) => (spec.ports ?? []).flatMap(({ nodePort }) => nodePort || [])));
}

// Most of the tests of the IPVS mode give the node no address, so that no virtual server is made for a NodePort; in the others the node is where those servers are.
function prepared(recorded: Recorded): Recorded[] {
  const nodePorts = nodePortsOf(recorded);
  if (nodePorts.size === 0) return [];
  if (recorded.mode !== 'ipvs') return [recorded];
  const virtualServers = (recorded.virtualServers ?? []).filter(({ port }) => nodePorts.has(port));
  const nodeIPs = [...new Set(virtualServers.map(({ address }) => address))].sort();
  return virtualServers.length === 0 ? [] : [{ ...recorded, virtualServers, nodeIPs }];
}

function compare(recorded: Recorded) {
  const { nodeName, nodeIPs, config } = recorded;
  const list = (kind: ObjectKind, items: readonly object[]) => ({ name: `${kind}.json`, text: JSON.stringify({ kind: `${kind}List`, items }) });
  // The API server gives no NodePort to a Service that does not say what type it is.
  const services = recorded.services.map((service) => ({ ...service, spec: { type: 'NodePort', ...service.spec } }));
  const node = { metadata: { name: nodeName }, status: { addresses: nodeIPs.map((address) => ({ type: 'InternalIP', address })) } };
  const { objects } = readObjects([list('Service', services), list('EndpointSlice', recorded.endpointSlices), list('Node', [node])]);
  const family = recorded.family === 'ipv4' ? 4 : 6;
  const proxy = {
    release: Number(recorded.kubernetes.split('.')[1]),
    certain: true,
    families: [family] as const,
  };
  const served = servedBy(config?.nodePortAddresses ?? '', nodeIPs, family);
  const expectations = served ? expectationsFor(nodeName, objects, proxy) : [];
  const state = readNode(new Map(Object.entries({ ...hostFiles(nodeIPs), ...ruleFiles(recorded) }).map(([name, content]) => [name, Buffer.from(content)])), {
    node: nodeName,
  });
  const pods = [...objects.endpointSlices.values()].flatMap(({ endpoints }) => endpoints.flatMap(({ addresses }) => addresses));
  const podNetworks = pods.map((address) => `${address}/${address.includes(':') ? 128 : 32}`);
  const wanted = { nodePorts: expectations.map(({ nodePort }) => nodePort), peers: [], podNetworks };
  const facts = new Map(nodeFacts(state, wanted).map((fact) => [fact.key, fact]));
  // Marks are cut out of what was recorded in IPVS mode, so nothing can be said of masquerading.
  const drifts = compareNode({ node: nodeName, facts, expectations, objects }).filter(({ kind }) => recorded.mode !== 'ipvs' || kind !== 'masquerade');
  return { drifts, expectations: expectations.length };
}

// Facts are about the node's first address: a kube-proxy that leaves it out expects nothing of it.
function servedBy(ranges: string, nodeIPs: readonly string[], family: 4 | 6): boolean {
  const address = nodeIPs.find((each) => each.includes(':') === (family === 6)) ?? '';
  return ranges === '' || /\[?(0\.0\.0\.0|::)\/0/.test(ranges) || ranges.includes(address.replace(/(\.|:)[^.:]*$/, ''));
}

function hostFiles(nodeIPs: readonly string[]): Record<string, string> {
  const own = nodeIPs.map((local) => ({ family: local.includes(':') ? 'inet6' : 'inet', local, prefixlen: local.includes(':') ? 64 : 24, scope: 'global' }));
  const lo = [
    { family: 'inet', local: '127.0.0.1', prefixlen: 8 },
    { family: 'inet6', local: '::1', prefixlen: 128 },
  ];
  const [v4, v6] = [own.filter(({ family }) => family === 'inet'), own.filter(({ family }) => family === 'inet6')];
  const local = (addresses: typeof own) => addresses.map(({ local }) => ({ type: 'local', dst: local, dev: 'eth0', table: 'local' }));
  return {
    'ip-addr.json': JSON.stringify([
      { ifindex: 1, ifname: 'lo', flags: ['LOOPBACK', 'UP'], addr_info: lo },
      { ifindex: 2, ifname: 'eth0', flags: ['UP'], addr_info: own },
    ]),
    'ip-route.json': JSON.stringify([
      { dst: 'default', gateway: '192.168.0.254', dev: 'eth0' },
      { dst: '192.168.0.0/16', dev: 'eth0' },
      ...local(v4),
      { type: 'local', dst: '127.0.0.0/8', dev: 'lo', table: 'local' },
    ]),
    'ip6-route.json': JSON.stringify([{ dst: 'default', gateway: 'fe80::1', dev: 'eth0' }, { dst: '2001:db8::/32', dev: 'eth0' }, ...local(v6)]),
    'ss.txt': '',
    'sysctl.txt': 'net.ipv4.ip_forward = 1\nnet.ipv6.conf.all.forwarding = 1\nnet.ipv4.conf.all.rp_filter = 0\nnet.ipv4.vs.conntrack = 1\n',
  };
}

function ruleFiles({ mode, family, normalForm = '', normalFormJson, virtualServers = [] }: Recorded): Record<string, string> {
  switch (mode) {
    case 'iptables':
      return { [family === 'ipv4' ? 'iptables-save.txt' : 'ip6tables-save.txt']: normalForm };
    case 'nftables':
      return { 'nft.json': typeof normalFormJson === 'string' ? normalFormJson : JSON.stringify(normalFormJson) };
    case 'ipvs':
      return { 'ipvsadm-Sn.txt': virtualServers.map(ipvsText).join('') };
  }
}

function ipvsText({ address, port, protocol, scheduler, realServers }: VirtualServer): string {
  const host = (ip: string, number: number): string => (ip.includes(':') ? `[${ip}]:${number}` : `${ip}:${number}`);
  const service = `${{ TCP: '-t', UDP: '-u', SCTP: '--sctp-service' }[protocol] ?? '-t'} ${host(address, port)}`;
  return [`-A ${service} -s ${scheduler}\n`, ...realServers.map((real) => `-a ${service} -r ${host(real.address, real.port)} -m -w ${real.weight}\n`)].join('');
}
