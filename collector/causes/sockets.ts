// Host processes on a NodePort's number: kube-proxy's translation comes first, so from outside the Service answers and the process is shadowed.
import type { Expectation } from '../../shared/model/expectation.ts';
import type { ListenerFact } from '../../shared/model/fact.ts';
import { type Detector, type Diagnosed, type Diagnosis, findingOf, nodePortText } from './detector.ts';

/** D09: said for information while the Service is well, or as the process that answers instead when its rules are missing. */
export const hostListener: Detector = {
  causes: ['D09'],
  detect: (diagnosis) => {
    const listeners = [...diagnosis.facts.values()].filter((fact): fact is ListenerFact => fact.kind === 'listener' && isForeign(fact));
    const byPort = Map.groupBy(listeners, ({ port }) => port);
    return diagnosis.expectations.flatMap((expectation) => {
      const listener = byPort.get(expectation.nodePort.port)?.find((fact) => shadows(fact, expectation));
      return listener === undefined ? [] : [listenerFinding(diagnosis, expectation, listener)];
    });
  },
};

// Up to 1.23 kube-proxy itself holds a socket for each NodePort; programs that embed it do as well. A socket whose process cannot be seen proves nothing.
const proxies = /^(kube-proxy|k3s|rke2|k0s|kubelite|kube-router|hyperkube|cilium-agent|antrea-agent)\b/;

const isForeign = ({ processes }: ListenerFact): boolean => processes.length > 0 && !processes.some(({ comm }) => proxies.test(comm));

const shadows = ({ protocol, family, address }: ListenerFact, { nodePort }: Expectation): boolean =>
  protocol === nodePort.protocol && (family === nodePort.family || address === '*') && !/^(127\.|::1$)/.test(address);

function listenerFinding(diagnosis: Diagnosis, expectation: Expectation, listener: ListenerFact): Diagnosed {
  const { comm, pid } = listener.processes[0] as ListenerFact['processes'][number];
  const healthy = !diagnosis.drifts.some(({ key }) => key === expectation.key);
  const finding = findingOf(diagnosis, expectation, {
    cause: 'D09',
    title: 'a host process listens on the number of a NodePort',
    severity: 'info',
    confidence: 'certain',
    symptom: 'ok',
    summary: `${nodePortText(expectation.nodePort, expectation)}: ${comm} (pid ${pid}) listens on the same port of ${diagnosis.node}; ${healthy ? 'the Service answers from outside, the process is never reached there' : "where the Service's rules do not take the packet, this process answers"}.`,
    evidence: [{ witness: 'sockets', text: `${comm}, pid ${pid}, listens on ${listener.address}:${listener.port}/${listener.protocol}.` }],
    remedy: [`ss -H -lnp '( sport = :${listener.port} )'  # then let ${comm} listen on a port outside the NodePort range`],
  });
  return { finding, explains: [] };
}
