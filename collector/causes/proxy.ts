// Causes in kube-proxy and its rules: not running, never written, edited from outside, out of date.

import { actorText } from '../../shared/model/change.ts';
import { type Expectation, servicePortText } from '../../shared/model/expectation.ts';
import type { ChainsFact } from '../../shared/model/fact.ts';
import type { Evidence } from '../../shared/model/finding.ts';
import type { Drift } from '../compare/index.ts';
import { isNoEndpointRule } from '../compare/index.ts';
import {
  chainsOf,
  clientsText,
  consequencesMax,
  type Detector,
  type Diagnosed,
  type Diagnosing,
  type Diagnosis,
  decidersOf,
  findingOf,
  isRuleDrift,
  listText,
  nodePortText,
  outcomesOf,
  proxyOf,
  severityOf,
  shareText,
  subjectOf,
  symptomOfDrift,
  symptomText,
} from './detector.ts';
import { byHardening } from './hardening.ts';
import { bpfProxyOf } from './other-proxies.ts';
import { placeText } from './owner.ts';
import { restartProxy } from './remedy.ts';
import { syncEvidence } from './sync.ts';

/** B26, B01: no kube-proxy runs. With rules of its own still there they go stale; without any, nothing serves NodePorts. */
export const proxyStopped: Detector = {
  causes: ['B01', 'B26'],
  detect: (diagnosis) => {
    const proxy = proxyOf(diagnosis);
    if (proxy?.running !== 'no') return [];
    const drifts = ruleDrifts(diagnosis);
    if (proxy.mode === 'none' && bpfProxyOf(diagnosis) !== undefined) return [];
    if (drifts.length === 0) return proxy.mode === 'none' ? [] : [quietlyStopped(diagnosis, proxy.evidence)];
    return drifts.map((drift) => stopped({ diagnosis, drift, drifts, evidence: proxy.evidence, written: proxy.mode !== 'none' }));
  },
};

/** B06, B02, C06: parts of the skeleton that carries all NodePorts are missing. One finding for each family. */
export const skeletonMissing: Detector = {
  causes: ['B02', 'B06', 'C06', 'C18'],
  detect: (diagnosis) =>
    [4, 6].flatMap((family) => {
      const chains = chainsOf(diagnosis, family);
      const drifts = ruleDrifts(diagnosis).filter((drift) => drift.nodePort.family === family);
      const absent = Object.entries(chains?.parts ?? {})
        .filter(([part, there]) => !there && (chains?.mode !== 'ipvs' || !notOfIpvs.test(part)))
        .map(([part]) => part);
      // What is missing from the skeleton shuts out most NodePorts; a single one that differs has another cause.
      if (chains === undefined || drifts.length === 0 || drifts.length * 2 < forwardOf(diagnosis, chains).length) return [];
      const gone = allRulesGone(diagnosis, chains, drifts);
      const parts = gone.length > 0 && (chains.mode === 'none' || absent.length === 0) ? gone : absent;
      return parts.length === 0 ? [] : [skeletonFinding({ diagnosis, chains, absent: parts, drifts })];
    }),
};

// IPVS keeps NodePorts in virtual servers and ipsets, and has no canary of this name.
const notOfIpvs = /KUBE-NODEPORTS|CANARY/;

/** A05: kube-proxy says that no endpoint is local although a slice names this node. */
export const localNotRecognised: Detector = {
  causes: ['A05'],
  detect: (diagnosis) =>
    diagnosis.drifts
      .filter(({ kind, expectation }) => kind === 'endpoints' && expectation?.externalTrafficPolicy === 'Local')
      .flatMap((drift) => localFinding(diagnosis, drift)),
};

/** B06: the rule of one NodePort is gone while the Service's own chains are there. */
export const ruleRemoved: Detector = {
  causes: ['B06'],
  detect: (diagnosis) =>
    ruleDrifts(diagnosis)
      .filter((drift) => drift.kind === 'missing' || drift.kind === 'refused')
      .flatMap((drift) => removedFinding(diagnosis, drift)),
};

/** B05, B07, B08, B09: rules differ from the objects for one Service, for most, or outlive a Service. */
export const outOfDate: Detector = {
  causes: ['B05', 'B07', 'B08', 'B09'],
  detect: (diagnosis) => {
    const drifts = ruleDrifts(diagnosis);
    return drifts.map((drift) => staleFinding(diagnosis, drift, drifts));
  },
};

/** The drifts that are a matter of kube-proxy's rules, not of somebody who stands in the way. */
const ruleDrifts = (diagnosis: Diagnosis): readonly Drift[] => diagnosis.drifts.filter(isRuleDrift);

interface Stopped {
  readonly diagnosis: Diagnosis;
  readonly drift: Drift;
  readonly drifts: readonly Drift[];
  readonly evidence: string;
  readonly written: boolean;
}

function stopped({ diagnosis, drift, drifts, evidence, written }: Stopped): Diagnosed {
  const what = differenceText(drift);
  const finding = findingOf(diagnosis, subjectOf(drift), {
    cause: written ? 'B01' : 'B26',
    confidence: 'certain',
    ...severityAndSymptom(drift),
    title: written ? 'kube-proxy is not running and its rules are out of date' : 'no kube-proxy runs on this node and no rules of one are there',
    summary: `${nodePortText(drift.nodePort, drift.expectation)}: ${what}; kube-proxy is not running on ${diagnosis.node}${written ? ', so its rules stay as they were' : ''}.`,
    evidence: [{ witness: 'processes', text: `kube-proxy does not run: ${evidence}.` }, ...ruleEvidence(diagnosis, drift)],
    remedy: restartProxy(diagnosis.objects, diagnosis.node, proxyOf(diagnosis)),
    consequences: others(drifts, drift),
    ...endOfProxy(diagnosis),
  });
  return { finding, explains: [drift] };
}

/** The change by which kube-proxy ended, where the ledger has it. */
function endOfProxy({ changes, node }: Diagnosis): Pick<Diagnosing, 'trigger'> {
  const ended = changes.findLast((change) => change.node === node && change.kind === 'process' && /kube-proxy|\bk3s|\brke2/.test(change.subject));
  return ended === undefined || ended.after !== null ? {} : { trigger: ended };
}

function quietlyStopped(diagnosis: Diagnosis, evidence: string): Diagnosed {
  const finding = findingOf(diagnosis, undefined, {
    cause: 'B01',
    title: 'kube-proxy is not running',
    severity: 'warning',
    confidence: 'certain',
    symptom: 'ok',
    summary: `kube-proxy is not running on ${diagnosis.node}. Its rules are right as long as no Service and no endpoint changes.`,
    evidence: [{ witness: 'processes', text: `kube-proxy does not run: ${evidence}.` }],
    remedy: restartProxy(diagnosis.objects, diagnosis.node, proxyOf(diagnosis)),
    consequences: diagnosis.expectations.slice(0, consequencesMax).map(({ key }) => key),
    ...endOfProxy(diagnosis),
  });
  return { finding, explains: [] };
}

// Every NodePort's rule is missing: either all of kube-proxy's work, or the content of the chain or map that holds the NodePorts.
function allRulesGone(diagnosis: Diagnosis, chains: ChainsFact, drifts: readonly Drift[]): string[] {
  const forward = forwardOf(diagnosis, chains);
  if (forward.length < 3 || drifts.filter(({ kind }) => kind === 'missing').length < forward.length) return [];
  if (chains.mode === 'none') return [`every rule of kube-proxy for IPv${chains.family}`];
  const orphans = Object.values(chains.services).some(({ chain, nodePortRule }) => chain && !nodePortRule);
  return orphans ? [`${contentOf}${chains.mode === 'nftables' ? 'map service-nodeports' : 'nat KUBE-NODEPORTS'}`] : [];
}

const contentOf = 'the content of ';

const forwardOf = (diagnosis: Diagnosis, chains: ChainsFact): readonly Expectation[] =>
  diagnosis.expectations.filter(({ expect, nodePort }) => expect === 'forward' && nodePort.family === chains.family);

interface Skeleton {
  readonly diagnosis: Diagnosis;
  readonly chains: ChainsFact;
  readonly absent: readonly string[];
  readonly drifts: readonly Drift[];
}

function skeletonFinding({ diagnosis, chains, absent, drifts }: Skeleton): Diagnosed {
  const canary = Object.entries(chains.parts).some(([part, there]) => there && /^mangle .*CANARY/.test(part));
  const emptied = absent.some((part) => part.startsWith(contentOf));
  const flushed = emptied || (canary && absent.some((part) => /^nat KUBE-(NODEPORTS|SERVICES)$/.test(part)));
  const worst = drifts.find((drift) => severityOf(drift) === 'error') ?? (drifts[0] as Drift);
  const finding = findingOf(diagnosis, undefined, {
    cause: flushed ? 'B06' : 'B02',
    confidence: 'certain',
    severity: 'error',
    symptom: symptomOfDrift(worst),
    title: emptied
      ? 'the rules of all NodePorts were removed from outside'
      : flushed
        ? "the nat table was flushed from outside while kube-proxy's canary is intact"
        : "parts of kube-proxy's rules are missing that every NodePort needs",
    summary: `${drifts.length} IPv${chains.family} NodePorts do not work on ${diagnosis.node}: ${listText(absent.slice(0, 5))} ${absent.length === 1 ? 'is' : 'are'} missing${emptied ? ", while the Services' own chains are there" : ''}${flushed && canary ? ', and kube-proxy does not notice, as the canary it polls is still in mangle' : ''}.`,
    evidence: [
      { witness: 'rules', text: `Missing: ${absent.join(', ')}.` },
      ...(flushed && canary
        ? [{ witness: 'rules', text: 'mangle KUBE-PROXY-CANARY is there: kube-proxy will not write the rules again by itself.' } satisfies Evidence]
        : []),
    ],
    remedy: restartProxy(diagnosis.objects, diagnosis.node, proxyOf(diagnosis)),
    removed: [wordOfPart(absent[0] ?? '')],
    consequences: drifts.map(({ key }) => key),
  });
  const reloaded = /firewalld|firewall-cmd/.test(actorText(finding.actor));
  const named = reloaded ? { ...finding, cause: 'C06', title: "firewalld flushed kube-proxy's rules when it was reloaded or restarted" } : finding;
  const hardened = byHardening(named);
  return { finding: { ...hardened, id: `${diagnosis.node}/chains/${chains.family}/${hardened.cause}`, family: chains.family }, explains: drifts };
}

// Where nothing of kube-proxy is left, the chain that all its work hangs on.
const wordOfPart = (part: string): string => (part.startsWith('every rule') ? 'KUBE-SERVICES' : (part.split(' ').at(-1) ?? ''));

function localFinding(diagnosis: Diagnosis, drift: Drift): Diagnosed[] {
  const denying = decidersOf(outcomesOf(drift)).find(
    (decider) => /no local endpoints/.test(decider.text) || (isNoEndpointRule(decider) && /drop/i.test(decider.text)),
  );
  if (denying === undefined || drift.expectation === undefined) return [];
  const override = proxyOf(diagnosis)?.flags?.['hostname-override'];
  const misnamed = override !== undefined && override !== '' && override !== diagnosis.node;
  const finding = findingOf(diagnosis, drift.expectation, {
    cause: 'A05',
    title: 'kube-proxy does not recognise the local endpoint',
    severity: 'error',
    confidence: misnamed ? 'certain' : 'likely',
    symptom: symptomOfDrift(drift),
    deciders: [denying],
    summary: `${nodePortText(drift.nodePort, drift.expectation)}: kube-proxy drops clients for want of a local endpoint, although ${listText(drift.expectation.endpoints)} runs on ${diagnosis.node}.`,
    evidence: [
      { witness: 'rules', text: `${placeText(denying)} says: ${denying.text}`, decider: denying },
      { witness: 'objects', text: `The EndpointSlice gives ${diagnosis.node} as the node of ${listText(drift.expectation.endpoints)}.` },
      ...(misnamed
        ? [{ witness: 'processes' as const, text: `kube-proxy runs with --hostname-override=${override}, the Node is named ${diagnosis.node}.` }]
        : []),
    ],
    remedy: [
      `kubectl get node ${diagnosis.node} -o jsonpath='{.metadata.name}{"\\n"}'  # must equal kube-proxy's --hostname-override or the host's name`,
      ...restartProxy(diagnosis.objects, diagnosis.node, proxyOf(diagnosis)),
    ],
  });
  return [{ finding, explains: [drift] }];
}

function removedFinding(diagnosis: Diagnosis, drift: Drift): Diagnosed[] {
  const { expectation, nodePort } = drift;
  const state = expectation === undefined ? undefined : chainsOf(diagnosis, nodePort.family)?.services[servicePortText(expectation.service)];
  if (expectation === undefined) return [];
  // A Service without chains was never known; one with a rule for another NodePort has changed its number since. Nobody took a rule away from either.
  if (drift.kind === 'missing' && (state === undefined || !state.chain || state.nodePortRule)) return [];
  const given = drift.kind === 'refused' ? chainEmptied(diagnosis, drift, expectation) : ruleGone(diagnosis, drift, expectation);
  const finding = findingOf(diagnosis, expectation, {
    cause: 'B06',
    confidence: 'certain',
    ...severityAndSymptom(drift),
    ...given,
    remedy: restartProxy(diagnosis.objects, diagnosis.node, proxyOf(diagnosis)),
  });
  return [{ finding, explains: [drift] }];
}

type Removed = Pick<Diagnosing, 'title' | 'summary' | 'evidence' | 'removed'>;

function ruleGone(diagnosis: Diagnosis, drift: Drift, expectation: Expectation): Removed {
  const mode = proxyOf(diagnosis)?.mode;
  const place = mode === 'nftables' ? 'map service-nodeports' : 'nat KUBE-NODEPORTS';
  return {
    title: "the NodePort's rule was removed from outside",
    summary: `${nodePortText(drift.nodePort, expectation)}: ${metText(drift)} for ${clientsText(drift)}: its entry in ${place} is gone while the Service's own chains are there.`,
    evidence: [
      {
        witness: 'rules',
        text: `${place} has no entry for ${drift.nodePort.port}/${drift.nodePort.protocol}; the chains of ${servicePortText(expectation.service)} are complete.`,
      },
      ...runningEvidence(diagnosis),
      { witness: 'rules', text: 'kube-proxy does not read its rules back: it will not repair this by itself.' },
    ],
    removed: mode === 'nftables' ? [String(drift.nodePort.port)] : ['KUBE-NODEPORTS', String(drift.nodePort.port)],
  };
}

function chainEmptied(diagnosis: Diagnosis, drift: Drift, expectation: Expectation): Removed {
  return {
    title: "the Service's chains were emptied from outside",
    summary: `${nodePortText(drift.nodePort, expectation)}: ${shareText(drift)}${metText(drift)} for ${clientsText(drift)}: the NodePort's rule is there, but ${drift.missing.length === 0 || drift.missing.length === expectation.endpoints.length ? 'it leads to no endpoint' : `the chains behind it no longer lead to ${listText(drift.missing.slice(0, 4))}`}.`,
    evidence: [
      {
        witness: 'rules',
        text: `The chains of ${servicePortText(expectation.service)} do not lead to ${listText(expectation.endpoints.slice(0, 4))} for every connection.`,
      },
      ...runningEvidence(diagnosis),
    ],
    removed: [servicePortText(expectation.service)],
  };
}

function staleFinding(diagnosis: Diagnosis, drift: Drift, drifts: readonly Drift[]): Diagnosed {
  const forward = diagnosis.expectations.filter(({ expect }) => expect === 'forward').length;
  const wide = drifts.length > 2 && drifts.length * 2 > forward;
  const ipvs = proxyOf(diagnosis)?.mode === 'ipvs' && drift.kind === 'endpoints' && drift.extra.length > 0;
  const cause = drift.kind === 'unexpected' && drifts.length === 1 ? 'B09' : wide ? 'B07' : ipvs ? 'B08' : 'B05';
  const finding = findingOf(diagnosis, subjectOf(drift), {
    cause,
    confidence: proxyOf(diagnosis)?.running === 'yes' ? 'likely' : 'possible',
    ...severityAndSymptom(drift),
    title: staleTitles[cause],
    summary: `${nodePortText(drift.nodePort, drift.expectation)}: ${differenceText(drift)}${wide ? '' : ', while the rules of other Services are right'}.`,
    evidence: [...ruleEvidence(diagnosis, drift), ...runningEvidence(diagnosis)],
    remedy: restartProxy(diagnosis.objects, diagnosis.node, proxyOf(diagnosis)),
    consequences: wide ? others(drifts, drift) : [],
  });
  return { finding, explains: [drift] };
}

const staleTitles = {
  B05: "one Service's rules are out of date",
  B07: "kube-proxy's rules follow an old state of the cluster",
  B08: 'IPVS keeps real servers that the Service does not have',
  B09: 'rules of a NodePort that no Service has',
} as const;

const others = (drifts: readonly Drift[], drift: Drift): string[] =>
  drifts
    .slice(0, consequencesMax + 1)
    .filter(({ key }) => key !== drift.key)
    .map(({ key }) => key)
    .slice(0, consequencesMax);

function severityAndSymptom(drift: Drift): Pick<Diagnosing, 'severity' | 'symptom'> {
  if (drift.kind === 'unexpected') return { severity: 'warning', symptom: symptomOfDrift(drift) };
  if (drift.kind === 'endpoints' && drift.extra.length === 0 && drift.affected.length === 0) return { severity: 'warning', symptom: 'ok' };
  const symptom = symptomOfDrift(drift);
  // Where the sockets were not read, the packet reaches the node's own stack all the same: as a rule nothing listens there.
  return { severity: severityOf(drift), symptom: symptom === 'unknown' ? 'refused' : symptom };
}

/** What rules do and should not, as a clause. */
function differenceText(drift: Drift): string {
  const { extra, missing } = drift;
  switch (drift.kind) {
    case 'missing':
      return `${metText(drift)} for ${clientsText(drift)}, as no rule knows the port`;
    case 'refused':
      return `${metText(drift)} for ${clientsText(drift)}, as the rules of the port lead nowhere`;
    case 'unexpected':
      return `rules still send clients${extra.length === 0 ? '' : ` to ${listText(extra.slice(0, 4))}`}${namedService(drift)}, but no Service has this NodePort`;
    case 'endpoints':
      return endpointsText(extra, missing);
    case 'blocked':
    case 'masquerade':
    case 'statement':
    case 'unknown':
      return symptomText[symptomOfDrift(drift)];
  }
}

// A process of the node that listens on the port answers in the Service's place.
const metText = (drift: Drift): string =>
  outcomesOf(drift).some(({ verdict, dnat }) => verdict === 'local' && dnat === null)
    ? "a process of the node answers in the Service's place"
    : symptomOfDrift(drift) === 'unknown'
      ? 'connections do not reach the Service'
      : symptomText[symptomOfDrift(drift)];

const namedService = ({ fact }: Drift): string => (fact?.claimed.service === undefined ? '' : ` (${fact.claimed.service})`);

function endpointsText(extra: readonly string[], missing: readonly string[]): string {
  const parts = [
    ...(extra.length === 0 ? [] : [`rules send clients to ${listText(extra.slice(0, 4))}, which the Service does not have`]),
    ...(missing.length === 0 ? [] : [`rules do not know the endpoint${missing.length === 1 ? '' : 's'} ${listText(missing.slice(0, 4))}`]),
  ];
  return listText(parts) || 'rules lead elsewhere than the EndpointSlices say';
}

function ruleEvidence(diagnosis: Diagnosis, drift: Drift): Evidence[] {
  const { expectation, fact } = drift;
  const state = expectation === undefined ? undefined : chainsOf(diagnosis, drift.nodePort.family)?.services[servicePortText(expectation.service)];
  const deciders = decidersOf(outcomesOf(drift)).slice(0, 2);
  return [
    ...(fact?.claimed.by === 'rule'
      ? [
          {
            witness: 'rules',
            text: `The port is claimed by a rule${fact.claimed.service === undefined ? '' : ` for ${fact.claimed.service}`}.`,
          } satisfies Evidence,
        ]
      : []),
    ...(fact?.claimed.by === 'none'
      ? [{ witness: 'rules', text: `No rule claims ${drift.nodePort.port}/${drift.nodePort.protocol}.` } satisfies Evidence]
      : []),
    ...(state === undefined || state.endpoints.length === 0
      ? []
      : [{ witness: 'rules', text: `The rules of the Service lead to ${listText(state.endpoints.slice(0, 6))}.` } satisfies Evidence]),
    ...(expectation === undefined
      ? []
      : [{ witness: 'objects', text: `The EndpointSlices give ${listText(expectation.clusterEndpoints.slice(0, 6)) || 'no endpoint'}.` } satisfies Evidence]),
    ...deciders.map((decider): Evidence => ({ witness: 'rules', text: `Decided by ${decider.text}.`, decider })),
  ];
}

function runningEvidence(diagnosis: Diagnosis): Evidence[] {
  const proxy = proxyOf(diagnosis);
  if (proxy === undefined || proxy.running === 'unknown') return [];
  return [{ witness: 'processes', text: `kube-proxy ${proxy.running === 'yes' ? 'runs' : 'does not run'}: ${proxy.evidence}.` }, ...syncEvidence(proxy.sync)];
}
