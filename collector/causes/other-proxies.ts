// Replacements of kube-proxy that serve NodePorts without rules: what they do cannot be read here, and is said so.

import type { Finding } from '../../shared/model/finding.ts';
import type { Drift } from '../compare/index.ts';
import { type Detector, type Diagnosis, factsOf, findingOf, isRuleDrift, listText, neighboursOf, nodePortText, proxyOf, subjectOf } from './detector.ts';

/** B27: another program serves NodePorts in BPF. No rule of kube-proxy is expected; whether that program does its work is for it to say. */
export const bpfProxy: Detector = {
  causes: ['B27'],
  detect: (diagnosis) => {
    const program = bpfProxyOf(diagnosis);
    if (program === undefined || proxyOf(diagnosis)?.mode !== 'none' || proxyOf(diagnosis)?.running === 'yes') return [];
    return diagnosis.drifts.filter(isRuleDrift).map((drift) => ({ finding: bpfFinding({ diagnosis, drift, program }), explains: [drift] }));
  },
};

/** The program that serves NodePorts in kube-proxy's place; undefined when none is seen. */
export function bpfProxyOf(diagnosis: Diagnosis): keyof typeof questions | undefined {
  const names = new Set(factsOf(diagnosis, 'process').map(({ comm }) => comm));
  if (names.has('cilium-agent') || neighboursOf(diagnosis).some(({ chain }) => chain.startsWith('CILIUM_'))) return 'Cilium';
  if (names.has('antrea-agent')) return 'Antrea';
  return names.has('calico-node') || names.has('felix') || names.has('calico-felix') ? 'Calico' : undefined;
}

const questions = {
  Cilium: [
    'kubectl -n kube-system exec ds/cilium -- cilium-dbg status --verbose | grep -A12 KubeProxyReplacement  # devices and modes',
    'kubectl -n kube-system exec ds/cilium -- cilium-dbg service list | grep NodePort',
  ],
  Antrea: ['kubectl -n kube-system exec ds/antrea-agent -c antrea-agent -- antctl get featuregates  # AntreaProxy with proxyAll?'],
  Calico: ['kubectl get felixconfiguration default -o jsonpath=\'{.spec.bpfEnabled} {.spec.bpfDataIfacePattern}{"\\n"}\''],
} as const;

interface Unseen {
  readonly diagnosis: Diagnosis;
  readonly drift: Drift;
  readonly program: keyof typeof questions;
}

function bpfFinding({ diagnosis, drift, program }: Unseen): Finding {
  const addresses = (diagnosis.objects.nodes.get(diagnosis.node)?.addresses ?? []).filter(({ type }) => type === 'InternalIP').map(({ address }) => address);
  return findingOf(diagnosis, subjectOf(drift), {
    cause: 'B27',
    title: `${program} serves NodePorts in kube-proxy's place`,
    severity: 'info',
    confidence: 'possible',
    symptom: 'unknown',
    summary: `${nodePortText(drift.nodePort, drift.expectation)}: on ${diagnosis.node} ${program} stands in for kube-proxy and decides in BPF, before any rule that is read here: whether clients get in is for ${program} to say.`,
    evidence: [
      { witness: 'processes', text: `No kube-proxy runs and none of its rules are there; ${program} is on this node.` },
      {
        witness: 'objects',
        text: `Clients use ${listText(addresses) || 'the addresses of the node'}: the devices that hold them must be among those that ${program} attends to.`,
      },
    ],
    remedy: questions[program],
  });
}
