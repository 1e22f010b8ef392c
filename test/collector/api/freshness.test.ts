// How fresh the view is said to be, and the metrics that go with it.
import t from 'tap';
import { freshnessOf } from '../../../collector/api/freshness.ts';
import { metricsText } from '../../../collector/api/metrics.ts';
import { Telemetry } from '../../../collector/api/telemetry.ts';
import { LatencyHistogram } from '../../../collector/compare/latency.ts';
import { objectKinds } from '../../../collector/kubernetes/objects.ts';
import type { KindView } from '../../../collector/kubernetes/source.ts';

const now = 10_000_000;
const views = (more: Partial<Record<KindView['kind'], Partial<KindView>>> = {}): KindView[] =>
  objectKinds.map((kind) => ({ kind, state: 'watching', confirmedAt: now - 20_000, objects: 3, lists: 1, watches: 2, missed: 0, ...more[kind] }));

const cases = [
  { name: 'all is watched', views: views(), expect: { objectsAgeMs: 20_000, stale: false, doubts: [] } },
  { name: 'the oldest of what counts counts', views: views({ Node: { confirmedAt: now - 90_000 } }), expect: { objectsAgeMs: 90_000, stale: false } },
  { name: 'not confirmed for long', views: views({ Service: { confirmedAt: now - 200_000 } }), expect: { objectsAgeMs: 200_000, stale: true } },
  { name: 'at the limit', views: views({ Service: { confirmedAt: now - 180_000 } }), expect: { stale: false } },
  {
    name: 'the API does not answer',
    views: views({ EndpointSlice: { state: 'failing', reason: 'socket hang up' } }),
    expect: { stale: true, doubts: ['EndpointSlice objects are 20 s old: socket hang up'] },
  },
  {
    name: 'pods may not be read: said, and no harm to the rest',
    views: views({ Pod: { state: 'unreadable', confirmedAt: 0, reason: 'the API answered 403' } }),
    expect: { objectsAgeMs: 20_000, stale: false, doubts: [/^Pod objects cannot be read, and nothing is said of what hangs on them: the API answered 403$/] },
  },
  { name: 'Services may not be read', views: views({ Service: { state: 'unreadable', confirmedAt: 0 } }), expect: { objectsAgeMs: null, stale: true } },
  { name: 'polled', views: views({ Node: { state: 'polling', reason: '403' } }), expect: { stale: false, doubts: [/Node objects are listed now and then/] } },
  { name: 'nothing was read', views: [], expect: { objectsAgeMs: null, stale: true } },
];
for (const { name, views: given, expect } of cases) {
  t.test(name, (t) => {
    t.match(freshnessOf(given, now), expect);
    t.end();
  });
}

t.test('the metrics page', (t) => {
  const latency = new LatencyHistogram();
  for (const ms of [40, 700, 900_000]) latency.add(ms);
  const kinds = views({ Pod: { state: 'unreadable', confirmedAt: 0, objects: 0 } });
  const text = metricsText({
    version: '0.0.0',
    matrix: { columns: [], rows: [] },
    queues: {},
    diagnosisMs: 0,
    telemetry: new Telemetry({ subscribe: () => () => undefined }),
    notifications: [],
    perNode: false,
    nodes: [],
    changesTotal: 0,
    objectIssues: 0,
    kinds,
    latency,
    graceMs: 12_000,
    now,
  });
  for (const line of [
    'portreeve_objects{kind="Service"} 3',
    'portreeve_objects_age_seconds{kind="Node"} 20',
    'portreeve_objects_state{kind="Pod",state="unreadable"} 1',
    'portreeve_object_events_missed_total{kind="Service"} 0',
    'portreeve_programming_latency_seconds_bucket{le="0.05"} 1',
    'portreeve_programming_latency_seconds_bucket{le="1"} 2',
    'portreeve_programming_latency_seconds_bucket{le="300"} 2',
    'portreeve_programming_latency_seconds_bucket{le="+Inf"} 3',
    'portreeve_programming_latency_seconds_sum 900.74',
    'portreeve_programming_latency_seconds_count 3',
    'portreeve_grace_seconds 12',
  ])
    t.ok(text.split('\n').includes(line), line);
  t.notMatch(text, /portreeve_objects_age_seconds\{kind="Pod"\}/, 'what was never confirmed has no age');
  t.end();
});
