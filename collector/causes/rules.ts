// Causes in how rules lie in the tables: in the wrong backend, many times over, or gone while their pod is there.

import type { Family } from '../../shared/model/address.ts';
import type { HostPortsFact, NeighbourChain } from '../../shared/model/fact.ts';
import { proxyBackend } from './decider-causes.ts';
import { counted, type Detector, type Diagnosed, type Diagnosis, factsOf, findingOf, listText, neighboursOf } from './detector.ts';
import { kubectl, shellWord } from './remedy.ts';
import { toolsEvidence } from './tools.ts';

/** C11: programs of one cluster write to different backends of iptables: each is blind to the rules of the other. */
export const splitBackends: Detector = {
  causes: ['C11'],
  detect: (diagnosis) => {
    const own = proxyBackend(diagnosis);
    if (own === undefined || own === 'nft') return [];
    const others = neighboursOf(diagnosis).filter(
      ({ chain, backend }) => clusterChains.test(chain) && backend !== undefined && backend !== 'nft' && backend !== own,
    );
    // A chain that stands in both was left behind in one of them.
    const kept = new Set(neighboursOf(diagnosis).flatMap(({ chain, family, backend }) => (backend === own ? [`${family} ${prefixOf(chain)}`] : [])));
    const stray = others.filter(({ chain, family }) => !kept.has(`${family} ${prefixOf(chain)}`));
    return stray.length === 0 ? [] : [splitFinding(diagnosis, own, stray)];
  },
};

/** C13: one rule stands many times in a chain: an old iptables or two programs add it again and again, and every change takes longer. */
export const repeatedRules: Detector = {
  causes: ['C13'],
  detect: (diagnosis) =>
    factsOf(diagnosis, 'repeated-rules').flatMap(({ rules }) => {
      const [worst] = rules;
      if (worst === undefined) return [];
      const finding = findingOf(diagnosis, undefined, {
        cause: 'C13',
        title: 'one rule stands many times over',
        severity: 'warning',
        confidence: 'certain',
        symptom: 'ok',
        summary: `On ${diagnosis.node} the rule ${worst.text} stands at least ${worst.count} times in ${worst.table} ${worst.chain}: a program adds it again and again, packets and changes of rules become slower, and the lock of iptables is held for longer.`,
        evidence: rules
          .slice(0, 5)
          .map(({ table, chain, text, count }) => ({ witness: 'rules', text: `${table} ${chain}: ${text}, at least ${count} times.` })),
        remedy: [
          'iptables -V  # 1.8.0 to 1.8.3 do not find rules that are there: upgrade',
          `# find who adds it: portreeve get changes --subject ${shellWord(worst.chain)}`,
        ],
      });
      return [{ finding, explains: [] }];
    }),
};

/** C20: a pod has a hostPort and portmap's rule for it is gone; nobody writes it again while the pod lives. */
export const hostPortLost: Detector = {
  causes: ['C20'],
  detect: (diagnosis) => factsOf(diagnosis, 'hostports').flatMap((fact) => lostFindings(diagnosis, fact)),
};

/** Chains of programs that belong to a cluster and are written by a container of their own. */
const clusterChains = /^(KUBE-IPTABLES-HINT|KUBE-KUBELET-CANARY|KUBE-ROUTER-|KUBE-POD-FW|FLANNEL-|cali-|CNI-HOSTPORT|WEAVE|CILIUM_)/;
const prefixOf = (chain: string): string => /^(KUBE-IPTABLES-HINT|KUBE-[A-Z]+|[A-Za-z]+)/.exec(chain)?.[1] ?? chain;

function splitFinding(diagnosis: Diagnosis, own: string, stray: readonly NeighbourChain[]): Diagnosed {
  const names = [...new Set(stray.map(({ table, chain }) => `${table} ${chain}`))];
  const other = stray[0]?.backend ?? '';
  const word = (backend: string): string => (backend === 'legacy' ? 'iptables-legacy' : 'iptables-nft');
  const finding = findingOf(diagnosis, undefined, {
    cause: 'C11',
    title: 'programs of the cluster write to two backends of iptables',
    severity: 'info',
    confidence: 'likely',
    symptom: 'ok',
    summary: `On ${diagnosis.node} kube-proxy writes ${word(own)}, but ${listText(names.slice(0, 3))} ${names.length === 1 ? 'is' : 'are'} in ${word(other)}: each program is blind to the rules of the other, and both backends decide every packet.`,
    evidence: [
      { witness: 'rules', text: `In ${word(other)}: ${listText(names.slice(0, 6))}; rules of kube-proxy: in ${word(own)}.` },
      ...toolsEvidence(diagnosis),
    ],
    remedy: [
      'iptables -V; update-alternatives --display iptables',
      `# make the program of those chains use ${word(own)} (its image may bring an iptables of its own), restart it, then reboot the node`,
    ],
  });
  return { finding, explains: [] };
}

function lostFindings(diagnosis: Diagnosis, { family, ports }: HostPortsFact): Diagnosed[] {
  const pods = [...diagnosis.objects.pods.values()].filter(
    ({ nodeName, hostNetwork, phase, podIPs }) =>
      nodeName === diagnosis.node && !hostNetwork && phase === 'Running' && podIPs.some((address) => isOf(family, address)),
  );
  return pods.flatMap((pod) => {
    const wanted = pod.containers.flatMap((container) =>
      container.ports.flatMap(({ hostPort, protocol }) => (hostPort === undefined ? [] : [`${protocol}/${hostPort}`])),
    );
    const lost = wanted.filter((port) => !ports.includes(port));
    if (lost.length === 0) return [];
    const finding = findingOf(diagnosis, undefined, {
      cause: 'C20',
      about: `hostports/${family}/${pod.namespace}/${pod.name}`,
      title: "a pod's hostPort has lost its rule",
      severity: 'warning',
      confidence: 'likely',
      symptom: 'refused',
      removed: ['CNI-HOSTPORT-DNAT'],
      summary: `Pod ${pod.namespace}/${pod.name} on ${diagnosis.node} has ${counted(lost.length, 'hostPort')} (${listText(lost)}) that no rule of portmap serves any more: rules were flushed after the pod had started, and portmap does not write them again.`,
      evidence: [
        { witness: 'objects', text: `Pod ${pod.namespace}/${pod.name} asks for ${listText(wanted)}.` },
        { witness: 'rules', text: `CNI-HOSTPORT-DNAT serves ${listText(ports.slice(0, 6)) || 'nothing'}.` },
      ],
      remedy: [`${kubectl(pod.namespace)} delete pod ${shellWord(pod.name)}  # its successor gets the rule`],
    });
    return [{ finding: { ...finding, family }, explains: [] }];
  });
}

const isOf = (family: Family, address: string): boolean => address.includes(':') === (family === 6);
