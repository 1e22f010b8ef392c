// An Event as the API gives it, in the older form of core/v1 or with the fields of events.k8s.io/v1: what went wrong with which object, and when last.
import { limits } from '../../shared/limits.ts';
import type { ClusterEvent } from './objects.ts';
import { given, optionalText, type RawObject, record, text, time } from './raw.ts';

export function readEvent({ value, metadata, namespace, name, share }: RawObject): ClusterEvent {
  const object = record(value.involvedObject ?? value.regarding);
  const series = record(value.series);
  const source = record(value.source ?? value.deprecatedSource);
  const created = time(metadata.creationTimestamp) ?? 0;
  const firstAt = time(value.firstTimestamp) ?? time(value.deprecatedFirstTimestamp) ?? time(value.eventTime) ?? created;
  const lastAt = time(series.lastObservedTime) ?? time(value.lastTimestamp) ?? time(value.deprecatedLastTimestamp) ?? firstAt;
  const count = [series.count, value.count, value.deprecatedCount].find((each): each is number => typeof each === 'number') ?? 1;
  return {
    namespace,
    name,
    type: share(text(value.type)),
    reason: share(text(value.reason)),
    message: (text(value.message) || text(value.note)).slice(0, limits.statusMessageLengthMax),
    object: { kind: share(text(object.kind)), namespace: share(text(object.namespace)), name: text(object.name) },
    count,
    firstAt,
    lastAt,
    ...given('component', share(optionalText(source.component) ?? optionalText(value.reportingComponent) ?? optionalText(value.reportingController))),
    ...given('node', share(optionalText(source.host))),
  };
}
