// The list of detectors, and the diagnosis of one node: drifts in, findings out.

import type { Finding, Severity } from '../../shared/model/finding.ts';
import type { Drift } from '../compare/index.ts';
import { addressGone } from './addresses.ts';
import { blocked } from './blocked.ts';
import type { Detector, Diagnosed, Diagnosis } from './detector.ts';
import { virtualServerMissing } from './ipvs.ts';
import { localNotRecognised, outOfDate, proxyStopped, ruleRemoved, skeletonMissing } from './proxy.ts';
import { hiddenService, hostPortShadows, localWithoutEndpoint, targetPort, terminatingOnly, withoutEndpoints } from './services.ts';
import { hostListener } from './sockets.ts';
import { notJudged } from './unknown.ts';

export type { Detector, Diagnosed, Diagnosis } from './detector.ts';

/**
 * All detectors. The order matters where two could explain the same drift: the wider root comes first (no kube-proxy at all, then its skeleton, then one
 * Service's rules), and a general explanation (out of date) takes what nothing more special has. The first five look at objects and take no drift away.
 */
export const detectors: readonly Detector[] = [
  withoutEndpoints,
  localWithoutEndpoint,
  terminatingOnly,
  hiddenService,
  targetPort,
  addressGone,
  blocked,
  hostPortShadows,
  proxyStopped,
  skeletonMissing,
  localNotRecognised,
  virtualServerMissing,
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
