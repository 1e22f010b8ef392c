// Causes in kube-proxy's work: it cannot write (lock, refused input), has just started, or was told to write in a way that this node cannot do.

import type { Change } from '../../shared/model/change.ts';
import type { ProxyFact, ProxySync } from '../../shared/model/fact.ts';
import type { Evidence, Finding } from '../../shared/model/finding.ts';
import type { Drift } from '../compare/index.ts';
import { changeThatRemoved, durationText } from '../correlate/index.ts';
import {
  consequencesMax,
  type Detector,
  type Diagnosed,
  type Diagnosis,
  factsOf,
  findingOf,
  isRuleDrift,
  nodePortText,
  proxyOf,
  severityOf,
  subjectOf,
  symptomOfDrift,
} from './detector.ts';
import { restartProxy } from './remedy.ts';
import { toolsEvidence } from './tools.ts';

/** B03, B04: kube-proxy runs and is healthy by its own word, but its last sync is older than the last request for one. */
export const syncStuck: Detector = {
  causes: ['B03', 'B04'],
  detect: (diagnosis) => {
    const proxy = proxyOf(diagnosis);
    if (proxy?.running !== 'yes' || proxy.sync === undefined || !isStuck(proxy.sync)) return [];
    const { sync } = proxy;
    const drifts = diagnosis.drifts.filter(isRuleDrift);
    return drifts.length === 0 ? [stuckQuietly(diagnosis, sync)] : drifts.map((drift) => stuckFinding({ diagnosis, drift, drifts, sync }));
  },
};

/** B03: kube-proxy runs and says itself that it is not healthy, which it does when its syncs do not get through. Not said where its metrics tell more, or it has just started. */
export const proxyUnhealthy: Detector = {
  causes: ['B03'],
  detect: (diagnosis) => {
    const proxy = proxyOf(diagnosis);
    const startedAt = startOf(diagnosis);
    const young = startedAt !== undefined && diagnosis.now - startedAt <= startWindowMs;
    if (proxy?.running !== 'yes' || proxy.health === undefined || proxy.health === 'ok' || young || (proxy.sync !== undefined && isStuck(proxy.sync)))
      return [];
    const finding = findingOf(diagnosis, undefined, {
      cause: 'B03',
      about: 'proxy/health',
      title: 'kube-proxy says that it is not healthy',
      severity: 'warning',
      confidence: 'likely',
      symptom: 'ok',
      summary: `kube-proxy${proxy.version === undefined ? '' : ` ${proxy.version}`} on ${diagnosis.node} says that it is not healthy (${proxy.health}): its rules may not follow the Services and endpoints any more.`,
      evidence: [{ witness: 'processes', text: `Port 10256 answers: ${proxy.health}.` }, ...syncEvidence(proxy.sync)],
      remedy: [
        'curl -s http://127.0.0.1:10256/healthz; curl -s http://127.0.0.1:10249/metrics | grep sync_proxy_rules',
        ...restartProxy(diagnosis.objects, diagnosis.node, proxy),
      ],
      consequences: diagnosis.expectations.slice(0, consequencesMax).map(({ key }) => key),
    });
    return [{ finding, explains: [] }];
  },
};

/** B16: kube-proxy has started seconds ago; its rules follow. */
export const justStarted: Detector = {
  causes: ['B16'],
  detect: (diagnosis) => {
    const startedAt = startOf(diagnosis);
    if (startedAt === undefined || diagnosis.now - startedAt > startWindowMs || diagnosis.now < startedAt) return [];
    return diagnosis.drifts
      .filter((drift) => isRuleDrift(drift) && !wasTakenAway(diagnosis, drift))
      .map((drift) => {
        const finding = findingOf(diagnosis, subjectOf(drift), {
          cause: 'B16',
          title: 'kube-proxy has just been started',
          severity: 'warning',
          confidence: 'likely',
          symptom: symptomOfDrift(drift),
          summary: `${nodePortText(drift.nodePort, drift.expectation)}: its rules are not complete on ${diagnosis.node}, where kube-proxy started ${durationText(diagnosis.now - startedAt)} ago; on a large cluster the first sync takes minutes.`,
          evidence: [{ witness: 'processes', text: `kube-proxy started at ${new Date(startedAt).toISOString()}.` }],
          remedy: ['# wait for its first sync: curl -s http://127.0.0.1:10249/metrics | grep sync_proxy_rules_last_timestamp'],
        });
        return { finding, explains: [drift] };
      });
  },
};

/** A rule that somebody took away was there: its absence is not a sync that has yet to come. */
function wasTakenAway({ changes, node }: Diagnosis, { nodePort }: Drift): boolean {
  const removal = changeThatRemoved(changes, node, ['--dport', String(nodePort.port)]);
  return removal !== undefined && !/kube-proxy/.test(removal.actor?.comm ?? '');
}

/** B20: kube-proxy is set to nftables mode and its table is not there. */
export const nftablesUnmet: Detector = {
  causes: ['B20'],
  detect: (diagnosis) => {
    const proxy = proxyOf(diagnosis);
    const drifts = diagnosis.drifts.filter(isRuleDrift);
    if (proxy === undefined || proxy.flags?.['proxy-mode'] !== 'nftables' || proxy.mode === 'nftables' || drifts.length === 0) return [];
    return [{ finding: nftablesFinding(diagnosis, proxy, drifts), explains: drifts }];
  },
};

/** A sync that was asked for this long after the last one that succeeded is not slow but stuck. */
const stuckAfterMs = 30_000;
const startWindowMs = 60_000;

const isStuck = ({ queuedAt, lastAt, lockedBy }: ProxySync): boolean => queuedAt - lastAt > stuckAfterMs || (lockedBy !== undefined && queuedAt > lastAt);

function startOf(diagnosis: Diagnosis): number | undefined {
  const { changes, node, now } = diagnosis;
  const seen = changes.findLast(
    (change) =>
      change.node === node && change.kind === 'process' && /kube-proxy/.test(change.subject) && change.after !== null && now - change.at <= startWindowMs,
  );
  return proxyOf(diagnosis)?.startedAt ?? seen?.at;
}

interface Stuck {
  readonly diagnosis: Diagnosis;
  readonly drift: Drift;
  readonly drifts: readonly Drift[];
  readonly sync: ProxySync;
}

function stuckFinding({ diagnosis, drift, drifts, sync }: Stuck): Diagnosed {
  const finding = findingOf(diagnosis, subjectOf(drift), {
    ...stuckParts(sync),
    severity: drift.kind === 'unexpected' || drift.affected.length === 0 ? 'warning' : severityOf(drift),
    symptom: symptomOfDrift(drift),
    summary: `${nodePortText(drift.nodePort, drift.expectation)}: its rules are out of date on ${diagnosis.node}: ${whyText(sync)}.`,
    evidence: syncEvidence(sync),
    remedy: stuckRemedy(diagnosis, sync),
    consequences: keysOf(drifts.filter((other) => other !== drift)),
  });
  return { finding, explains: [drift] };
}

const keysOf = (drifts: readonly Drift[]): string[] => drifts.slice(0, consequencesMax).map(({ key }) => key);

function stuckQuietly(diagnosis: Diagnosis, sync: ProxySync): Diagnosed {
  const finding = findingOf(diagnosis, undefined, {
    ...stuckParts(sync),
    severity: 'warning',
    symptom: 'ok',
    summary: `kube-proxy on ${diagnosis.node} does not get its rules written: ${whyText(sync)}. Its rules are right as long as no Service and no endpoint changes.`,
    evidence: syncEvidence(sync),
    remedy: stuckRemedy(diagnosis, sync),
  });
  return { finding, explains: [] };
}

const causeOf = ({ lockedBy, restoreFailures, partialRestoreFailures }: ProxySync): 'B03' | 'B04' =>
  lockedBy === undefined && restoreFailures + partialRestoreFailures > 0 ? 'B04' : 'B03';

function stuckParts(sync: ProxySync): Pick<Finding, 'cause' | 'confidence' | 'title'> {
  const cause = causeOf(sync);
  return {
    cause,
    confidence: cause === 'B04' || sync.lockedBy !== undefined ? 'likely' : 'possible',
    title: cause === 'B04' ? "kube-proxy's rules are refused" : 'kube-proxy does not get to write its rules',
  };
}

function whyText(sync: ProxySync): string {
  const behind = `the last sync that succeeded is ${durationText(Math.max(0, sync.queuedAt - sync.lastAt))} older than the last request for one`;
  if (sync.lockedBy !== undefined) return `${behind}, and ${sync.lockedBy.comm} (pid ${sync.lockedBy.pid}) holds the lock of iptables`;
  return causeOf(sync) === 'B04'
    ? `${behind}, and ${sync.restoreFailures + sync.partialRestoreFailures} restores were refused (a match, target or chain that the kernel or the tool does not know)`
    : behind;
}

/** What kube-proxy's metrics say, as evidence for whoever finds its rules out of date. */
export function syncEvidence(sync: ProxySync | undefined): Evidence[] {
  if (sync === undefined) return [];
  const [last, asked] = [sync.lastAt, sync.queuedAt].map((at) => new Date(at).toISOString());
  const failures: Evidence = {
    witness: 'processes',
    text: `${sync.restoreFailures} full and ${sync.partialRestoreFailures} partial restores have failed since it runs.`,
  };
  return [
    { witness: 'processes', text: `kube-proxy's last sync succeeded at ${last}, the last was asked for at ${asked}.` },
    ...(sync.restoreFailures + sync.partialRestoreFailures === 0 ? [] : [failures]),
  ];
}

const stuckRemedy = (diagnosis: Diagnosis, sync: ProxySync): string[] =>
  sync.lockedBy !== undefined
    ? [
        `ps -o pid,ppid,lstart,args -p ${sync.lockedBy.pid}  # holds /run/xtables.lock: end it if it hangs`,
        'cat /proc/locks  # by inode of /run/xtables.lock: stat -c %i /run/xtables.lock',
      ]
    : [
        'kubectl -n kube-system logs -l k8s-app=kube-proxy --tail=200 | grep -iE "restore|xtables lock|Couldn\'t load|does not exist"',
        ...restartProxy(diagnosis.objects, diagnosis.node, proxyOf(diagnosis)),
      ];

function nftablesFinding(diagnosis: Diagnosis, proxy: ProxyFact, drifts: readonly Drift[]): Finding {
  const worst = drifts.find((drift) => severityOf(drift) === 'error') ?? (drifts[0] as Drift);
  const [host] = factsOf(diagnosis, 'host');
  const old = host !== undefined && isOlder(host.kernel, 5, 13);
  const flush = foreignFlush(diagnosis);
  const why = old
    ? `: the kernel ${host.kernel} is older than 5.13, which that mode needs`
    : flush === undefined
      ? ''
      : `; it was removed by ${flush.actor?.comm ?? 'another program'}`;
  return findingOf(diagnosis, undefined, {
    cause: 'B20',
    title: "kube-proxy's nftables table is not there",
    severity: 'error',
    confidence: old || flush !== undefined ? 'certain' : 'likely',
    symptom: symptomOfDrift(worst),
    summary: `${drifts.length} NodePorts do not work on ${diagnosis.node}: kube-proxy is set to nftables mode, and its table kube-proxy is not there${why}.`,
    evidence: [
      { witness: 'processes', text: `kube-proxy's flags say proxy-mode=${proxy.flags?.['proxy-mode']}.` },
      { witness: 'rules', text: 'There is no table ip kube-proxy and no table ip6 kube-proxy.' },
      ...(old ? [{ witness: 'settings' as const, text: `The kernel is ${host.kernel}.` }] : []),
      ...toolsEvidence(diagnosis),
    ],
    remedy: old
      ? ["# set mode: iptables in kube-proxy's configuration, or upgrade the kernel to 5.13 or later"]
      : restartProxy(diagnosis.objects, diagnosis.node, proxy),
    consequences: keysOf(drifts),
    ...(flush === undefined ? {} : { trigger: flush }),
  });
}

const foreignFlush = ({ changes, node }: Diagnosis): Change | undefined =>
  changes.findLast(
    (change) => change.node === node && /^ip6? kube-proxy\b/.test(change.subject) && change.after === null && change.actor?.comm !== 'kube-proxy',
  );

function isOlder(kernel: string, major: number, minor: number): boolean {
  const found = /^(\d+)\.(\d+)/.exec(kernel);
  return found !== null && (Number(found[1]) < major || (Number(found[1]) === major && Number(found[2]) < minor));
}
