// A Pod as the API or a manifest gives it, reduced to what stands behind a Service: labels, addresses, ports, and what its containers went through.
import { limits } from '../../shared/limits.ts';
import type { Container, ContainerStatus, Pod } from './objects.ts';
import {
  conditionStatus,
  given,
  type Issue,
  labels,
  list,
  optionalPort,
  optionalText,
  protocolOf,
  type Raw,
  type RawObject,
  record,
  requiredPort,
  text,
  texts,
  time,
} from './raw.ts';

export function readPod({ metadata, spec, status, namespace, name, issue, share }: RawObject): Pod {
  const podIPs = texts(list(status.podIPs).map((each) => record(each).ip));
  return {
    namespace,
    name,
    uid: text(metadata.uid),
    labels: share(labels(metadata.labels)),
    ...given('nodeName', share(optionalText(spec.nodeName))),
    phase: share(text(status.phase)),
    ready: conditionStatus(status.conditions, 'Ready') === 'True',
    ...given('reason', share(optionalText(status.reason))),
    podIPs: podIPs.length > 0 ? podIPs : texts([status.podIP]),
    hostNetwork: spec.hostNetwork === true,
    containers: share(list(spec.containers).map((container, index) => readContainer(record(container), `spec.containers[${index}]`, issue))),
    containerStatuses: share(list(status.containerStatuses).map((each) => readContainerStatus(record(each)))),
    ...given('deletionTimestamp', time(metadata.deletionTimestamp)),
  };
}

function readContainer(raw: Raw, path: string, issue: Issue): Container {
  const ports = list(raw.ports)
    .map(record)
    .flatMap((port, index) => {
      const protocol = protocolOf(port.protocol, `${path}.ports[${index}].protocol`, issue);
      const containerPort = requiredPort(port.containerPort, `${path}.ports[${index}].containerPort`, issue);
      if (protocol === undefined || containerPort === undefined) return [];
      const hostPort = optionalPort(port.hostPort, `${path}.ports[${index}].hostPort`, issue);
      return [{ ...given('name', optionalText(port.name)), containerPort, protocol, ...given('hostPort', hostPort) }];
    });
  const name = text(raw.name);
  const readinessProbe = typeof raw.readinessProbe === 'object' && raw.readinessProbe !== null;
  // The image of everything else is nobody's business here; that of kube-proxy says which release writes the rules.
  return { name, ports, readinessProbe, ...given('image', name === 'kube-proxy' ? optionalText(raw.image) : undefined) };
}

function readContainerStatus(raw: Raw): ContainerStatus {
  const waiting = record(record(raw.state).waiting);
  const ended = record(record(raw.lastState).terminated);
  return {
    name: text(raw.name),
    ready: raw.ready === true,
    restartCount: typeof raw.restartCount === 'number' ? raw.restartCount : 0,
    ...given('waitingReason', optionalText(waiting.reason)),
    ...given('waitingMessage', optionalText(waiting.message)?.slice(0, limits.statusMessageLengthMax)),
    ...given('lastTerminationReason', optionalText(ended.reason)),
    ...given('lastExitCode', typeof ended.exitCode === 'number' ? ended.exitCode : undefined),
    ...given('lastFinishedAt', time(ended.finishedAt)),
  };
}
