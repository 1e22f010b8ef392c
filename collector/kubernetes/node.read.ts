// A Node as the API or a manifest gives it, reduced to addresses, networks, labels and versions.
import type { Node } from './objects.ts';
import { conditionStatus, given, labels, list, optionalText, type RawObject, record, text, texts } from './raw.ts';

export function readNode({ metadata, spec, status, name }: RawObject): Node {
  const podCIDRs = texts(spec.podCIDRs).length > 0 ? texts(spec.podCIDRs) : texts([spec.podCIDR]);
  const ready = conditionStatus(status.conditions, 'Ready');
  const versions = record(status.nodeInfo);
  return {
    name,
    uid: text(metadata.uid),
    addresses: list(status.addresses)
      .map((address) => ({ type: text(record(address).type), address: text(record(address).address) }))
      .filter(({ address }) => address !== ''),
    podCIDRs,
    labels: labels(metadata.labels),
    unschedulable: spec.unschedulable === true,
    ready: ready === undefined || ready === 'True',
    taints: list(spec.taints)
      .map(record)
      .map((taint) => ({ key: text(taint.key), value: text(taint.value), effect: text(taint.effect) })),
    ...given('kubeletVersion', optionalText(versions.kubeletVersion)),
  };
}
