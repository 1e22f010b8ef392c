// The offline check as a function from files to findings: reads a capture and cluster objects, compares, diagnoses.
import { diagnoseNode } from '../../collector/causes/index.ts';
import { compareNode } from '../../collector/compare/index.ts';
import { expectationsFor } from '../../collector/expect/index.ts';
import { proxyConfigurationOf } from '../../collector/expect/proxy.ts';
import { healthPortsOf } from '../../collector/ingest/want.ts';
import { faultsBetween } from '../../collector/kubernetes/faults.ts';
import { type ClusterObjects, type ObjectFile, readObjects } from '../../collector/kubernetes/objects.ts';
import { failure } from '../../shared/errors.ts';
import { formatAddress, parseAddress } from '../../shared/model/address.ts';
import type { Fact, ProxyFact } from '../../shared/model/fact.ts';
import type { Finding } from '../../shared/model/finding.ts';
import { nodeFacts } from '../../shared/netfilter/facts.ts';
import { readNode } from '../../shared/netfilter/node.read.ts';
import type { CaptureFiles, NodeState } from '../../shared/netfilter/node.ts';
import { assertCapture, readDirectory } from '../capture.directory.ts';

export interface CheckOptions {
  readonly capture: string;
  /** Absent: the capture's own directory. */
  readonly cluster?: string;
  readonly node?: string;
  /** Milliseconds since 1970. */
  readonly now: number;
}

export interface CheckReport {
  readonly node: string;
  /** How many NodePorts (by protocol and family) were compared. */
  readonly nodePorts: number;
  /** Worst first. */
  readonly findings: readonly Finding[];
  /** What could not be read, one line each. */
  readonly doubts: readonly string[];
}

/** Checks a capture directory against a directory of objects. Throws INPUT_UNREADABLE, CAPTURE_EMPTY, CAPTURE_NODE_UNKNOWN or INPUT_INVALID. */
export async function checkDirectories(options: CheckOptions): Promise<CheckReport> {
  const files = await readDirectory(options.capture);
  assertCapture(options.capture, files);
  const clusterFiles = options.cluster === undefined ? files : await readDirectory(options.cluster);
  const objectFiles = objectFilesOf(clusterFiles);
  if (objectFiles.length === 0) {
    const hint =
      options.cluster === undefined
        ? 'add --cluster DIR with the output of "kubectl get services,endpointslices,nodes,pods -A -o json"'
        : 'no .json or .yaml file';
    throw failure('INPUT_INVALID', [options.cluster ?? options.capture, `holds no cluster objects: ${hint}`]);
  }
  const { objects, issues } = readObjects(objectFiles);
  const report = checkCapture({ files, objects, now: options.now, ...(options.node === undefined ? {} : { node: options.node }) });
  if (report === undefined) throw failure('CAPTURE_NODE_UNKNOWN', [options.capture]);
  const doubts = issues.map(
    ({ where, line, object, reason }) => `${where}${line === undefined ? '' : `:${line}`}: ${object === undefined ? '' : `${object}: `}${reason}`,
  );
  return { ...report, doubts: shortened([...report.doubts, ...doubts]) };
}

export interface CheckInput {
  readonly files: CaptureFiles;
  readonly objects: ClusterObjects;
  /** Node name where the capture does not say. */
  readonly node?: string;
  readonly now: number;
}

/** Everything that is known of one node offline, ready for the comparison and for explanations. */
export interface CheckedNode {
  readonly node: string;
  readonly facts: ReadonlyMap<string, Fact>;
  readonly expectations: ReturnType<typeof expectationsFor>;
  readonly drifts: ReturnType<typeof compareNode>;
  readonly findings: readonly Finding[];
  readonly doubts: readonly string[];
}

/** Checks a capture that is in memory; undefined when nothing says which node it is of. */
export function checkCapture(input: CheckInput): CheckReport | undefined {
  const checked = checkNode(input);
  return checked === undefined ? undefined : { node: checked.node, nodePorts: checked.expectations.length, findings: checked.findings, doubts: checked.doubts };
}

/** The same with facts, expectations and drifts. */
export function checkNode({ files, objects, node: given, now }: CheckInput): CheckedNode | undefined {
  const state = readNode(files, given === undefined ? {} : { node: given });
  const node = state.name !== '' ? state.name : nodeByAddress(state, objects);
  if (node === undefined) return undefined;
  const wanted = {
    nodePorts: expectationsFor(node, objects).map(({ nodePort }) => nodePort),
    peers: peersOf(node, objects),
    podNetworks: podNetworksOf(objects),
    ...healthPortsOf(objects),
  };
  const facts = new Map(nodeFacts({ ...state, name: node }, wanted).map((fact) => [fact.key, fact.kind === 'proxy' ? withStatus(fact, files) : fact]));
  // The node itself says how its kube-proxy is configured.
  const proxy = facts.get('proxy/kube-proxy');
  const expectations = expectationsFor(node, objects, proxyConfigurationOf(node, objects, proxy?.kind === 'proxy' ? proxy : undefined));
  const drifts = compareNode({ node, facts, expectations, objects });
  const findings = diagnoseNode({ node, facts, expectations, drifts, objects, changes: [], now });
  const doubts = [
    ...foreignDoubts({ node, state, facts, objects }),
    ...faultsBetween(objects).map(({ object, reason }) => `${object ?? ''}: ${reason}`),
    ...state.issues.map(({ file, line, text, reason }) => `${file ?? ''}:${line}: ${reason}: ${text}`),
  ];
  return { node, facts, expectations, drifts, findings, doubts };
}

interface Captured {
  readonly node: string;
  readonly state: NodeState;
  readonly facts: ReadonlyMap<string, Fact>;
  readonly objects: ClusterObjects;
}

/** Signs that the capture and the objects are of two clusters: every answer is then worth nothing, so this is said first. */
function foreignDoubts({ node, state, facts, objects }: Captured): string[] {
  const known = objects.nodes.get(node);
  const own = ownAddresses(state);
  const believed = known?.addresses.filter(({ type }) => type === 'InternalIP').map(({ address }) => canonical(address)) ?? [];
  const claims = [...facts.values()].flatMap((fact) =>
    fact.kind === 'nodeport' && fact.claimed.service !== undefined ? [fact.claimed.service.split(':')[0] as string] : [],
  );
  const strange = claims.filter((service) => !objects.services.has(service));
  return [
    ...(objects.nodes.size > 0 && known === undefined
      ? [`the capture is of node ${node}, which is not among the objects (${[...objects.nodes.keys()].slice(0, 5).join(', ')}): are they of another cluster?`]
      : []),
    ...(own.size > 0 && believed.length > 0 && !believed.some((address) => own.has(address))
      ? [`node ${node} has ${believed.join(', ')} by its object, which is on none of its interfaces: are the objects of another cluster, or an older one?`]
      : []),
    ...(strange.length > 2 && strange.length * 2 > claims.length
      ? [
          `the rules serve ${strange.length} NodePorts of Services that are not among the objects (${[...new Set(strange)].slice(0, 3).join(', ')} …): are they of another cluster?`,
        ]
      : []),
  ];
}

function ownAddresses(state: NodeState): ReadonlySet<string> {
  return new Set(
    state.host.interfaces.filter(({ loopback }) => !loopback).flatMap(({ addresses }) => addresses.map(({ family, value }) => formatAddress(family, value))),
  );
}

const capturedObjects = /^(services|endpointslices|nodes|pods|networkpolicies|configmaps|events)\.(json|ya?ml)$/;

// A capture may hold its objects beside other JSON files; a directory of manifests may name its files as it likes.
function objectFilesOf(files: ReadonlyMap<string, Buffer>): ObjectFile[] {
  const named = [...files.keys()].filter((name) => capturedObjects.test(name));
  const capture = files.has('capture.json') || files.has('ip-addr.json');
  const chosen = capture || named.some((name) => name.startsWith('services.')) ? named : [...files.keys()].filter((name) => /\.(json|ya?ml)$/.test(name));
  return chosen.map((name) => ({ name, text: (files.get(name) as Buffer).toString('utf8') }));
}

function nodeByAddress(state: NodeState, objects: ClusterObjects): string | undefined {
  const own = ownAddresses(state);
  const found = [...objects.nodes.values()].find(({ addresses }) => addresses.some(({ type, address }) => type !== 'Hostname' && own.has(canonical(address))));
  return found?.name;
}

function canonical(text: string): string {
  const address = parseAddress(text);
  return address === undefined ? text : formatAddress(address.family, address.value);
}

const peersOf = (node: string, objects: ClusterObjects): string[] =>
  [...objects.nodes.values()]
    .filter(({ name }) => name !== node)
    .flatMap(({ addresses }) => addresses.filter(({ type }) => type === 'InternalIP').map(({ address }) => address));

const podNetworksOf = (objects: ClusterObjects): string[] => [...objects.nodes.values()].flatMap(({ podCIDRs }) => podCIDRs);

// A capture without a list of sockets may still hold what kube-proxy's own health port said, or the list of processes.
function withStatus(fact: ProxyFact, files: CaptureFiles): ProxyFact {
  if (fact.running !== 'unknown') return fact;
  const status = files.get('kube-proxy-status.txt')?.toString('utf8') ?? '';
  if (/http=200/.test(status)) return { ...fact, running: 'yes', evidence: 'its health port answered 200 (kube-proxy-status.txt)' };
  if (/http=000|no answer/.test(status)) return { ...fact, running: 'no', evidence: 'its health port did not answer (kube-proxy-status.txt)' };
  const processes = files.get('processes.json')?.toString('utf8');
  if (processes === undefined) return fact;
  const found = /"(?:comm|name)":\s*"(kube-proxy|k3s[\w-]*|rke2[\w-]*|k0s|kubelite)"/.exec(processes)?.[1];
  return found === undefined
    ? { ...fact, running: 'no', evidence: 'processes.json lists no kube-proxy' }
    : { ...fact, running: 'yes', evidence: `processes.json lists ${found}` };
}

function shortened(lines: readonly string[]): string[] {
  return lines.length <= 10 ? [...lines] : [...lines.slice(0, 10), `… and ${lines.length - 10} more`];
}
