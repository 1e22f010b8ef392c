// Causes below the rules: tunnels between nodes, bridges, routes to other nodes' pods, and the network outside that lets nothing through.

import { contains, parseAddress, parsePrefix } from '../../shared/model/address.ts';
import type { Change } from '../../shared/model/change.ts';
import type { InterfaceFact, PortFact, RoutingFact, TunnelFact } from '../../shared/model/fact.ts';
import type { Evidence } from '../../shared/model/finding.ts';
import { symptomOf } from '../../shared/model/outcome.ts';
import { durationText } from '../correlate/index.ts';
import { consequencesMax, counted, counterOf, type Detector, type Diagnosed, type Diagnosis, decidersOf, factsOf, findingOf, listText } from './detector.ts';
import { deciderText } from './owner.ts';
import { openPort, splitTarget } from './remedy.ts';

/** C22: a firewall of this node shuts the port on which other nodes send it their pods' packets. */
export const overlayBlocked: Detector = {
  causes: ['C22'],
  detect: (diagnosis) =>
    factsOf(diagnosis, 'port')
      .filter(({ purpose }) => purpose === 'overlay')
      .flatMap((fact) => overlayFindings(diagnosis, fact)),
};

/** C21: a security group that let NodePorts in was changed, and does not any more. What the cloud drops never reaches the node: only the change tells. */
export const securityGroup: Detector = {
  causes: ['C21'],
  detect: (diagnosis) => diagnosis.changes.filter((change) => isRecent(diagnosis, change)).flatMap((change) => groupFindings(diagnosis, change)),
};

/**
 * D17, D15: some pod networks have a route of their own and this one falls to the default route, which leads out of the cluster; or the route is there, and the
 * tunnel does not know the node at its end.
 */
export const podRouteMissing: Detector = {
  causes: ['D15', 'D17'],
  detect: (diagnosis) => [
    ...factsOf(diagnosis, 'routing').flatMap((fact) => routeFindings(diagnosis, fact)),
    ...factsOf(diagnosis, 'tunnel').flatMap((fact) => tunnelFindings(diagnosis, fact)),
  ],
};

/** D14: NetworkManager's cloud setup has made policy rules that send the node's answers by tables of its own. */
export const cloudSetupRules: Detector = {
  causes: ['D14'],
  detect: (diagnosis) => factsOf(diagnosis, 'routing').flatMap((fact) => cloudFindings(diagnosis, fact)),
};

/** D11: a tunnel's packets do not fit into the packets of the network below it. */
export const tunnelTooLarge: Detector = {
  causes: ['D11'],
  detect: (diagnosis) => {
    const device = factsOf(diagnosis, 'routing').find(({ defaultRoute }) => defaultRoute)?.device;
    const below = factsOf(diagnosis, 'interface').find(({ name }) => name === device)?.mtu;
    return below === undefined
      ? []
      : factsOf(diagnosis, 'interface').flatMap((fact) => sizeFindings(diagnosis, fact, { device: device as string, mtu: below }));
  },
};

/** D10: tunnels with damaged checksums: the sender's card (or its driver) fills them in wrongly, and the receiver drops the packets. */
export const damagedChecksums: Detector = {
  causes: ['D10'],
  detect: (diagnosis) => {
    const errors = counterOf(diagnosis, 'udp_in_csum_errors') ?? 0;
    const tunnel = factsOf(diagnosis, 'interface').find(({ name, type }) => type === 'vxlan' || overheadOf(name) === udpOverhead);
    if (errors < checksumErrorsMin || tunnel === undefined) return [];
    const finding = findingOf(diagnosis, undefined, {
      cause: 'D10',
      title: "checksums of the tunnel's packets are damaged",
      severity: 'info',
      confidence: 'possible',
      symptom: 'timeout',
      summary: `${diagnosis.node} has dropped at least ${errors} UDP packets for a wrong checksum, and ${tunnel.name} carries pods' packets in UDP: connections to pods here may take 1 to 63 seconds or fail.`,
      evidence: [{ witness: 'counters', text: `Udp InCsumErrors is at least ${errors}.` }, ...offloadEvidence(tunnel)],
      remedy: [`ethtool -K ${tunnel.name} tx-checksum-ip-generic off  # on the sending nodes; a newer kernel needs it no more`],
    });
    return [{ finding, explains: [] }];
  },
};

/** D06: a bridge does not send a packet back to the port it came from: a pod does not reach itself by its own NodePort. */
export const hairpinOff: Detector = {
  causes: ['D06'],
  detect: (diagnosis) => {
    const ports = factsOf(diagnosis, 'interface').filter(({ hairpin, up }) => hairpin === false && up);
    const [first] = ports;
    if (first === undefined || !diagnosis.expectations.some(({ endpoints }) => endpoints.some((endpoint) => isOnNode(diagnosis, endpoint)))) return [];
    const finding = findingOf(diagnosis, undefined, {
      cause: 'D06',
      title: 'bridge ports do not send packets back (hairpin is off)',
      severity: 'info',
      confidence: 'possible',
      symptom: 'timeout',
      summary: `${counted(ports.length, 'bridge port')} of ${diagnosis.node} ${ports.length === 1 ? 'has' : 'have'} hairpin mode off: a pod there that calls its own Service or NodePort and is sent to itself gets no answer, unless its bridge is promiscuous; nobody else is concerned.`,
      evidence: [{ witness: 'settings', text: `hairpin_mode is 0 at ${listText(ports.slice(0, 4).map(({ name }) => name))}.` }],
      remedy: [`bridge link set dev ${first.name} hairpin on`, '# lasting: "hairpinMode": true in the configuration of the CNI\'s bridge plugin'],
    });
    return [{ finding, explains: [] }];
  },
};

// The damage is done by whoever sends: this node's own setting says whether it does the same to others.
function offloadEvidence({ name, offloads }: InterfaceFact): Evidence[] {
  const on = offloads?.['tx-checksum-ip-generic'];
  if (on === undefined) return [];
  return [
    {
      witness: 'settings',
      text: `tx-checksum-ip-generic of ${name} is ${on ? 'on: this node may damage what it sends as well' : 'off here: the nodes that send are to be looked at'}.`,
    },
  ];
}

const checksumErrorsMin = 64;
const groupWindowMs = 30 * 60_000;

function overlayFindings(diagnosis: Diagnosis, fact: PortFact): Diagnosed[] {
  const outcomes = (fact.outcomes.peer ?? []).filter(
    ({ verdict, weight, unless = [] }) => weight > 0 && (verdict === 'drop' || verdict === 'reject') && unless.length === 0,
  );
  const [first] = outcomes;
  if (first === undefined) return [];
  const deciders = decidersOf(outcomes);
  const sources = [...new Set(outcomes.flatMap((outcome) => outcome.sources ?? []))];
  const { protocol, port, family } = fact.port;
  const finding = findingOf(diagnosis, undefined, {
    cause: 'C22',
    about: `port/${family}/${port}`,
    title: "the port of the pods' tunnel is shut for other nodes",
    severity: 'error',
    confidence: 'certain',
    symptom: symptomOf(first) === 'unreachable' ? 'unreachable' : 'timeout',
    deciders,
    summary: `Clients of other nodes that are sent to pods on ${diagnosis.node}, and answers to pods elsewhere, are lost: packets of ${fact.device ?? 'the tunnel'} (${protocol} ${port}) from ${sources.length === 0 ? 'other nodes' : listText(sources.slice(0, 3))} end in ${listText(deciders.slice(0, 2).map(deciderText))}.`,
    evidence: deciders.map((decider) => ({ witness: 'rules', text: `Decided by ${deciderText(decider)}.`, decider })),
    remedy: openPort(fact.port, deciders[0]),
  });
  return [{ finding: { ...finding, family }, explains: [] }];
}

const isRecent = ({ now, node }: Diagnosis, { at, node: where }: Change): boolean => at <= now && now - at <= groupWindowMs && (where === '' || where === node);

function groupFindings(diagnosis: Diagnosis, change: Change): Diagnosed[] {
  if (!/security group|network acl/i.test(change.subject)) return [];
  const shut = diagnosis.expectations.filter(
    ({ nodePort, expect }) => expect === 'forward' && admits(change.before, nodePort.port) && !admits(change.after, nodePort.port),
  );
  const well = shut.filter(({ key }) => !diagnosis.drifts.some((drift) => drift.key === key && drift.kind !== 'unknown'));
  return well.map((expectation) => {
    const finding = findingOf(diagnosis, expectation, {
      cause: 'C21',
      title: 'a security group does not admit the NodePort any more',
      severity: 'warning',
      confidence: 'likely',
      symptom: 'timeout',
      trigger: change,
      summary: `${expectation.service.namespace}/${expectation.service.name}, NodePort ${expectation.nodePort.port}/${expectation.nodePort.protocol}: ${change.subject} admitted the port until ${durationText(diagnosis.now - change.at)} ago and does not now; the rules of ${diagnosis.node} are right, but packets from outside do not reach it.`,
      evidence: [{ witness: 'rules', text: `The rules of ${diagnosis.node} send clients to ${listText(expectation.endpoints.slice(0, 4))}.` }],
      remedy: [`# admit ${expectation.nodePort.protocol} ${expectation.nodePort.port} (or 30000-32767) in ${change.subject} for the clients' networks`],
    });
    return { finding, explains: [] };
  });
}

/** Whether a text names the port or a range that holds it. */
function admits(text: string | null, port: number): boolean {
  return [...(text ?? '').matchAll(/(?<![\d.])(\d{1,5})(?:\s*-\s*(\d{1,5}))?(?![\d./])/g)].some(([, lo, hi]) => Number(lo) <= port && port <= Number(hi ?? lo));
}

interface LostNetwork {
  readonly name: string;
  readonly network: string;
}

function routeFindings(diagnosis: Diagnosis, fact: RoutingFact): Diagnosed[] {
  const others = [...diagnosis.objects.nodes.values()].filter(({ name }) => name !== diagnosis.node);
  const known = others.flatMap(({ name, podCIDRs }) => podCIDRs.filter((network) => network in fact.podNetworks).map((network) => ({ name, network })));
  const lost = known.filter(({ network }) => fact.podNetworks[network] === null);
  // Where no pod network has a route of its own, the network outside knows them all: clouds do it so.
  return lost.length === 0 || lost.length === known.length ? [] : [routeFinding(diagnosis, fact, lost)];
}

function routeFinding(diagnosis: Diagnosis, fact: RoutingFact, lost: readonly LostNetwork[]): Diagnosed {
  const networks = lost.map(({ network }) => network);
  const removal = diagnosis.changes.findLast(
    ({ node, kind, before, after }) =>
      node === diagnosis.node && kind === 'route' && networks.some((network) => before?.includes(network) && !after?.includes(network)),
  );
  const daemon = removal === undefined ? undefined : networkdNear(diagnosis, removal);
  const keys = diagnosis.expectations.filter(({ endpoints }) => endpoints.some((endpoint) => networks.some((network) => isIn(endpoint, network))));
  const kept = Object.values(fact.podNetworks).flatMap((route) => route ?? []);
  const finding = findingOf(diagnosis, undefined, {
    cause: daemon === undefined ? 'D17' : 'D15',
    about: `routing/${fact.family}`,
    title: daemon === undefined ? "no route to another node's pods" : 'systemd-networkd has removed routes that it did not make',
    severity: keys.length > 0 ? 'error' : 'warning',
    confidence: removal === undefined ? 'likely' : 'certain',
    symptom: 'timeout',
    summary: `Clients that ${diagnosis.node} sends to pods of ${listText(lost.slice(0, 3).map(({ name, network }) => `${name} (${network})`))} get no answer: that network has no route of its own here and falls to the default route, while other nodes' networks have theirs${daemon === undefined ? '' : '; systemd-networkd was restarted at that time, which removes foreign routes'}.`,
    evidence: [
      { witness: 'settings', text: `No route to ${listText(networks.slice(0, 4))}${fact.defaultRoute ? ' but the default route' : ''}.` },
      { witness: 'settings', text: `Others: ${listText(kept.slice(0, 3))}.` },
      ...(daemon === undefined ? [] : [{ witness: 'changes' as const, text: `${daemon.subject} at ${new Date(daemon.at).toISOString()}.` }]),
    ],
    remedy: daemon === undefined ? routeRemedy(networks) : networkdRemedy,
    ...(removal === undefined ? {} : { trigger: removal }),
    consequences: keys.slice(0, consequencesMax).map(({ key }) => key),
  });
  return { finding: { ...finding, family: fact.family }, explains: [] };
}

function tunnelFindings(diagnosis: Diagnosis, { device, broken, hops }: TunnelFact): Diagnosed[] {
  const lost = Object.entries(broken);
  const [first] = lost;
  if (first === undefined) return [];
  const finding = findingOf(diagnosis, undefined, {
    cause: 'D17',
    about: `tunnel/${device}`,
    title: "the tunnel does not know the way to other nodes' pods",
    severity: 'warning',
    confidence: 'likely',
    symptom: 'timeout',
    summary: `${device} of ${diagnosis.node} cannot send to ${lost.length} of its ${counted(hops, 'next hop')} (${listText(lost.slice(0, 3).map(([hop, why]) => `${hop}: ${why}`))}): clients that are sent to pods behind them get no answer.`,
    evidence: lost.slice(0, 6).map(([hop, why]) => ({ witness: 'settings', text: `Next hop ${hop} on ${device}: ${why}.` })),
    remedy: [
      `ip neigh show dev ${device}; bridge fdb show dev ${device}`,
      '# the CNI makes these entries: restart its pod on this node, and compare the public address that it has noted for the other node',
    ],
  });
  return [{ finding, explains: [] }];
}

const routeRemedy = (networks: readonly string[]): string[] => [
  `ip route get ${networks[0]?.split('/')[0]}`,
  '# the CNI makes this route: look at its pod on this node, then restart it',
];
const networkdRemedy: readonly string[] = [
  "mkdir -p /etc/systemd/networkd.conf.d && printf '[Network]\\nManageForeignRoutes=no\\nManageForeignRoutingPolicyRules=no\\n' > /etc/systemd/networkd.conf.d/50-foreign.conf",
  "# then restart the CNI's pod on this node, which makes its routes again",
];

const networkdNear = ({ changes, node }: Diagnosis, { at, actor }: Change): Change | undefined =>
  changes.find(
    (change) => change.node === node && change.kind === 'process' && /systemd-network/.test(change.subject) && Math.abs(change.at - at) <= 120_000,
  ) ?? (/systemd-network/.test(actor?.comm ?? '') ? { at, node, kind: 'process', subject: 'systemd-networkd', before: null, after: null } : undefined);

function isIn(target: string, network: string): boolean {
  const [address, prefix] = [parseAddress(splitTarget(target).address), parsePrefix(network)];
  return address !== undefined && prefix?.family === address.family && contains([prefix.interval], address.value);
}

const isOnNode = ({ objects, node }: Diagnosis, target: string): boolean => (objects.nodes.get(node)?.podCIDRs ?? []).some((network) => isIn(target, network));

/** Priorities that nm-cloud-setup gives its rules. */
const cloudPriorities = { lo: 30200, hi: 30499 };

function cloudFindings(diagnosis: Diagnosis, fact: RoutingFact): Diagnosed[] {
  const rules = fact.rules.filter((text) => {
    const priority = Number(/^(\d+):/.exec(text)?.[1]);
    return priority >= cloudPriorities.lo && priority <= cloudPriorities.hi && /lookup 30[2-4]\d\d/.test(text);
  });
  if (rules.length === 0) return [];
  const lost = diagnosis.drifts.filter(
    ({ kind, affected }) => kind === 'blocked' && decidersOf(affected.flatMap(({ outcomes }) => outcomes)).some(({ by }) => by === 'route'),
  );
  const finding = findingOf(diagnosis, undefined, {
    cause: 'D14',
    about: `routing/${fact.family}`,
    title: "nm-cloud-setup's routing rules stand before the pods' routes",
    severity: lost.length > 0 ? 'error' : 'warning',
    confidence: lost.length > 0 ? 'certain' : 'possible',
    symptom: 'timeout',
    summary: `NetworkManager's nm-cloud-setup has made routing rules on ${diagnosis.node} (${rules[0]}): packets from the node's addresses, masqueraded clients among them, go by tables that do not know the pods' networks.`,
    evidence: rules.slice(0, 4).map((text) => ({ witness: 'settings', text: `ip rule: ${text}.` })),
    remedy: ['systemctl disable --now nm-cloud-setup.service nm-cloud-setup.timer', '# then reboot the node: the rules and tables stay until then'],
    consequences: lost.slice(0, consequencesMax).map(({ key }) => key),
  });
  return [{ finding: { ...finding, family: fact.family }, explains: lost }];
}

/** Bytes that VXLAN and Geneve put around a packet over IPv4. */
const udpOverhead = 50;
/** Tunnels by the name of their interface, and the bytes that they put around a packet over IPv4. */
const tunnels: readonly (readonly [RegExp, number])[] = [
  [/^flannel\.\d+$|^vxlan\.calico$|^cilium_vxlan$|^vxlan_sys_4789$|^genev_sys_6081$|^cilium_geneve$/, udpOverhead],
  [/^flannel-wg$|^wireguard\.cali$|^wg\d+$|^cilium_wg0$/, 60],
  [/^tunl0$|^flannel\.ipip$/, 20],
];
const overheadOf = (name: string): number | undefined => tunnels.find(([pattern]) => pattern.test(name))?.[1];

function sizeFindings(diagnosis: Diagnosis, fact: InterfaceFact, below: { readonly device: string; readonly mtu: number }): Diagnosed[] {
  const overhead = overheadOf(fact.name);
  if (overhead === undefined || fact.mtu === undefined || !fact.up || fact.mtu + overhead <= below.mtu) return [];
  const finding = findingOf(diagnosis, undefined, {
    cause: 'D11',
    about: `device/${fact.name}`,
    title: "the tunnel's packets are larger than the network below takes",
    severity: 'warning',
    confidence: 'likely',
    symptom: 'timeout',
    summary: `${fact.name} on ${diagnosis.node} has an MTU of ${fact.mtu} and adds ${overhead} bytes, but ${below.device} takes ${below.mtu}: connections to pods of other nodes are opened, and hang as soon as a full packet is sent.`,
    evidence: [{ witness: 'settings', text: `MTU of ${fact.name}: ${fact.mtu}; of ${below.device}: ${below.mtu}; ${overhead} bytes are added.` }],
    remedy: [`ip link set ${fact.name} mtu ${below.mtu - overhead}`, '# lasting: the MTU in the configuration of the CNI'],
  });
  return [{ finding, explains: [] }];
}
