// Addresses that the cluster believes the node to have and that the node does not have.
import { formatAddress, parseAddress, parsePrefix } from '../../shared/model/address.ts';
import type { InterfaceFact } from '../../shared/model/fact.ts';
import { type Drift, deciderOfOutcome } from '../compare/index.ts';
import { consequencesMax, type Detector, type Diagnosed, type Diagnosis, findingOf, listText } from './detector.ts';

/** D16: an InternalIP of the Node object is on no interface of the node: it has moved, and kube-proxy, the CNI and clients still use the old one. */
export const addressGone: Detector = {
  causes: ['D16'],
  detect: (diagnosis) => {
    const interfaces = [...diagnosis.facts.values()].filter((fact) => fact.kind === 'interface');
    const own = new Set(interfaces.flatMap(({ addresses }) => addresses.map(plain)));
    const believed = (diagnosis.objects.nodes.get(diagnosis.node)?.addresses ?? [])
      .filter(({ type }) => type === 'InternalIP')
      .map(({ address }) => canonical(address));
    const gone = believed.filter((address) => !own.has(address));
    return own.size === 0 || gone.length === 0 ? [] : [goneFinding(diagnosis, gone, interfaces)];
  },
};

function goneFinding(diagnosis: Diagnosis, gone: readonly string[], interfaces: readonly InterfaceFact[]): Diagnosed {
  const present = interfaces.filter(({ name }) => name !== 'lo').map(({ name, addresses }) => `${name} has ${listText(addresses.slice(0, 3)) || 'none'}`);
  const taken = diagnosis.changes.findLast(
    ({ node, kind, before }) =>
      node === diagnosis.node && kind === 'address' && before?.split(/[\n, ]+/).some((address) => gone.includes(plain(address))) === true,
  );
  const families = new Set(gone.map((address) => parseAddress(address)?.family));
  const finding = findingOf(diagnosis, undefined, {
    cause: 'D16',
    title: "the node's address has changed",
    severity: taken === undefined ? 'warning' : 'error',
    confidence: taken === undefined ? 'likely' : 'certain',
    symptom: 'timeout',
    summary: `The Node object of ${diagnosis.node} says ${listText(gone)}, which is on none of its interfaces: clients of that address do not reach it.`,
    evidence: [
      { witness: 'objects', text: `Node ${diagnosis.node} has InternalIP ${listText(gone)}.` },
      { witness: 'settings', text: `${listText(present.slice(0, 5))}.` },
    ],
    remedy: [
      'ip -br address',
      '# give the node its address back, or restart the kubelet (k3s: k3s-agent) with the right --node-ip, then kube-proxy and the CNI',
    ],
    consequences: diagnosis.expectations
      .filter(({ nodePort }) => families.has(nodePort.family))
      .slice(0, consequencesMax)
      .map(({ key }) => key),
    ...(taken === undefined ? {} : { trigger: taken }),
  });
  return { finding, explains: taken === undefined ? [] : lostRoutes(diagnosis) };
}

/** The drifts that follow from the routes which went with the address: its network's, and those by way of neighbours there. */
const lostRoutes = ({ drifts }: Diagnosis): readonly Drift[] =>
  drifts.filter(
    ({ kind, affected }) => kind === 'blocked' && affected.every(({ outcomes }) => outcomes.every((outcome) => deciderOfOutcome(outcome)?.by === 'route')),
  );

function plain(text: string): string {
  const prefix = parsePrefix(text);
  return prefix === undefined ? text : formatAddress(prefix.family, prefix.value);
}

function canonical(text: string): string {
  const address = parseAddress(text);
  return address === undefined ? text : formatAddress(address.family, address.value);
}
