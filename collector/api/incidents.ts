// Incidents: "it failed at T", told by a person or by Alertmanager, answered with ranked causes and kept.
import { createHash, randomUUID } from 'node:crypto';
import type { SequencedChange } from '../../shared/model/change.ts';
import { type IncidentAnswer, rankCauses } from '../correlate/incident.ts';
import { slicesOf } from '../expect/endpoints.ts';
import type { CollectorState } from '../state/state.ts';
import type { FindingRecord, Incident, IncidentQuery, Page, Store } from '../store/store.ts';
import { type Alert, type AlertsBody, ownerOf, subjectOf } from './alerts.ts';
import { timeOf } from './paging.ts';
import { Problem } from './problem.ts';
import type { IncidentBody } from './schemas.ts';
import type { Telemetry } from './telemetry.ts';

/** What an incident is about, before anything is made of it. */
type Onset = Pick<Incident, 'at' | 'service' | 'node' | 'port' | 'protocol' | 'source'>;

/** What incidents of about one time are judged by. */
interface Evidence {
  readonly changes: readonly SequencedChange[];
  readonly records: readonly FindingRecord[];
}

const minuteMs = 60_000;
const dayMs = 24 * 60 * minuteMs;
/** Findings that ended before, or were opened after, are of the same fault as far as these go. */
const aroundMs = 11 * minuteMs;
const changesMax = 20_000;
const pageSize = 1_000;

export class Incidents {
  readonly #state: CollectorState;
  readonly #store: Store;

  readonly #telemetry: Pick<Telemetry, 'count'>;

  constructor({ state, store, telemetry }: { readonly state: CollectorState; readonly store: Store; readonly telemetry: Pick<Telemetry, 'count'> }) {
    this.#state = state;
    this.#store = store;
    this.#telemetry = telemetry;
  }

  /** Takes a person's report. Throws Problem 400 where it names nothing that is known. */
  async report(body: IncidentBody, by: string): Promise<Incident> {
    const now = Date.now();
    const at = body.at === undefined ? now : timeOf('at', body.at);
    if (at > now + minuteMs) throw new Problem(400, `at ${new Date(at).toISOString()} is yet to come`);
    const onset = { at, source: body.source ?? '', ...this.#subject(body) };
    const answer = await this.#rank(onset);
    const incident: Incident = {
      id: randomUUID(),
      ...onset,
      endedAt: null,
      createdAt: now,
      createdBy: by,
      origin: 'report',
      text: body.text ?? '',
      labels: {},
      ...answer,
    };
    await this.#store.saveIncident(incident);
    this.#telemetry.count('incidents', 'report');
    return incident;
  }

  /** Takes Alertmanager's word: each alert is one incident while it lasts, however often it is told of. */
  async alerts({ alerts }: AlertsBody, by: string): Promise<readonly Incident[]> {
    const incidents: Incident[] = [];
    const evidence = new Map<number, Promise<Evidence>>();
    for (const alert of alerts) incidents.push(await this.#take(alert, { by, evidence }));
    return incidents;
  }

  list(query: IncidentQuery): Promise<Page<Incident>> {
    return this.#store.incidents(query);
  }

  /** Throws Problem 404. */
  async get(id: string): Promise<Incident> {
    const incident = await this.#store.incident(id);
    if (incident === undefined) throw new Problem(404, `there is no incident ${JSON.stringify(id)}`);
    return incident;
  }

  async #take(alert: Alert, { by, evidence }: { readonly by: string; readonly evidence: Map<number, Promise<Evidence>> }): Promise<Incident> {
    const at = timeOf('startsAt', alert.startsAt);
    const id = createHash('sha256').update(`${alert.fingerprint}\0${at}`).digest('hex').slice(0, 32);
    const known = await this.#store.incident(id);
    const ended = alert.status === 'resolved' ? timeOf('endsAt', alert.endsAt ?? alert.startsAt) : null;
    const onset: Onset = { at, source: '', ...subjectOf(alert.labels, this.#state.objects) };
    // When it ends, the causes of when it began stay as they were found then.
    const answer = known !== undefined && ended !== null ? { causes: known.causes, notFound: known.notFound } : await this.#rank(onset, evidence);
    const { summary, description, message } = alert.annotations ?? {};
    const incident: Incident = {
      id,
      ...onset,
      endedAt: ended,
      createdAt: known?.createdAt ?? Date.now(),
      createdBy: known?.createdBy ?? by,
      origin: 'alertmanager',
      text: [alert.labels['alertname'], summary ?? description ?? message].filter((text) => text !== undefined).join(': '),
      labels: alert.labels,
      ...answer,
      ...(onset.service === '' && onset.port === 0 && onset.node === ''
        ? { notFound: ['no label names a Service, a NodePort or a node of this cluster: causes of all of them are listed', ...answer.notFound] }
        : {}),
    };
    await this.#store.saveIncident(incident);
    if (known === undefined) this.#telemetry.count('incidents', 'alertmanager');
    return incident;
  }

  #subject({ service = '', node = '', port = 0, protocol }: IncidentBody): Omit<Onset, 'at' | 'source'> {
    const { objects } = this.#state;
    if (service === '' && node === '' && port === 0) throw new Problem(400, 'service, node or port is wanted: what was it that failed?');
    if (node !== '' && this.#state.node(node) === undefined) throw new Problem(400, `no node ${JSON.stringify(node)} is known`);
    const owner = port === 0 ? undefined : ownerOf(objects, port);
    const found = service === '' ? (owner?.service ?? '') : this.#service(service);
    return { service: found, node, port, protocol: protocol ?? owner?.protocol ?? '' };
  }

  // A Service that was deleted may well be what failed: a full name is taken as it is.
  #service(text: string): string {
    if (text.includes('/')) return text;
    const { service } = subjectOf({ service: text }, this.#state.objects);
    if (service === '')
      throw new Problem(400, `service ${JSON.stringify(text)}: NAMESPACE/NAME is wanted, as no or more than one Service with a NodePort is called so`);
    return service;
  }

  /** `known`: what was read for other incidents of the same minute, as a storm of alerts tells them. */
  async #rank(onset: Onset, known = new Map<number, Promise<Evidence>>()): Promise<IncidentAnswer> {
    const minute = Math.floor(onset.at / minuteMs);
    const reading = known.get(minute) ?? this.#evidenceAt((minute + 1) * minuteMs);
    known.set(minute, reading);
    const { changes, records } = await reading;
    const pending = this.#state.nodes.flatMap((view) =>
      view.pending.map((finding): FindingRecord => ({ finding, openedAt: finding.since ?? Date.now(), closedAt: null })),
    );
    const clockOffsetsMs = new Map(this.#state.nodes.map(({ name, agent }) => [name, agent?.clockOffsetMs ?? 0]));
    return rankCauses({ ...onset, findings: [...records, ...pending], changes, clockOffsetsMs, mentions: this.#mentions(onset) });
  }

  async #evidenceAt(at: number): Promise<Evidence> {
    const [changes, records] = await Promise.all([this.#changesBefore(at), this.#findingsAround(at)]);
    return { changes, records };
  }

  #mentions({ service: name, port, source }: Onset): string[] {
    const { objects } = this.#state;
    const service = objects.services.get(name);
    const ports = service?.ports.filter(({ nodePort }) => nodePort !== undefined && (port === 0 || nodePort === port)) ?? [];
    const addresses = service === undefined ? [] : slicesOf(objects, service).flatMap((slice) => slice.endpoints.flatMap((endpoint) => endpoint.addresses));
    return [
      ...new Set([
        ...ports.flatMap(({ nodePort, targetPort }) => [String(nodePort), String(targetPort)]),
        ...addresses.slice(0, 10),
        ...(source === '' ? [] : [source]),
      ]),
    ];
  }

  async #changesBefore(at: number): Promise<SequencedChange[]> {
    const found: SequencedChange[] = [];
    for (let cursor: string | undefined; found.length < changesMax; ) {
      const { items, next } = await this.#store.changes({ from: at - dayMs, to: at + minuteMs, limit: pageSize, ...(cursor === undefined ? {} : { cursor }) });
      found.push(...items);
      if (next === undefined) break;
      cursor = next;
    }
    return found.reverse();
  }

  async #findingsAround(at: number): Promise<FindingRecord[]> {
    const found: FindingRecord[] = [];
    for (let cursor: string | undefined; found.length < changesMax; ) {
      const { items, next } = await this.#store.findingPage({
        from: at - aroundMs,
        to: at + aroundMs,
        limit: pageSize,
        ...(cursor === undefined ? {} : { cursor }),
      });
      found.push(...items);
      if (next === undefined) break;
      cursor = next;
    }
    return found;
  }
}
