// Host processes on a NodePort's number: kube-proxy's translation comes first, so from outside the Service answers and the process is shadowed.
import type { Expectation } from '../../shared/model/expectation.ts';
import type { ListenerFact } from '../../shared/model/fact.ts';
import { type Detector, type Diagnosed, type Diagnosis, findingOf, nodePortText } from './detector.ts';

/** D09: said for information while the Service is well, or as the process that answers instead when its rules are missing. */
export const hostListener: Detector = {
  causes: ['D09'],
  detect: (diagnosis) => diagnosis.expectations.flatMap((expectation) => {
    const listener = [...diagnosis.facts.values()].find((fact): fact is ListenerFact => fact.kind === 'listener' && shadows(fact, expectation));
    return listener === undefined ? [] : [listenerFinding(diagnosis, expectation, listener)];
  }),
};

// Up to 1.23 kube-proxy itself holds a socket for each NodePort; programs that embed it do as well. A socket whose process cannot be seen proves nothing.
const proxies = /^(kube-proxy|k3s|k3s-.*|rke2|rke2-.*|k0s|kubelite|kube-router|hyperkube|cilium-agent|antrea-agent)$/;

function shadows({ protocol, family, port, address, processes }: ListenerFact, { nodePort }: Expectation): boolean {
  const reachable = address === '*' || !/^(127\.|::1$)/.test(address);
  const same = protocol === nodePort.protocol && port === nodePort.port && (family === nodePort.family || address === '*');
  return same && reachable && processes.length > 0 && !processes.some(({ comm }) => proxies.test(comm));
}

function listenerFinding(diagnosis: Diagnosis, expectation: Expectation, listener: ListenerFact): Diagnosed {
  const { comm, pid } = listener.processes[0] as ListenerFact['processes'][number];
  const healthy = !diagnosis.drifts.some(({ key }) => key === expectation.key);
  const finding = findingOf(diagnosis, expectation, {
    cause: 'D09', title: 'a host process listens on the number of a NodePort', severity: 'info', confidence: 'certain', symptom: 'ok',
    summary: `${nodePortText(expectation.nodePort, expectation)}: ${comm} (pid ${pid}) listens on the same port of ${diagnosis.node}; ${healthy ? 'the Service answers from outside, the process is never reached there' : 'where the Service\'s rules do not take the packet, this process answers'}.`,
    evidence: [{ witness: 'sockets', text: `${comm}, pid ${pid}, listens on ${listener.address}:${listener.port}/${listener.protocol}.` }],
    remedy: [`ss -H -lnp '( sport = :${listener.port} )'  # then let ${comm} listen on a port outside the NodePort range`],
  });
  return { finding, explains: [] };
}
