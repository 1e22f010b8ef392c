// The list of detectors, and the diagnosis of one node: drifts in, findings out.

import type { Finding, Severity } from '../../shared/model/finding.ts';
import type { Drift } from '../compare/index.ts';
import { addressGone } from './addresses.ts';
import { blocked } from './blocked.ts';
import type { Detector, Diagnosed, Diagnosis } from './detector.ts';
import { endpointsNotWritten } from './events.ts';
import { balancerPending, healthCheckBlocked, notAllocated, rangesElsewhere } from './exposure.ts';
import { foreignIdentity } from './identity.ts';
import { setNotFilled, virtualServerMissing } from './ipvs.ts';
import { addressLeft, backlogDrops, everyNodeAnswers, linkFlaps, moduleMissing, portRangesOverlap, sourcePortsClash, tableFull } from './kernel.ts';
import { addressNotServed, invalidPackets, ipvsConnections, loopbackNodePorts, notMasqueraded, wrongClusterNetwork } from './masquerade.ts';
import { bpfProxy } from './other-proxies.ts';
import { localNotRecognised, outOfDate, proxyStopped, ruleRemoved, skeletonMissing } from './proxy.ts';
import { hostPortLost, repeatedRules, splitBackends } from './rules.ts';
import { affinityPins, staleFlows, zoneFiltered } from './selection.ts';
import { hiddenService, hostPortShadows, localWithoutEndpoint, podsFailing, targetPort, terminatingOnly, withoutEndpoints } from './services.ts';
import { hostListener } from './sockets.ts';
import { justStarted, nftablesUnmet, proxyUnhealthy, syncStuck } from './sync.ts';
import { cloudSetupRules, damagedChecksums, hairpinOff, overlayBlocked, podRouteMissing, securityGroup, tunnelTooLarge } from './underlay.ts';
import { notJudged } from './unknown.ts';

export type { Detector, Diagnosed, Diagnosis } from './detector.ts';

/**
 * All detectors. The order matters where two could explain the same drift: the wider root comes first (no kube-proxy at all, then its skeleton, then one
 * Service's rules), and a general explanation (out of date) takes what nothing more special has. Those up to `foreignIdentity` look at objects, devices, counters and
 * the ledger and take no drift away.
 */
export const detectors: readonly Detector[] = [
  withoutEndpoints,
  localWithoutEndpoint,
  terminatingOnly,
  hiddenService,
  notAllocated,
  rangesElsewhere,
  zoneFiltered,
  targetPort,
  podsFailing,
  endpointsNotWritten,
  addressGone,
  healthCheckBlocked,
  balancerPending,
  securityGroup,
  podRouteMissing,
  overlayBlocked,
  tunnelTooLarge,
  damagedChecksums,
  hairpinOff,
  setNotFilled,
  notMasqueraded,
  wrongClusterNetwork,
  ipvsConnections,
  invalidPackets,
  loopbackNodePorts,
  staleFlows,
  splitBackends,
  repeatedRules,
  hostPortLost,
  tableFull,
  portRangesOverlap,
  sourcePortsClash,
  backlogDrops,
  moduleMissing,
  addressLeft,
  everyNodeAnswers,
  linkFlaps,
  foreignIdentity,
  cloudSetupRules,
  blocked,
  hostPortShadows,
  bpfProxy,
  proxyStopped,
  nftablesUnmet,
  proxyUnhealthy,
  addressNotServed,
  justStarted,
  syncStuck,
  skeletonMissing,
  localNotRecognised,
  virtualServerMissing,
  affinityPins,
  ruleRemoved,
  outOfDate,
  hostListener,
  notJudged,
];

/** The findings of one node, worst first; no two have the same id. */
export function diagnoseNode(diagnosis: Diagnosis): Finding[] {
  let open: readonly Drift[] = diagnosis.drifts;
  const found: Diagnosed[] = [];
  for (const detector of detectors) {
    const diagnosed = detector.detect({ ...diagnosis, drifts: seesAll.has(detector) ? diagnosis.drifts : open });
    found.push(...diagnosed);
    const explained = new Set(diagnosed.flatMap(({ explains }) => explains));
    open = open.filter((drift) => !explained.has(drift));
  }
  const sorted = found.map(({ finding }) => finding).sort((a, b) => ranks[a.severity] - ranks[b.severity] || a.port - b.port || (a.id < b.id ? -1 : 1));
  const seen = new Set<string>();
  return sorted.filter(({ id }) => !seen.has(id) && seen.add(id));
}

// Whether a port is otherwise well is a question to all drifts, explained or not.
const seesAll: ReadonlySet<Detector> = new Set([hostListener]);

const ranks: Readonly<Record<Severity, number>> = { error: 0, warning: 1, info: 2 };
