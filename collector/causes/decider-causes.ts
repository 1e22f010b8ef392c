// The table from deciders to causes: which firewall, setting or route closes the gate, and the commands that open it.

import type { FirewallFact } from '../../shared/model/fact.ts';
import type { Evidence, Finding } from '../../shared/model/finding.ts';
import type { Decider, Outcome } from '../../shared/model/outcome.ts';
import type { Drift } from '../compare/index.ts';
import { type Diagnosis, factsOf, listText, neighboursOf, proxyOf } from './detector.ts';
import { deciderText, placeText, programOf, ruleBody } from './owner.ts';
import { acceptTranslated, allowRouted, removeDecider, restartProxy, splitTarget } from './remedy.ts';
import { toolsEvidence } from './tools.ts';

export interface Decided {
  readonly diagnosis: Diagnosis;
  readonly drift: Drift;
  /** All of one cause, at least one. */
  readonly deciders: readonly Decider[];
  readonly outcomes: readonly Outcome[];
}

export interface Described {
  readonly title: string;
  /** Why, as the end of a sentence. */
  readonly because: string;
  readonly remedy: readonly string[];
  readonly evidence?: readonly Evidence[];
  readonly confidence?: Finding['confidence'];
  /** Where it does not follow from whom it shuts out. */
  readonly severity?: Finding['severity'];
  /** Who is shut out, where it does not follow from the outcomes. */
  readonly clients?: string;
}

/** What is decided: the outcome, and the drift that it is part of. */
export interface Met {
  readonly outcome: Outcome;
  readonly drift: Drift;
}

export interface DeciderCause {
  readonly cause: string;
  matches(decider: Decider, diagnosis: Diagnosis, met: Met): boolean;
  describe(decided: Decided): Described;
}

/** First match wins: settings and routes, then policies, then rules by their program; an administrator's rule is what remains. */
export const deciderCauses: readonly DeciderCause[] = [
  { cause: 'D01', matches: (decider) => isSetting(decider, /ip_forward|conf\.all\.forwarding/), describe: forwardingOff },
  { cause: 'D02', matches: (decider) => isSetting(decider, /conf\.\S+\.forwarding/), describe: forwardingOff },
  { cause: 'D04', matches: (decider) => isSetting(decider, /route_localnet/), describe: settingWrong },
  {
    cause: 'D03',
    matches: (decider) => isSetting(decider, /rp_filter/) || (decider.by !== 'rule' && /rp_filter|reverse path/i.test(decider.text)),
    describe: reversePath,
  },
  { cause: 'D05', matches: (decider) => decider.by === 'sysctl', describe: settingWrong },
  { cause: 'D20', matches: (decider, _, { outcome }) => decider.by === 'route' && outcome.reply !== undefined, describe: noWayBack },
  { cause: 'D17', matches: (decider) => decider.by === 'route' || decider.by === 'socket', describe: noRoute },
  {
    cause: 'C04',
    matches: (decider, diagnosis, { drift }) => isOfUfw(decider, diagnosis) && drift.affected.every(({ vantage }) => vantage === 'pod'),
    describe: ufwDeniesPods,
  },
  { cause: 'C03', matches: isOfUfw, describe: ufwDenies },
  {
    cause: 'C05',
    matches: (decider, diagnosis) => (decider.by === 'policy' || programOf(decider)?.owner === 'firewalld') && inPanic(diagnosis),
    describe: firewalldPanics,
  },
  { cause: 'C05', matches: (decider) => programOf(decider)?.owner === 'firewalld' && decider.backend !== 'nft', describe: firewalldRejects },
  { cause: 'C07', matches: isForeignTable, describe: foreignTable },
  {
    cause: 'C09',
    matches: (decider, diagnosis) =>
      isPolicy(decider) &&
      decider.chain === 'INPUT' &&
      neighboursOf(diagnosis).some(({ chain, family }) => chain === 'KUBE-ROUTER-INPUT' && family === decider.family),
    describe: routerReturns,
  },
  {
    cause: 'B12',
    matches: (decider, diagnosis) => isPolicy(decider) && decider.chain === 'INPUT' && proxyOf(diagnosis)?.mode === 'ipvs',
    describe: policyDrops,
  },
  {
    cause: 'B13',
    matches: (decider, diagnosis) => isPolicy(decider) && decider.chain === 'FORWARD' && proxyOf(diagnosis)?.mode === 'ipvs',
    describe: policyDrops,
  },
  { cause: 'C10', matches: isOtherBackend, describe: otherBackend },
  {
    cause: 'C19',
    matches: (decider, diagnosis) => dockerGone(diagnosis) && (programOf(decider)?.owner === 'docker' || (isForwardPolicy(decider) && hasDocker(diagnosis))),
    describe: dockerLeft,
  },
  { cause: 'C01', matches: (decider) => isPolicy(decider) && decider.chain === 'FORWARD', describe: policyDrops },
  { cause: 'C02', matches: (decider) => programOf(decider)?.owner === 'docker', describe: programDrops },
  { cause: 'C15', matches: (decider) => programOf(decider)?.name === 'kube-router', describe: programDrops },
  { cause: 'C16', matches: (decider) => programOf(decider)?.owner === 'network-policy', describe: programDrops },
  { cause: 'C17', matches: (decider) => programOf(decider)?.owner === 'tailscale', describe: programDrops },
  { cause: 'C12', matches: (decider) => decider.chain === 'KUBE-FIREWALL' && !/--mark|--ctstate/.test(decider.text), describe: marksLost },
  { cause: 'A13', matches: (decider) => /^KUBE-(FW-|PROXY-FIREWALL)/.test(decider.chain ?? ''), describe: programDrops },
  { cause: 'B15', matches: (decider) => programOf(decider)?.owner === 'kube-proxy', describe: proxyDrops },
  { cause: 'C08', matches: () => true, describe: staticRule },
];

const isForwardPolicy = (decider: Decider): boolean => isPolicy(decider) && decider.chain === 'FORWARD';
const hasDocker = (diagnosis: Diagnosis): boolean => neighboursOf(diagnosis).some(({ chain }) => chain.startsWith('DOCKER'));

// Only where processes were read does the absence of one say anything.
const dockerGone = (diagnosis: Diagnosis): boolean => {
  const processes = factsOf(diagnosis, 'process');
  return processes.length > 0 && !processes.some(({ comm }) => comm === 'dockerd');
};

// ufw's own chains return, and a policy that it has set ends the packet.
function isOfUfw(decider: Decider, diagnosis: Diagnosis): boolean {
  return programOf(decider)?.owner === 'ufw' || (isPolicy(decider) && hasUfw(diagnosis, decider));
}

const isSetting = (decider: Decider, name: RegExp): boolean => decider.by === 'sysctl' && name.test(decider.text);
const isPolicy = (decider: Decider): boolean => decider.by === 'policy' && decider.backend !== 'nft';

function hasUfw(diagnosis: Diagnosis, decider: Decider): boolean {
  const chains = neighboursOf(diagnosis).some(({ chain, family }) => /^ufw6?-/.test(chain) && family === (decider.family ?? 'ip'));
  return chains || sourceRead(diagnosis, 'ufw');
}

// In panic mode firewalld sets every policy to DROP, also of tables that it writes no rule to.
const inPanic = (diagnosis: Diagnosis): boolean => /^(true|yes|on)$/.test(firewallOf(diagnosis, 'firewalld')?.settings['panic'] ?? '');

/** What a firewall manager says of itself; undefined where it was not asked. */
function firewallOf({ facts }: Diagnosis, program: FirewallFact['program']): FirewallFact | undefined {
  const fact = facts.get(`firewall/${program}`);
  return fact?.kind === 'firewall' ? fact : undefined;
}

function sourceRead(diagnosis: Diagnosis, name: string): boolean {
  const fact = diagnosis.facts.get(`source/${name}`);
  return fact?.kind === 'source' && fact.outcome === 'facts' && !/inactive/.test(fact.reason ?? '');
}

// Tables that Kubernetes' own programs write natively have causes of their own.
function isForeignTable(decider: Decider): boolean {
  const owner = programOf(decider)?.owner;
  return decider.backend === 'nft' && owner !== undefined && !['kube-proxy', 'network-policy', 'cni', 'tailscale', 'docker'].includes(owner);
}

// The backend that kube-proxy's translation stands in, and an administrator's (or nobody's) rule or policy in the other one.
function isOtherBackend(decider: Decider, diagnosis: Diagnosis): boolean {
  const owner = programOf(decider)?.owner;
  if (decider.backend === undefined || decider.backend === 'nft' || (owner !== 'admin' && owner !== 'unknown')) return false;
  const own = proxyBackend(diagnosis);
  return own !== undefined && own !== 'nft' && own !== decider.backend;
}

/** The backend that kube-proxy's rules stand in, as the outcomes of its NodePorts tell; undefined where none names a rule of its own. */
export function proxyBackend({ facts }: Diagnosis): Decider['backend'] {
  if (!backends.has(facts)) backends.set(facts, findProxyBackend(facts));
  return backends.get(facts);
}

const backends = new WeakMap<Diagnosis['facts'], Decider['backend']>();

function findProxyBackend(facts: Diagnosis['facts']): Decider['backend'] {
  for (const fact of facts.values()) {
    const outcomes = fact.kind === 'nodeport' ? Object.values(fact.outcomes).flat() : [];
    const found = outcomes.find(({ decidedBy }) => /^KUBE-(SEP|SVC|SVL|EXT|EXTERNAL)/.test(decidedBy?.chain ?? ''));
    if (found?.decidedBy?.backend !== undefined) return found.decidedBy.backend;
  }
  return undefined;
}

function otherBackend({ diagnosis, deciders }: Decided): Described {
  const names = { legacy: 'iptables-legacy', 'iptables-nft': 'iptables-nft', nft: 'nft' } as const;
  const decider = first(deciders);
  const own = names[proxyBackend(diagnosis) ?? 'nft'];
  const other = names[decider.backend ?? 'nft'];
  return {
    title: `${other} holds rules beside those of ${own}, and they block`,
    because: `${rulesText(deciders)} decides; it stands in the tables of ${other}, while kube-proxy writes ${own}, and both run`,
    remedy: deciders.flatMap(removeDecider),
    evidence: [{ witness: 'rules', text: `"${own} -S" does not show it: "${other} -S" does.` }],
  };
}

const first = (deciders: readonly Decider[]): Decider => deciders[0] as Decider;
const rulesText = (deciders: readonly Decider[]): string => listText(deciders.slice(0, 3).map(deciderText));

function forwardingOff({ deciders }: Decided): Described {
  const names = deciders.map(({ text }) => settingName(text));
  return {
    title: 'the kernel does not forward packets',
    because: `${listText(deciders.map(({ text }) => text))}, so the kernel forwards nothing to pods`,
    remedy: names.flatMap((name) => [`sysctl -w ${name}=1`, `echo '${name} = 1' > /etc/sysctl.d/99-kubernetes-forwarding.conf`]),
  };
}

function reversePath({ deciders }: Decided): Described {
  const names = deciders.map(({ text }) => settingName(text)).filter((name) => name.startsWith('net.'));
  return {
    title: 'strict reverse path filtering drops packets that would be answered on another interface',
    because: `${listText(deciders.map(({ text }) => text))} (asymmetric path)`,
    remedy: names.length === 0 ? ['sysctl -w net.ipv4.conf.all.rp_filter=2'] : names.map((name) => `sysctl -w ${name}=2`),
    confidence: 'likely',
  };
}

function settingWrong({ deciders }: Decided): Described {
  return {
    title: 'a kernel setting keeps packets from the pods',
    because: listText(deciders.map(({ text }) => text)),
    remedy: deciders.map(({ text }) => `sysctl -w ${settingName(text)}=1`),
  };
}

const settingName = (text: string): string => /[a-z0-9_-]+(\.[\w/-]+)+/.exec(text)?.[0] ?? text;

function noRoute({ deciders, outcomes }: Decided): Described {
  const addresses = [...new Set(outcomes.flatMap(({ dnat }) => (dnat === null ? [] : [splitTarget(dnat).address])))];
  return {
    title: 'the node has no way to the endpoints',
    because: listText(deciders.map(({ text }) => text)),
    remedy: [
      ...addresses.slice(0, 3).map((address) => `ip route get ${address}`),
      'ip -br link  # the CNI makes this route: look whether its interface and its pod on this node are up',
    ],
    confidence: 'likely',
  };
}

// Clients that the node has no route to are commonly of a network that it was never to serve; a route that was there before makes it a fault.
function noWayBack({ diagnosis, deciders }: Decided): Described {
  const lost = diagnosis.changes.some(({ node, kind, before }) => node === diagnosis.node && kind === 'route' && before !== null);
  return {
    title: 'the node has no route back to some clients',
    because: `the node has no route for the answer (${deciders[0]?.text})`,
    remedy: ['ip route', 'ip -6 route', 'ip rule'],
    confidence: 'likely',
    clients: 'clients in networks that the node has no route to',
    ...(lost ? {} : { severity: 'info' as const }),
  };
}

function ufwDenies(decided: Decided): Described {
  // IPVS takes packets in INPUT: there ufw's rules for incoming packets count, and the NodePort is what they see.
  if (decided.deciders.every(({ chain }) => /^INPUT$|-input$/.test(chain ?? ''))) return ufwDeniesIncoming(decided);
  const { diagnosis, drift, deciders, outcomes } = decided;
  const networks = [...diagnosis.objects.nodes.values()].flatMap(({ podCIDRs }) => podCIDRs);
  const own = outcomes.filter(({ dnat }) => dnat !== null && drift.expectation?.endpoints.includes(dnat));
  const routed = allowRouted(own.length > 0 ? own : outcomes, drift.nodePort.protocol, networks);
  const unmarked =
    drift.expectation?.externalTrafficPolicy === 'Local'
      ? ' (externalTrafficPolicy Local: its packets carry no masquerade mark, which KUBE-FORWARD would accept)'
      : '';
  return {
    title: 'ufw denies routed traffic',
    because: `ufw denies forwarded packets by ${rulesText(deciders)}${unmarked}`,
    remedy: routed.length > 0 ? routed : [allowIncoming(drift)],
    evidence: [
      { witness: 'rules', text: `Chains of ufw are loaded on this node, and its FORWARD policy is ${ufwPolicy(diagnosis, 'routed', '"deny (routed)"')}.` },
      ...ufwPending(diagnosis),
    ],
  };
}

function ufwDeniesIncoming({ diagnosis, drift, deciders }: Decided): Described {
  return {
    title: 'ufw denies incoming traffic',
    because: `ufw denies incoming packets by ${rulesText(deciders)}`,
    remedy: [allowIncoming(drift)],
    evidence: [
      { witness: 'rules', text: `Chains of ufw are loaded on this node, and its INPUT policy is ${ufwPolicy(diagnosis, 'incoming', '"deny (incoming)"')}.` },
      ...ufwPending(diagnosis),
    ],
  };
}

const allowIncoming = ({ nodePort: { port, protocol } }: Drift): string => `ufw allow ${port}/${protocol}`;

function ufwPolicy(diagnosis: Diagnosis, direction: 'incoming' | 'routed', otherwise: string): string {
  const policy = firewallOf(diagnosis, 'ufw')?.settings[direction];
  return policy === undefined ? `DROP (${otherwise})` : `"${policy} (${direction})"`;
}

// Rules that are loaded and not kept go at the next reload: what works by them is lent.
const ufwPending = (diagnosis: Diagnosis): Evidence[] =>
  (firewallOf(diagnosis, 'ufw')?.pending ?? [])
    .slice(0, 2)
    .map((text) => ({ witness: 'settings', text: `ufw reload would change this: ${text.replace(/\.$/, '')}.` }));

function ufwDeniesPods({ diagnosis, deciders }: Decided): Described {
  const devices = factsOf(diagnosis, 'interface')
    .map(({ name }) => name)
    .filter((name) => /^(cni0|cbr0|flannel|cali|vxlan\.calico|cilium|weave|kube-bridge|docker0)/.test(name));
  const [device = 'cni0'] = devices;
  return {
    title: "ufw denies what comes from the pods' interface",
    because: `ufw ends packets of pods by ${rulesText(deciders)}; clients outside are served`,
    remedy: [`ufw allow in on ${device}`, `ufw route allow in on ${device}`, `ufw route allow out on ${device}`],
    ...(devices.length === 0 ? {} : { evidence: [{ witness: 'settings', text: `Interfaces of the network plugin: ${listText(devices.slice(0, 4))}.` }] }),
  };
}

function routerReturns({ drift, deciders }: Decided): Described {
  return {
    title: "kube-router's chain accepts nothing by itself and INPUT drops the rest",
    because: `KUBE-ROUTER-INPUT lets NodePort packets return to INPUT, where no rule accepts them and ${deciderText(first(deciders))} ends them`,
    remedy: [`${first(deciders).family === 'ip6' ? 'ip6tables' : 'iptables'} -A INPUT -p ${drift.nodePort.protocol} --dport 30000:32767 -j ACCEPT`],
  };
}

function dockerLeft({ deciders }: Decided): Described {
  return {
    title: "Docker's rules were left behind by a Docker that does not run",
    because: `${rulesText(deciders)} is of Docker, which does not run on this node any more`,
    remedy: [...deciders.flatMap(removeDecider), '# or reboot: nothing writes the chains of Docker again'],
    evidence: [{ witness: 'processes', text: 'No dockerd runs.' }],
  };
}

function firewalldPanics({ deciders }: Decided): Described {
  return {
    title: 'firewalld is in panic mode',
    because: `firewalld is in panic mode, in which ${rulesText(deciders)} and every other policy drops all packets`,
    remedy: ['firewall-cmd --panic-off'],
    evidence: [{ witness: 'settings', text: 'firewall-cmd --query-panic says yes.' }],
  };
}

function firewalldRejects({ diagnosis, deciders }: Decided): Described {
  return {
    title: 'firewalld rejects packets to pods',
    because: `firewalld ends in ${rulesText(deciders)}: the pod network is in no trusted zone`,
    remedy: trustPods(diagnosis),
    evidence: zonesText(diagnosis),
  };
}

// Binding the network plugin's interfaces is what lasts where pods come and go; the pods' network covers plugins without a bridge.
function trustPods(diagnosis: Diagnosis): string[] {
  const own = diagnosis.objects.nodes.get(diagnosis.node)?.podCIDRs ?? [];
  const networks = own.length > 0 ? own : ['POD-NETWORK'];
  const trusted = firewallOf(diagnosis, 'firewalld')?.zones?.find(({ name }) => name === 'trusted');
  const devices = pluginDevices(diagnosis).filter((device) => trusted?.interfaces.includes(device) !== true);
  const sources = networks.filter((network) => trusted?.sources.includes(network) !== true);
  return [
    ...devices.map((device) => `firewall-cmd --permanent --zone=trusted --add-interface=${device}`),
    ...sources.map((network) => `firewall-cmd --permanent --zone=trusted --add-source=${network}`),
    'firewall-cmd --reload',
  ];
}

/** Interfaces that pods' packets come by, where they have names of their own (those of veths change with the pods). */
const pluginDevices = (diagnosis: Diagnosis): string[] =>
  factsOf(diagnosis, 'interface')
    .map(({ name }) => name)
    .filter((name) => /^(cni0|cbr0|flannel|vxlan\.calico|cilium_host|weave|kube-bridge)/.test(name))
    .slice(0, 4);

/** Zones in use and what is bound to them, as firewalld says; nothing where it was not asked. */
function zonesText(diagnosis: Diagnosis): Evidence[] {
  const firewalld = firewallOf(diagnosis, 'firewalld');
  const active = firewalld?.zones?.filter((zone) => zone.active) ?? [];
  const lines = active.map(
    ({ name, interfaces, sources, target }) => `${name} (target ${target}) has ${listText([...interfaces, ...sources].slice(0, 5)) || 'nothing'}`,
  );
  return [
    ...(lines.length === 0 ? [] : [{ witness: 'settings' as const, text: `Zones of firewalld in use: ${lines.slice(0, 4).join('; ')}.` }]),
    ...(firewalld?.pending ?? [])
      .slice(0, 2)
      .map((text) => ({ witness: 'settings' as const, text: `The next firewall-cmd --reload would change this: ${text.replace(/\.$/, '')}.` })),
  ];
}

function foreignTable({ diagnosis, deciders, outcomes }: Decided): Described {
  const decider = first(deciders);
  const verdict = outcomes.some(({ verdict: word }) => word === 'reject') ? 'rejects' : 'drops';
  const translated = outcomes.every(({ dnat }) => dnat !== null);
  const firewalld = programOf(decider)?.owner === 'firewalld';
  return {
    title: `the nftables table ${decider.family} ${decider.table} ${verdict} what kube-proxy has let through`,
    because: `${rulesText(deciders)} ${verdict} it; an accept in another table does not end the journey`,
    remedy: [...(firewalld ? trustPods(diagnosis) : []), ...(translated ? deciders.map(acceptTranslated) : deciders.flatMap(removeDecider))],
    evidence: [
      { witness: 'rules', text: `${placeText(decider)} is a chain of its own, run after or before kube-proxy's whatever those accept.` },
      ...(firewalld ? zonesText(diagnosis) : []),
    ],
  };
}

function policyDrops({ diagnosis, drift, deciders }: Decided): Described {
  const decider = first(deciders);
  const docker = neighboursOf(diagnosis)
    .filter(({ chain }) => chain.startsWith('DOCKER'))
    .map(({ chain }) => chain);
  const local = drift.expectation?.externalTrafficPolicy === 'Local';
  const who = docker.length > 0 ? ', as Docker sets it' : '';
  return {
    title: `${decider.chain} has the policy DROP`,
    because: `no rule of ${placeText(decider)} accepts the packet and ${deciderText(decider)}${who} ends it`,
    remedy: [
      ...deciders.flatMap(removeDecider),
      ...(docker.length > 0 ? [`# so that Docker does not set it again: "ip-forward-no-drop": true in /etc/docker/daemon.json`] : []),
    ],
    confidence: docker.length > 0 ? 'certain' : 'likely',
    evidence: [
      ...(docker.length > 0
        ? [{ witness: 'rules', text: `Docker's chains are on this node: ${listText([...new Set(docker)].slice(0, 4))}.` } satisfies Evidence]
        : []),
      ...(local
        ? [
            {
              witness: 'objects',
              text: 'externalTrafficPolicy is Local: such packets carry no masquerade mark, and KUBE-FORWARD accepts marked ones only.',
            } satisfies Evidence,
          ]
        : []),
    ],
  };
}

// A tool of another release has read the chain and written it back without the match that it did not know.
function marksLost(decided: Decided): Described {
  const { diagnosis, deciders } = decided;
  return {
    ...programDrops(decided),
    remedy: [...deciders.flatMap(removeDecider), '# lasting: iptables of one release for kubelet, kube-proxy and the host, then a reboot'],
    evidence: toolsEvidence(diagnosis),
  };
}

function programDrops({ deciders }: Decided): Described {
  const program = programOf(first(deciders))?.name ?? 'a program';
  return {
    title: `${program} drops or rejects the packets`,
    because: `${program} decides by ${rulesText(deciders)}`,
    remedy: programRemedies[program] ?? deciders.flatMap(removeDecider),
  };
}

// Rules of a running program come back when they are deleted: its own configuration is the place.
const programRemedies: Readonly<Record<string, readonly string[]>> = {
  'kube-router': [
    'kubectl get networkpolicies -A',
    '# allow the clients (or the node addresses that stand in for them) in the ingress of the policy that selects the pod',
  ],
  Calico: [
    'calicoctl get globalnetworkpolicies,networkpolicies,hostendpoints -A -o wide',
    '# allow the clients in the policy; HostEndpoints need applyOnForward or preDNAT rules for NodePorts',
  ],
  tailscale: ['tailscale set --netfilter-mode=nodivert', '# or advertise the route that the client comes from'],
};

function proxyDrops({ diagnosis, deciders }: Decided): Described {
  return {
    title: 'a rule of kube-proxy that does not belong to the present state drops the packets',
    because: `kube-proxy's own ${rulesText(deciders)} ends it although the Service has endpoints`,
    remedy: restartProxy(diagnosis.objects, diagnosis.node, proxyOf(diagnosis)),
    confidence: 'likely',
  };
}

function staticRule({ drift, deciders, outcomes }: Decided): Described {
  const decider = first(deciders);
  const target = outcomes.find(({ dnat }) => dnat !== null)?.dnat;
  const port = target === undefined || target === null ? undefined : splitTarget(target).port;
  const names =
    port !== undefined && port !== drift.nodePort.port && new RegExp(`\\b${port}\\b`).test(ruleBody(decider))
      ? `, which names the target port ${port} and not the NodePort,`
      : '';
  return {
    title:
      decider.by === 'policy'
        ? `the policy of ${placeText(decider)} drops the packets`
        : `a firewall rule of ${programOf(decider)?.name ?? 'an administrator'} ${actionOf(outcomes)} the packets`,
    because: `${rulesText(deciders)}${names} ${actionOf(outcomes)} them`,
    remedy: deciders.flatMap(removeDecider),
  };
}

const actionOf = (outcomes: readonly Outcome[]): string => (outcomes.some(({ verdict }) => verdict === 'reject') ? 'rejects' : 'drops');
