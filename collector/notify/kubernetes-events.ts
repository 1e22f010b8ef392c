// Kubernetes Events on the Service whose NodePorts stop or begin to answer: on a change of state alone, within the budget that Kubernetes' own clients keep.
import { hostname } from 'node:os';
import type { Finding } from '../../shared/model/finding.ts';
import type { LiveEvent } from '../state/state.ts';
import { Budgets } from './budget.ts';
import { type OpenByCause, type StateChange, stepStates } from './changes-of-state.ts';
import type { Channel } from './notifier.ts';

export interface EventOptions {
  /** Creates an Event of the core API in a namespace. */
  readonly create: (namespace: string, event: object) => Promise<unknown>;
  /** The uid of a Service; undefined for one that is not there any more. */
  readonly uidOf: (service: string) => string | undefined;
  /** Findings that were open already when the collector started: of them no event is made, but of their end. */
  readonly open?: readonly Finding[];
  readonly close?: () => void;
  readonly now?: () => number;
}

/** Characters of a message; the API takes 1,024 of an Event's. */
const messageMax = 1_000;

/** The channel. Faults of nodes that are not of one Service are no Service's event. */
export function eventChannel({ create, uidOf, close, open: before = [], now = Date.now }: EventOptions): Channel {
  const budgets = new Budgets();
  let open = before.reduce<OpenByCause>((all, finding) => stepStates(all, { kind: 'finding-opened', finding, at: 0 }).open, new Map());
  return {
    name: 'kubernetes-events',
    ofAll: true,
    words: (event: LiveEvent) => {
      const step = stepStates(open, event);
      open = step.open;
      const { change } = step;
      if (change === undefined || change.service === '') return undefined;
      const uid = uidOf(change.service);
      return uid === undefined || !budgets.take(change.service, now()) ? undefined : eventOf(change, uid, now());
    },
    send: async (words) => {
      const event = words as ReturnType<typeof eventOf>;
      await create(event.metadata.namespace, event);
    },
    ...(close === undefined ? {} : { close }),
  };
}

/** The object, as the core API takes it. */
export function eventOf({ state, service, cause, finding, nodes }: StateChange, uid: string, now: number) {
  const [namespace = '', name = ''] = service.split('/');
  const at = new Date(now).toISOString().replace(/\.\d+Z$/, 'Z');
  const broken = state === 'broken';
  const text = broken
    ? `${finding.summary} (${cause}, on ${nodes.join(', ')}${finding.remedy[0] === undefined ? '' : `; remedy: ${finding.remedy[0]}`})`
    : `NodePorts answer again: ${finding.title} (${cause}) is over`;
  return {
    apiVersion: 'v1',
    kind: 'Event',
    metadata: { generateName: `${name.slice(0, 200)}.`, namespace },
    involvedObject: { apiVersion: 'v1', kind: 'Service', namespace, name, uid },
    reason: broken ? (finding.severity === 'error' ? 'NodePortUnreachable' : 'NodePortDegraded') : 'NodePortReachable',
    message: text.length <= messageMax ? text : `${text.slice(0, messageMax - 1)}…`,
    type: broken ? 'Warning' : 'Normal',
    source: { component: 'portreeve' },
    reportingComponent: 'portreeve.io/collector',
    reportingInstance: hostname(),
    firstTimestamp: at,
    lastTimestamp: at,
    count: 1,
  };
}
