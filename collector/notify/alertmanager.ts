// Tells Alertmanager of findings (its API version 2): while one lasts it is said again, and when it ends its end is said.
import type { Finding } from '../../shared/model/finding.ts';
import type { LiveEvent } from '../state/state.ts';
import { serviceOf } from './changes-of-state.ts';
import type { Channel } from './notifier.ts';
import { post } from './post.ts';

/** Often enough for Alertmanager's resolve_timeout of five minutes. */
const repeatMs = 60_000;
/** An alert ends by itself when nobody has said it for so long: a collector that is gone leaves none behind. */
const holdsMs = 4 * repeatMs;
/** Alerts of one request. */
const batchMax = 500;

interface Alert {
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly startsAt: string;
  readonly endsAt: string;
  readonly generatorURL?: string;
}

export interface AlertmanagerOptions {
  /** `http://HOST:PORT`, with a path where it has a prefix. */
  readonly url: URL;
  /** Where people find the collector; absent: alerts have no link. */
  readonly generatorUrl?: string;
  /** Findings that were open already when the collector started. */
  readonly open?: readonly Finding[];
  readonly now?: () => number;
}

/** The channel. Findings of severity info are by design, and alarm nobody. */
export function alertmanagerChannel({ url, generatorUrl, open: before = [], now = Date.now }: AlertmanagerOptions): Channel {
  const target = new URL(`${url.pathname.replace(/\/$/, '')}/api/v2/alerts`, url);
  const open = new Map(before.filter(({ severity }) => severity !== 'info').map((finding) => [finding.id, finding]));
  const alert = (finding: Finding, endsAt: number): Alert => alertOf(finding, { endsAt, now: now(), ...(generatorUrl === undefined ? {} : { generatorUrl }) });
  return {
    name: 'alertmanager',
    repeatMs,
    words: (event: LiveEvent) => {
      if (event.kind !== 'finding-opened' && event.kind !== 'finding-changed' && event.kind !== 'finding-closed') return undefined;
      const { finding } = event;
      const known = open.get(finding.id);
      if (event.kind === 'finding-closed' || finding.severity === 'info') {
        open.delete(finding.id);
        return known === undefined && event.kind !== 'finding-closed' ? undefined : [alert(known ?? finding, event.at)];
      }
      open.set(finding.id, finding);
      return [alert(finding, now() + holdsMs)];
    },
    standing: () => {
      const alerts = [...open.values()].map((finding) => alert(finding, now() + holdsMs));
      return Array.from({ length: Math.ceil(alerts.length / batchMax) }, (_, batch) => alerts.slice(batch * batchMax, (batch + 1) * batchMax));
    },
    send: (words, signal) => post(target, { body: JSON.stringify(words) }, signal),
  };
}

function alertOf(finding: Finding, { endsAt, now, generatorUrl }: { readonly endsAt: number; readonly now: number; readonly generatorUrl?: string }): Alert {
  const { node, port, protocol, cause, severity, symptom, title, summary, remedy, since } = finding;
  const [namespace = '', service = ''] = serviceOf(finding).split('/');
  const labels = {
    alertname: severity === 'error' ? 'NodePortUnreachable' : 'NodePortDegraded',
    severity: severity === 'error' ? 'critical' : 'warning',
    cause,
    node,
    ...(namespace === '' ? {} : { namespace, service }),
    ...(port === 0 ? {} : { nodeport: String(port), protocol }),
    finding: finding.id,
  };
  return {
    labels,
    annotations: { summary, description: title, symptom, ...(remedy[0] === undefined ? {} : { remedy: remedy[0] }) },
    startsAt: new Date(Math.min(since ?? now, now)).toISOString(),
    endsAt: new Date(Math.max(endsAt, since ?? 0)).toISOString(),
    ...(generatorUrl === undefined ? {} : { generatorURL: `${generatorUrl.replace(/\/$/, '')}/docs` }),
  };
}
