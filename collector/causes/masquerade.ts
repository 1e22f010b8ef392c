// Causes in what kube-proxy makes of addresses: which of the node's it serves, whom it takes for pods, and whose source it replaces.

import { contains, type Family, formatAddress, parseAddress, parsePrefix } from '../../shared/model/address.ts';
import type { Expectation } from '../../shared/model/expectation.ts';
import type { ServedAddressesFact } from '../../shared/model/fact.ts';
import { lossOf, type Outcome } from '../../shared/model/outcome.ts';
import { coversMost, type Drift, isUncertain } from '../compare/index.ts';
import {
  chainsOf,
  consequencesMax,
  counted,
  counterOf,
  type Detector,
  type Diagnosed,
  type Diagnosis,
  factsOf,
  findingOf,
  isHairpin,
  isRuleDrift,
  listText,
  nodePortText,
  proxyOf,
  settingOf,
  severityOf,
  subjectOf,
  symptomOfDrift,
  symptomText,
} from './detector.ts';
import { restartProxy, splitTarget } from './remedy.ts';

/** B17, B18: rules serve NodePorts on some addresses only, and an address that clients use is not among them, or one that is served has left the node. */
export const addressNotServed: Detector = {
  causes: ['B17', 'B18'],
  detect: (diagnosis) => factsOf(diagnosis, 'served').flatMap((fact) => servedFindings(diagnosis, fact)),
};

/** B21: clients are sent to another node's pod with their own address, and the answer does not come back this way. */
export const notMasqueraded: Detector = {
  causes: ['B21'],
  detect: (diagnosis) => {
    const bare = diagnosis.expectations
      .filter(({ expect, externalTrafficPolicy }) => expect === 'forward' && externalTrafficPolicy === 'Cluster')
      .filter((expectation) => setFault(diagnosis, expectation) === undefined)
      .map((expectation) => ({ expectation, targets: bareTargets(diagnosis, expectation) }))
      .filter(({ targets }) => targets.length > 0);
    const byFamily = Map.groupBy(bare, ({ expectation }) => expectation.nodePort.family);
    const remote = [...byFamily.values()].flatMap((some) =>
      some.length < commonMin ? some.map((each) => masqueradeFinding(diagnosis, [each])) : [masqueradeFinding(diagnosis, some)],
    );
    const hairpins = proxyOf(diagnosis)?.mode === 'ipvs' ? [] : diagnosis.drifts.filter(isHairpin);
    const alone = hairpins.filter(({ nodePort }) => !byFamily.has(nodePort.family));
    const [first] = remote;
    const following = first === undefined ? [] : [{ ...first, explains: hairpins.filter((drift) => !alone.includes(drift)) }];
    return [...remote, ...following, ...(alone.length === 0 ? [] : [hairpinFinding(diagnosis, alone)])];
  },
};

/** NodePorts whose packets keep the client's address, from so many on the fault is taken for one that they have in common. */
const commonMin = 3;

/** A NodePort, and its endpoints on other nodes that see the client's own address. */
interface Bare {
  readonly expectation: Expectation;
  readonly targets: readonly string[];
}

/** B22: what kube-proxy takes for pods is not what the nodes have been given. */
export const wrongClusterNetwork: Detector = {
  causes: ['B22'],
  detect: (diagnosis) => {
    const believed = proxyOf(diagnosis)?.clusterNetworks ?? [];
    const node = diagnosis.objects.nodes.get(diagnosis.node);
    if (believed.length === 0 || node === undefined || node.podCIDRs.length === 0) return [];
    const families = new Set(believed.map((network) => parsePrefix(network)?.family));
    // Where kube-proxy goes by its own node's network, the networks of other nodes are rightly not in it.
    const own = node.podCIDRs.every((network) => !families.has(parsePrefix(network)?.family) || believed.includes(network));
    const asked = own ? node.podCIDRs : [...new Set([...diagnosis.objects.nodes.values()].flatMap(({ podCIDRs }) => podCIDRs))];
    const outside = asked.filter((network) => families.has(parsePrefix(network)?.family) && !believed.some((each) => isWithin(network, each)));
    return outside.length === 0 ? [] : [clusterNetworkFinding(diagnosis, believed, outside)];
  },
};

/** B10, B23: settings and connections of IPVS that lead some clients astray. */
export const ipvsConnections: Detector = {
  causes: ['B10', 'B23'],
  detect: (diagnosis) => (proxyOf(diagnosis)?.mode === 'ipvs' ? [...reuseFindings(diagnosis), ...masqueradePortFindings(diagnosis)] : []),
};

/** B25: packets of known connections that the kernel takes for invalid are dropped by kube-proxy's own rule: an asymmetric path, as a rule. */
export const invalidPackets: Detector = {
  causes: ['B25'],
  detect: (diagnosis) => {
    const dropped = counterOf(diagnosis, 'kube_forward_invalid') ?? 0;
    if (dropped < invalidMin || settingOf(diagnosis, 'net.netfilter.nf_conntrack_tcp_be_liberal') === '1') return [];
    const finding = findingOf(diagnosis, undefined, {
      cause: 'B25',
      title: 'packets of running connections are dropped as INVALID',
      severity: 'info',
      confidence: 'possible',
      symptom: 'ok',
      summary: `KUBE-FORWARD on ${diagnosis.node} has dropped at least ${dropped} packets as INVALID: connections may hang now and then where their packets and answers take different ways.`,
      evidence: [
        { witness: 'counters', text: `The rule of KUBE-FORWARD for ctstate INVALID has counted at least ${dropped} packets.` },
        { witness: 'settings', text: 'net.netfilter.nf_conntrack_tcp_be_liberal is not 1.' },
      ],
      remedy: ['sysctl -w net.netfilter.nf_conntrack_tcp_be_liberal=1', '# and look for a second way between client and node: ip route get CLIENT'],
    });
    return [{ finding, explains: [] }];
  },
};

/** B19, D04: NodePorts on 127.0.0.1, which some modes serve and others do not. */
export const loopbackNodePorts: Detector = {
  causes: ['B19', 'D04'],
  detect: (diagnosis) => {
    const mode = proxyOf(diagnosis)?.mode;
    if (mode === 'nftables') return leftIptables(diagnosis) ? [loopbackFinding(diagnosis, 'B19')] : [];
    const off = settingOf(diagnosis, 'net.ipv4.conf.all.route_localnet') === '0' && settingOf(diagnosis, 'net.ipv4.conf.lo.route_localnet') !== '1';
    return mode === 'iptables' && off && proxyOf(diagnosis)?.flags?.['iptables-localhost-nodeports'] !== 'false' ? [loopbackFinding(diagnosis, 'D04')] : [];
  },
};

const invalidMin = 1_024;

function servedFindings(diagnosis: Diagnosis, fact: ServedAddressesFact): Diagnosed[] {
  if (fact.prefixes.length === 0 || !diagnosis.expectations.some(({ nodePort }) => nodePort.family === fact.family)) return [];
  const prefixes = fact.prefixes.flatMap((text) => parsePrefix(text) ?? []);
  const own = ownAddresses(diagnosis, fact.family);
  if (own.length === 0) return [];
  const used = (diagnosis.objects.nodes.get(diagnosis.node)?.addresses ?? []).flatMap(({ address }) => canonical(address, fact.family));
  const left = prefixes.filter(({ length, value }) => length === (fact.family === 4 ? 32 : 128) && !own.includes(formatAddress(fact.family, value)));
  const missed = used.filter((address) => own.includes(address) && !prefixes.some(({ interval }) => contains([interval], parseAddress(address)?.value ?? -1n)));
  if (missed.length === 0) return [];
  const drifts = diagnosis.drifts.filter(
    (drift) => isRuleDrift(drift) && drift.kind !== 'unexpected' && drift.fact !== undefined && missed.includes(drift.fact.address),
  );
  const moved = left.map(({ value }) => formatAddress(fact.family, value));
  return [servedFinding({ diagnosis, fact, missed, moved, drifts })];
}

interface NotServed {
  readonly diagnosis: Diagnosis;
  readonly fact: ServedAddressesFact;
  readonly missed: readonly string[];
  /** Addresses that are served and that the node does not have (any more). */
  readonly moved: readonly string[];
  readonly drifts: readonly Drift[];
}

function servedFinding({ diagnosis, fact, missed, moved, drifts }: NotServed): Diagnosed {
  const stale = moved.length > 0;
  const flag = proxyOf(diagnosis)?.flags?.['nodeport-addresses'];
  const [first] = drifts;
  const finding = findingOf(diagnosis, undefined, {
    cause: stale ? 'B18' : 'B17',
    about: `served/${fact.family}`,
    title: stale ? "kube-proxy's rules are for an address that the node does not have any more" : 'NodePorts are not served on this address',
    severity: drifts.length > 0 ? 'error' : 'warning',
    confidence: 'certain',
    symptom: first === undefined ? 'refused' : symptomOfDrift(first),
    summary: stale
      ? `kube-proxy's rules on ${diagnosis.node} serve NodePorts on ${listText(moved)}, which is on none of its interfaces, and not on ${listText(missed)}, which the Node object gives.`
      : `kube-proxy on ${diagnosis.node} serves NodePorts on ${listText(fact.prefixes.slice(0, 4))} only: clients of ${listText(missed)} do not get in.`,
    evidence: [
      { witness: 'rules', text: `The rules serve NodePorts on ${listText(fact.prefixes.slice(0, 6))}.` },
      { witness: 'objects', text: `Node ${diagnosis.node} has the address ${listText(missed)}.` },
      ...(flag === undefined ? [] : [{ witness: 'processes' as const, text: `kube-proxy runs with --nodeport-addresses=${flag}.` }]),
    ],
    remedy: [
      ...(stale ? [] : ['# nodePortAddresses in the ConfigMap kube-proxy of kube-system (or --nodeport-addresses): add the network of that address, then']),
      ...restartProxy(diagnosis.objects, diagnosis.node, proxyOf(diagnosis)),
    ],
    consequences: drifts.slice(0, consequencesMax).map(({ key }) => key),
  });
  return { finding: { ...finding, family: fact.family }, explains: drifts };
}

const ownAddresses = (diagnosis: Diagnosis, family: Family): string[] =>
  factsOf(diagnosis, 'interface').flatMap(({ addresses }) => addresses.flatMap((address) => canonical(address.split('/')[0] as string, family)));

function canonical(text: string, family: Family): string[] {
  const address = parseAddress(text);
  return address?.family === family ? [formatAddress(family, address.value)] : [];
}

/** Pods of other nodes that outside clients of a NodePort are sent to with their own address; empty where any of them has it replaced. */
export function bareTargets(diagnosis: Diagnosis, expectation: Expectation): string[] {
  const fact = diagnosis.facts.get(expectation.key);
  const outcomes = fact?.kind === 'nodeport' ? (fact.outcomes.external ?? []) : [];
  const bare = outcomes.filter((outcome) => isBareRemote(diagnosis, outcome));
  return outcomes.some((outcome) => outcome.masquerade) ? [] : [...new Set(bare.flatMap(({ dnat }) => dnat ?? []))];
}

function masqueradeFinding(diagnosis: Diagnosis, some: readonly Bare[]): Diagnosed {
  const [{ expectation, targets }, ...others] = some as readonly [Bare, ...Bare[]];
  const unhooked = Object.entries(chainsOf(diagnosis, expectation.nodePort.family)?.parts ?? {})
    .filter(([part, there]) => !there && /POSTROUTING|MARK-MASQ|masquerading|nat-postrouting/.test(part))
    .map(([part]) => part);
  const keys = new Set([expectation, ...others.map((each) => each.expectation)].map(({ key }) => key));
  const finding = findingOf(diagnosis, expectation, {
    cause: 'B21',
    title: "the client's address is not replaced on the way to other nodes",
    severity: 'error',
    confidence: unhooked.length > 0 ? 'certain' : 'likely',
    symptom: 'timeout',
    summary: `${nodePortText(expectation.nodePort, expectation)}${others.length === 0 ? '' : ` and ${counted(others.length, 'more NodePort')}`}: connections time out for clients outside that are sent to ${listText(targets.slice(0, 4))} on other nodes: ${diagnosis.node} does not put its own address in place of theirs${unhooked.length > 0 ? ` (${listText(unhooked)} ${unhooked.length === 1 ? 'is' : 'are'} missing)` : ''}, so the pods answer the client by a way of their own.`,
    evidence: [
      { witness: 'rules', text: `Packets to ${listText(targets.slice(0, 4))} leave without masquerade, and externalTrafficPolicy is Cluster.` },
      ...unhooked.map((part) => ({ witness: 'rules' as const, text: `Missing: ${part}.` })),
    ],
    remedy: [
      'iptables-save | grep -nE "MARK|KUBE-POSTROUTING"  # who clears or overwrites the mark 0x4000 before KUBE-POSTROUTING?',
      ...restartProxy(diagnosis.objects, diagnosis.node, proxyOf(diagnosis)),
    ],
    removed: unhooked.length > 0 ? ['KUBE-POSTROUTING'] : [],
    consequences: others.slice(0, consequencesMax).map((each) => each.expectation.key),
  });
  return { finding, explains: diagnosis.drifts.filter(({ key, kind }) => kind === 'masquerade' && keys.has(key)) };
}

/** Pods that are sent to themselves by their own Service; without a masquerade they see a packet of their own address, and drop it. */
function hairpinFinding(diagnosis: Diagnosis, drifts: readonly Drift[]): Diagnosed {
  const [drift, ...others] = drifts as readonly [Drift, ...Drift[]];
  const targets = [...new Set(drift.affected.flatMap(({ outcomes }) => outcomes.flatMap(({ dnat }) => dnat ?? [])))];
  const finding = findingOf(diagnosis, subjectOf(drift), {
    cause: 'B21',
    title: 'the address of a pod that is sent to itself is not replaced',
    severity: severityOf(drift),
    confidence: 'likely',
    symptom: symptomOfDrift(drift),
    summary: `${nodePortText(drift.nodePort, drift.expectation)}${others.length === 0 ? '' : ` and ${counted(others.length, 'more NodePort')}`}: ${symptomText[symptomOfDrift(drift)]} for pods that are sent to themselves (${listText(targets.slice(0, 4))}): ${diagnosis.node} does not put its own address in place of theirs. Clients outside are not concerned.`,
    evidence: [{ witness: 'rules', text: `Packets of ${listText(targets.slice(0, 4))} to itself leave without masquerade.` }],
    remedy: restartProxy(diagnosis.objects, diagnosis.node, proxyOf(diagnosis)),
    removed: ['KUBE-MARK-MASQ'],
    consequences: others.slice(0, consequencesMax).map(({ key }) => key),
  });
  return { finding, explains: drifts };
}

/** The set that the NodePort should be in, by the names of kube-proxy. */
export function nodePortSet({ nodePort: { family, protocol } }: Pick<Expectation, 'nodePort'>): string {
  return `KUBE-${family === 6 ? '6-' : ''}NODE-PORT-${protocol === 'sctp' ? 'SCTP-HASH' : protocol.toUpperCase()}`;
}

/** Whether the set of a NodePort of IPVS mode is not there, or does not have its number. */
export function setFault(diagnosis: Diagnosis, expectation: Expectation): 'missing' | 'not filled' | undefined {
  const fact = diagnosis.facts.get(expectation.key);
  const there = chainsOf(diagnosis, expectation.nodePort.family)?.parts[`set ${nodePortSet(expectation)}`];
  if (proxyOf(diagnosis)?.mode !== 'ipvs' || fact?.kind !== 'nodeport' || there === undefined) return undefined;
  if (!there) return 'missing';
  return fact.claimed.by === 'none' ? 'not filled' : undefined;
}

// A pod of another node, reached with the client's own address, from (nearly) everywhere.
function isBareRemote({ objects, node }: Diagnosis, outcome: Outcome): boolean {
  if (outcome.masquerade || outcome.dnat === null || outcome.verdict !== 'forward' || isUncertain(outcome) || lossOf(outcome) !== undefined) return false;
  const { address } = splitTarget(outcome.dnat);
  const other = [...objects.nodes.values()].some(({ name, podCIDRs }) => name !== node && podCIDRs.some((network) => isWithin(address, network)));
  return other && coversMost(outcome.sources);
}

function isWithin(inner: string, outer: string): boolean {
  const [small, large] = [parsePrefix(inner), parsePrefix(outer)];
  return small !== undefined && large?.family === small.family && large.interval.lo <= small.interval.lo && small.interval.hi <= large.interval.hi;
}

function clusterNetworkFinding(diagnosis: Diagnosis, believed: readonly string[], outside: readonly string[]): Diagnosed {
  const finding = findingOf(diagnosis, undefined, {
    cause: 'B22',
    title: "kube-proxy's cluster network is not that of the pods",
    severity: 'warning',
    confidence: 'likely',
    symptom: 'ok',
    summary: `kube-proxy on ${diagnosis.node} takes ${listText(believed)} for the pods' network, but nodes have ${listText(outside.slice(0, 4))}: their pods are taken for outside clients, and with externalTrafficPolicy Local they are dropped where they would be served.`,
    evidence: [
      { witness: 'rules', text: `Rules masquerade all but ${listText(believed)}.` },
      { witness: 'objects', text: `Node objects have the pod networks ${listText(outside.slice(0, 6))}.` },
    ],
    remedy: [
      '# clusterCIDR in the ConfigMap kube-proxy of kube-system (or --cluster-cidr): set the network that holds all podCIDRs, then',
      ...restartProxy(diagnosis.objects, diagnosis.node, proxyOf(diagnosis)),
    ],
  });
  return { finding, explains: [] };
}

function reuseFindings(diagnosis: Diagnosis): Diagnosed[] {
  const [reuse, expire] = [settingOf(diagnosis, 'net.ipv4.vs.conn_reuse_mode'), settingOf(diagnosis, 'net.ipv4.vs.expire_nodest_conn')];
  if (reuse !== '0' || expire !== '0') return [];
  const finding = findingOf(diagnosis, undefined, {
    cause: 'B10',
    title: 'IPVS sends new connections to real servers that are gone',
    severity: 'warning',
    confidence: 'possible',
    symptom: 'timeout',
    summary: `On ${diagnosis.node} net.ipv4.vs.conn_reuse_mode and expire_nodest_conn are 0: a client that opens connections quickly from few ports is sent to real servers that were removed, and times out.`,
    evidence: [{ witness: 'settings', text: 'net.ipv4.vs.conn_reuse_mode = 0, net.ipv4.vs.expire_nodest_conn = 0.' }],
    remedy: ['sysctl -w net.ipv4.vs.expire_nodest_conn=1', '# from Linux 5.9 on also: sysctl -w net.ipv4.vs.conn_reuse_mode=1'],
  });
  return [{ finding, explains: [] }];
}

function masqueradePortFindings(diagnosis: Diagnosis): Diagnosed[] {
  const count = counterOf(diagnosis, 'masqueraded_onto_nodeport') ?? 0;
  if (count === 0) return [];
  const finding = findingOf(diagnosis, undefined, {
    cause: 'B23',
    title: "masqueraded connections use a NodePort's number as their own",
    severity: 'warning',
    confidence: 'likely',
    symptom: 'timeout',
    summary: `${count} connections through ${diagnosis.node} wait for an answer at a port of the node that is a NodePort too: IPVS takes the answer for a new client, and the connection times out.`,
    evidence: [{ witness: 'counters', text: `conntrack has ${count} unanswered SYN_SENT entries whose answer goes to the number of a NodePort.` }],
    remedy: [`sysctl -w net.ipv4.ip_local_port_range='32768 60999'  # keeps the node's own ports out of the NodePort range`],
  });
  return [{ finding, explains: [] }];
}

// The change to nftables mode is what turns an expectation into a surprise.
const leftIptables = ({ changes, node }: Diagnosis): boolean =>
  changes.some((change) => change.node === node && change.after === null && (change.before ?? '').includes('KUBE-NODEPORTS'));

function loopbackFinding(diagnosis: Diagnosis, cause: 'B19' | 'D04'): Diagnosed {
  const nftables = cause === 'B19';
  const finding = findingOf(diagnosis, undefined, {
    cause,
    about: 'loopback',
    title: nftables ? 'nftables mode serves no NodePort on 127.0.0.1: by design' : 'route_localnet is off: no NodePort on 127.0.0.1',
    severity: 'info',
    confidence: 'certain',
    symptom: 'refused',
    summary: nftables
      ? `kube-proxy on ${diagnosis.node} writes nftables now, a mode in which processes of the node do not reach NodePorts on 127.0.0.1; until the change they did.`
      : `On ${diagnosis.node} net.ipv4.conf.all.route_localnet is 0: processes of the node do not reach NodePorts on 127.0.0.1; other addresses are served.`,
    evidence: nftables
      ? [{ witness: 'changes', text: "The chains of kube-proxy's iptables mode were removed; its nftables table serves other addresses only." }]
      : [{ witness: 'settings', text: 'net.ipv4.conf.all.route_localnet = 0.' }],
    remedy: nftables
      ? ["# use the node's own address in place of 127.0.0.1"]
      : ['sysctl -w net.ipv4.conf.all.route_localnet=1', "# or use the node's own address in place of 127.0.0.1"],
  });
  return { finding, explains: [] };
}
