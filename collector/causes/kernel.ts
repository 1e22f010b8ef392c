// Causes in the kernel's resources and in the node's devices: full tables, clashing port ranges, missing modules, addresses and links that come and go.

import { contains, parseAddress, parsePrefix } from '../../shared/model/address.ts';
import type { Change } from '../../shared/model/change.ts';
import { durationText } from '../correlate/index.ts';
import { counterOf, type Detector, type Diagnosed, type Diagnosis, factsOf, findingOf, listText, proxyOf, settingOf } from './detector.ts';

/** D07: the table of connections is full or nearly so: new connections of every NodePort are dropped. */
export const tableFull: Detector = {
  causes: ['D07'],
  detect: (diagnosis) => {
    const [count, max] = [counterOf(diagnosis, 'nf_conntrack_count'), counterOf(diagnosis, 'nf_conntrack_max')];
    if (count === undefined || max === undefined || max === 0 || count < max * 0.8) return [];
    const full = count >= max * 0.95;
    const dropped = (counterOf(diagnosis, 'nf_conntrack_drop') ?? 0) + (counterOf(diagnosis, 'nf_conntrack_early_drop') ?? 0);
    const finding = findingOf(diagnosis, undefined, {
      cause: 'D07',
      title: full ? 'the table of connections is full' : 'the table of connections is nearly full',
      severity: full ? 'error' : 'warning',
      confidence: 'certain',
      symptom: full ? 'timeout' : 'ok',
      summary: `The kernel of ${diagnosis.node} tracks about ${count} of ${max} connections that it has room for${full ? ': new connections to every NodePort time out, by chance' : '; beyond that, new connections to every NodePort time out'}.`,
      evidence: [
        { witness: 'counters', text: `nf_conntrack_count is about ${count}, nf_conntrack_max ${max}.` },
        ...(dropped === 0 ? [] : [{ witness: 'counters' as const, text: `At least ${dropped} connections were dropped for want of room.` }]),
      ],
      remedy: [
        `sysctl -w net.netfilter.nf_conntrack_max=${max * 2}`,
        "# lasting: conntrack.maxPerCore of kube-proxy's configuration, which sets it at each start",
        "conntrack -L -o extended 2>/dev/null | awk '{print $4, $6}' | sort | uniq -c | sort -rn | head  # what fills it",
      ],
    });
    return [{ finding, explains: [] }];
  },
};

/** D08: the node's own connections may take the number of a NodePort as their port. */
export const portRangesOverlap: Detector = {
  causes: ['D08'],
  detect: (diagnosis) => {
    const range = /^(\d+)\s+(\d+)$/.exec(settingOf(diagnosis, 'net.ipv4.ip_local_port_range') ?? '');
    if (range === null) return [];
    const isReserved = reservedPorts(settingOf(diagnosis, 'net.ipv4.ip_local_reserved_ports') ?? '');
    const [lo, hi] = [Number(range[1]), Number(range[2])];
    const within = [...new Set(diagnosis.expectations.map(({ nodePort }) => nodePort.port))].filter((port) => port >= lo && port <= hi && !isReserved(port));
    return within.length === 0 ? [] : [overlapFinding(diagnosis, { lo, hi }, within)];
  },
};

/** D12: connections were lost because two took the same port at the same moment when their source was replaced. */
export const sourcePortsClash: Detector = {
  causes: ['D12'],
  detect: (diagnosis) => {
    const failed = counterOf(diagnosis, 'nf_conntrack_insert_failed') ?? 0;
    if (failed < clashesMin) return [];
    const finding = findingOf(diagnosis, undefined, {
      cause: 'D12',
      title: 'new connections clash when their source is replaced',
      severity: 'info',
      confidence: 'possible',
      symptom: 'timeout',
      summary: `On ${diagnosis.node} at least ${failed} new connections could not be entered into the table of connections: their first packet was lost and sent again after 1 to 3 seconds, as when two masqueraded connections take one port.`,
      evidence: [{ witness: 'counters', text: `insert_failed of conntrack is at least ${failed}.` }],
      remedy: [
        'conntrack -S | grep -o "insert_failed=[0-9]*"  # does it rise now?',
        "iptables-save -t nat | grep MASQUERADE | grep -v random-fully  # rules that choose ports in order: their program's option is random-fully",
      ],
    });
    return [{ finding, explains: [] }];
  },
};

/** D22: packets were dropped before any rule because a processor could not keep up. */
export const backlogDrops: Detector = {
  causes: ['D22'],
  detect: (diagnosis) => {
    const dropped = counterOf(diagnosis, 'softnet_dropped') ?? 0;
    if (dropped < backlogMin) return [];
    const finding = findingOf(diagnosis, undefined, {
      cause: 'D22',
      title: 'the kernel drops packets before it looks at them',
      severity: 'info',
      confidence: 'possible',
      symptom: 'timeout',
      summary: `${diagnosis.node} has dropped at least ${dropped} packets since its start because its receive queue was full: under load connections are slow or fail by chance.`,
      evidence: [{ witness: 'counters', text: `Column 2 of /proc/net/softnet_stat adds up to at least ${dropped}.` }],
      remedy: ['sysctl -w net.core.netdev_max_backlog=10000', "# and look at the card's own queue: ethtool -g DEVICE; ethtool -S DEVICE | grep -i drop"],
    });
    return [{ finding, explains: [] }];
  },
};

/** D13: the kernel lacks a module that the node's Service proxy needs, or a tool fails because it lacks one. */
export const moduleMissing: Detector = {
  causes: ['D13'],
  detect: (diagnosis) => [
    ...factsOf(diagnosis, 'source')
      .filter(({ outcome, reason }) => outcome === 'failed' && missingModule.test(reason ?? ''))
      .map(({ source, reason = '' }) => ({ finding: moduleFinding(diagnosis, source, reason), explains: [] })),
    ...factsOf(diagnosis, 'kernel')
      .filter(({ missing }) => missing.length > 0)
      .map(({ user, missing }) => ({ finding: featuresFinding(diagnosis, user, missing), explains: [] })),
  ],
};

/** D18: an address that served clients has left the node: a virtual address has moved. */
export const addressLeft: Detector = {
  causes: ['D18'],
  detect: (diagnosis) =>
    diagnosis.changes
      .filter((change) => change.node === diagnosis.node && isRecent(diagnosis, change) && change.kind === 'address')
      .flatMap((change) => leftAddresses(diagnosis, change).map((address) => leftFinding(diagnosis, change, address))),
};

/** D19: kube-ipvs0 holds the addresses of load balancers on every node, and the kernel answers for them on all. */
export const everyNodeAnswers: Detector = {
  causes: ['D19'],
  detect: (diagnosis) => {
    if (proxyOf(diagnosis)?.mode !== 'ipvs') return [];
    const [ignore, announce] = [settingOf(diagnosis, 'net.ipv4.conf.all.arp_ignore'), settingOf(diagnosis, 'net.ipv4.conf.all.arp_announce')];
    const held =
      factsOf(diagnosis, 'interface')
        .find(({ name }) => name === 'kube-ipvs0')
        ?.addresses.map((address) => address.split('/')[0] as string) ?? [];
    const balanced = [...diagnosis.objects.services.values()].flatMap(({ loadBalancerIPs }) => loadBalancerIPs);
    const answered = held.filter((address) => balanced.includes(address) && isNear(diagnosis, address));
    if (answered.length === 0 || ignore === undefined || (Number(ignore) >= 1 && Number(announce) >= 2)) return [];
    const finding = findingOf(diagnosis, undefined, {
      cause: 'D19',
      title: 'every node answers for the addresses of the load balancers',
      severity: 'warning',
      confidence: 'likely',
      symptom: 'ok',
      summary: `${listText(answered.slice(0, 3))} is on kube-ipvs0 of every node, and ${diagnosis.node} answers ARP requests for it (arp_ignore ${ignore}, arp_announce ${announce ?? '?'}): clients reach whichever node answers first, not the one that the load balancer has chosen.`,
      evidence: [{ witness: 'settings', text: `net.ipv4.conf.all.arp_ignore = ${ignore}, arp_announce = ${announce ?? 'not read'}.` }],
      remedy: [
        '# ipvs.strictARP: true in the ConfigMap kube-proxy of kube-system, then restart kube-proxy',
        'sysctl -w net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2',
      ],
    });
    return [{ finding, explains: [] }];
  },
};

/** D21: a link goes up and down again and again. */
export const linkFlaps: Detector = {
  causes: ['D21'],
  detect: (diagnosis) => {
    const events = diagnosis.changes.filter(
      (change) =>
        change.node === diagnosis.node &&
        isRecent(diagnosis, change) &&
        (change.kind === 'interface' || change.kind === 'address') &&
        !ofPod.test(change.subject),
    );
    return [...Map.groupBy(events, ({ subject }) => subject)].flatMap(([subject, all]) =>
      all.length < flapsMin ? [] : [flapFinding(diagnosis, subject, all)],
    );
  },
};

const clashesMin = 64;
const backlogMin = 1_024;
const flapsMin = 4;
const windowMs = 10 * 60_000;
const missingModule =
  /missing kernel module|Couldn't load (?:target|match)|Extension \S+ .*not supported|can't initialize .*table|No chain\/target\/match|Module \S+ not found/i;
/** Interfaces of pods come and go with them. */
const ofPod = /\b(veth|cali|lxc|eni|tap|gke|azv)[\w.-]*/;

const isRecent = ({ now }: Diagnosis, { at }: Change): boolean => at <= now && now - at <= windowMs;

function reservedPorts(text: string): (port: number) => boolean {
  const ranges = text
    .split(',')
    .map((part) => part.split('-').map(Number))
    .map(([lo = Number.NaN, hi = lo]) => ({ lo, hi }));
  return (port) => ranges.some(({ lo, hi }) => lo <= port && port <= hi);
}

function overlapFinding(diagnosis: Diagnosis, { lo, hi }: { readonly lo: number; readonly hi: number }, ports: readonly number[]): Diagnosed {
  const reserved = settingOf(diagnosis, 'net.ipv4.ip_local_reserved_ports') ?? '';
  const finding = findingOf(diagnosis, undefined, {
    cause: 'D08',
    title: "the node's own port range overlaps its NodePorts",
    severity: 'warning',
    confidence: 'possible',
    symptom: 'timeout',
    summary: `Connections that ${diagnosis.node} opens itself take ports from ${lo} to ${hi}, in which ${listText(ports.slice(0, 4).map(String))}${ports.length > 4 ? ' and more' : ''} ${ports.length === 1 ? 'is a NodePort' : 'are NodePorts'} and not reserved: now and then such a connection clashes with the NodePort's clients.`,
    evidence: [
      {
        witness: 'settings',
        text: `net.ipv4.ip_local_port_range = ${lo} ${hi}, net.ipv4.ip_local_reserved_ports = ${reserved === '' ? '(empty)' : reserved}.`,
      },
    ],
    remedy: [
      `sysctl -w net.ipv4.ip_local_reserved_ports=${reserved === '' ? '' : `${reserved},`}30000-32767`,
      "echo 'net.ipv4.ip_local_reserved_ports = 30000-32767' > /etc/sysctl.d/99-nodeports.conf",
    ],
  });
  return { finding, explains: [] };
}

function moduleFinding(diagnosis: Diagnosis, source: string, reason: string) {
  const module = /(?:module|match|target|extension)[ :`'"]+([a-z][\w-]+)/i.exec(reason)?.[1];
  return findingOf(diagnosis, undefined, {
    cause: 'D13',
    about: `source/${source}`,
    title: 'a kernel module is missing',
    severity: 'warning',
    confidence: 'likely',
    symptom: 'unknown',
    summary: `Reading ${source} fails on ${diagnosis.node} as the kernel lacks ${module === undefined ? 'a module' : `the module for ${module}`}: kube-proxy and the CNI, which need the same, may fail to write their rules.`,
    evidence: [{ witness: 'settings', text: `${source}: ${reason.slice(0, 200)}.` }],
    remedy: [
      'lsmod | grep -E "^(xt_|nft_|nf_|ip_set|ip_tables|vxlan)"',
      `modprobe ${module === undefined ? 'NAME' : `xt_${module}`}  # or install the modules of this kernel (linux-modules-extra on Ubuntu) and reboot`,
    ],
  });
}

function featuresFinding(diagnosis: Diagnosis, user: string, missing: readonly string[]) {
  return findingOf(diagnosis, undefined, {
    cause: 'D13',
    about: 'kernel',
    title: 'the kernel lacks what the Service proxy needs',
    severity: 'warning',
    confidence: 'likely',
    symptom: 'unknown',
    summary: `The kernel of ${diagnosis.node} has no ${listText(missing.slice(0, 6))}, neither built in nor as a module, which kube-proxy in ${user} mode needs: its rules are written in part or not at all.`,
    evidence: [{ witness: 'settings', text: `The kernel's configuration and its lists of modules know no ${listText(missing.slice(0, 6))}.` }],
    remedy: [
      '# install the modules of this kernel (linux-modules-extra on Ubuntu, kernel-modules on Fedora) and reboot, or choose a mode of kube-proxy that it has',
    ],
  });
}

function leftAddresses(diagnosis: Diagnosis, { before, after }: Change): string[] {
  const now = new Set(factsOf(diagnosis, 'interface').flatMap(({ addresses }) => addresses.map((address) => address.split('/')[0])));
  const gone = (before ?? '').split(/\s+/).filter((word) => parsePrefix(word) !== undefined && !(after ?? '').includes(word));
  const own = new Set((diagnosis.objects.nodes.get(diagnosis.node)?.addresses ?? []).map(({ address }) => address));
  // A single address that no network goes with is what keepalived and kube-vip carry from node to node; the Node's own is another cause.
  return gone
    .filter((word) => /\/(32|128)$/.test(word) || hasCarrier(diagnosis))
    .map((word) => word.split('/')[0] as string)
    .filter((address) => !now.has(address) && !own.has(address));
}

const hasCarrier = (diagnosis: Diagnosis): boolean => factsOf(diagnosis, 'process').some(({ comm }) => /^(keepalived|kube-vip|speaker|ucarp)$/.test(comm));

function leftFinding(diagnosis: Diagnosis, change: Change, address: string): Diagnosed {
  const finding = findingOf(diagnosis, undefined, {
    cause: 'D18',
    about: `address/${address}`,
    title: 'a virtual address has left the node',
    severity: 'info',
    confidence: 'likely',
    symptom: 'refused',
    trigger: change,
    summary: `${address} left ${diagnosis.node} ${durationText(diagnosis.now - change.at)} ago: its clients reach the NodePorts of whichever node holds it now, and none where no node does.`,
    evidence: [],
    remedy: [`ip -br address | grep -F ${address}  # on the other nodes`, `arping -c 3 ${address}  # from the same network: who answers?`],
  });
  return { finding, explains: [] };
}

function isNear(diagnosis: Diagnosis, text: string): boolean {
  const address = parseAddress(text);
  const networks = factsOf(diagnosis, 'interface')
    .filter(({ name }) => name !== 'kube-ipvs0' && name !== 'lo')
    .flatMap(({ addresses }) => addresses.flatMap((each) => parsePrefix(each) ?? []));
  return address !== undefined && networks.some(({ family, interval }) => family === address.family && contains([interval], address.value));
}

function flapFinding(diagnosis: Diagnosis, subject: string, events: readonly Change[]): Diagnosed {
  const last = events.reduce((best, event) => (event.at > best.at ? event : best));
  const finding = findingOf(diagnosis, undefined, {
    cause: 'D21',
    about: subject.replace(' ', '/'),
    title: 'a link goes up and down',
    severity: 'warning',
    confidence: 'likely',
    symptom: 'timeout',
    trigger: last,
    summary: `${subject} of ${diagnosis.node} has changed ${events.length} times within 10 minutes: connections through it break each time, and programs that read its addresses at their start may hold old ones.`,
    evidence: [
      {
        witness: 'changes',
        text: `The last of ${events.length} changes: ${(last.before ?? 'nothing').slice(0, 80)} → ${(last.after ?? 'nothing').slice(0, 80)}.`,
      },
    ],
    remedy: ['journalctl -k --since -15min | grep -iE "link is|carrier|renamed"', 'networkctl status 2>/dev/null || nmcli device status'],
  });
  return { finding, explains: [] };
}
