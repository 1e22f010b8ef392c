// The resources under /api/v1 as one list: what each is for, what may be asked, and what answers.
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { limits } from '../../shared/limits.ts';
import { registerCsv } from '../lint/register.ts';
import type { AlertsBody } from './alerts.ts';
import { alertsBody } from './alerts.ts';
import type { Answers } from './answers.ts';
import { sendTagged } from './etag.ts';
import { freshnessOf } from './freshness.ts';
import { eventNames, type LiveStreams } from './live.ts';
import { model } from './models.ts';
import { Problem } from './problem.ts';
import * as schemas from './schemas.ts';
import { principalOf } from './security.ts';
import type { ApiOptions } from './server.ts';

/** A resource that is answered with JSON; a list of them is the API. */
export interface Resource {
  readonly url: string;
  readonly summary: string;
  readonly kind: schemas.AnswerKind;
  readonly method?: 'GET' | 'POST';
  readonly schema?: { readonly params?: object; readonly querystring?: object; readonly body?: object };
  /** Bytes of the body, where the usual limit is too small. */
  readonly bodyLimit?: number;
  /** `sees`: whether who asks may see the Services of a namespace. Pages are made of what they may see, as a cursor names the last item. */
  readonly answer: (request: FastifyRequest, sees: (namespace: string) => boolean) => unknown;
  /**
   * The namespace of an item of the list: who may see some namespaces only gets those. Absent: the resource tells of all, and only who may see all may ask.
   */
  readonly namespaceOf?: (item: never) => string;
}

export interface Serving {
  readonly answers: Answers;
  /** Resources besides those of the answers. */
  readonly more: readonly Resource[];
  readonly live: LiveStreams;
  readonly view: ApiOptions['view'];
  /** Namespaces that have a Service. */
  readonly namespaces: () => ReadonlySet<string>;
}

/** Adds all resources. */
export function addResources(app: FastifyInstance, serving: Serving): void {
  const { answers, more, live, view } = serving;
  for (const resource of [...stateResources(answers), ...historyResources(answers), ...more]) addResource(app, resource, serving);
  app.get('/register', registerOptions, async (request, reply) => sendRegister(request, reply, { answers, view }));
  app.get('/live', { schema: { summary: `Server-sent events: ${eventNames.join(', ')}.`, querystring: schemas.liveQuery } }, (request, reply) => {
    if (!principalOf(request).seesAll) throw new Problem(403, 'the event stream tells of Services in all namespaces, and wants the right to list them all');
    const { events, node, after } = request.query as schemas.LiveQuery;
    const names = events?.split(',').filter((name) => name !== '');
    const strange = names?.find((name) => !(eventNames as readonly string[]).includes(name));
    if (strange !== undefined) throw new Problem(400, `events ${JSON.stringify(strange)}: one of ${eventNames.join(', ')} is wanted`);
    const last = request.headers['last-event-id'] ?? after;
    live.begin(reply, {
      ...(names === undefined ? {} : { events: new Set(names) }),
      ...(node === undefined ? {} : { node }),
      ...(typeof last === 'string' && last !== '' ? { after: last } : {}),
    });
  });
}

const namespaceOfService = ({ service }: { readonly service: string }): string => service.split('/')[0] as string;
const query = <Query>(request: FastifyRequest): Query => request.query as Query;
const named = ({ params }: FastifyRequest): string => (params as { name: string }).name;
const timed = (request: FastifyRequest): string | undefined => query<{ at?: string }>(request).at;

function stateResources(answers: Answers): readonly Resource[] {
  return [
    { url: '/nodes', summary: 'Nodes.', kind: 'NodeList', schema: { querystring: schemas.nodesQuery }, answer: (request) => answers.nodes(query(request)) },
    {
      url: '/nodes/:name',
      summary: 'One node with its facts, NodePorts and findings.',
      kind: 'Node',
      schema: { params: schemas.nodeParameters, querystring: schemas.atQuery },
      answer: (request) => answers.node(named(request), timed(request)),
    },
    {
      url: '/nodeports',
      summary: 'NodePorts with their state on each node.',
      kind: 'NodePortList',
      schema: { querystring: schemas.nodePortsQuery },
      namespaceOf: namespaceOfService,
      answer: (request, sees) => answers.nodePorts(query(request), sees),
    },
    {
      url: '/nodeports/:port',
      summary: 'The NodePorts of one number, one for each protocol.',
      kind: 'NodePortList',
      schema: { params: schemas.portParameters, querystring: schemas.atQuery },
      namespaceOf: namespaceOfService,
      answer: (request) => answers.nodePort((request.params as { port: number }).port, timed(request)),
    },
    {
      url: '/matrix',
      summary: 'Nodes × NodePorts, one code each: small for thousands of both.',
      kind: 'NodePortMatrix',
      schema: { querystring: schemas.atQuery },
      answer: (request) => answers.matrix(query(request)),
    },
    {
      url: '/services',
      summary: 'Services that own a NodePort.',
      kind: 'ServiceList',
      schema: { querystring: schemas.servicesQuery },
      namespaceOf: ({ namespace }: { readonly namespace: string }) => namespace,
      answer: (request, sees) => answers.services(query(request), sees),
    },
    {
      url: '/findings',
      summary: 'Findings: open ones, worst first, or the history, newest first.',
      kind: 'FindingList',
      schema: { querystring: schemas.findingsQuery },
      namespaceOf: namespaceOfService,
      answer: (request, sees) => answers.findings(query(request), sees),
    },
    {
      url: '/explain',
      summary: 'Why a NodePort answers or does not on a node; with ?drawing= also the walk as a drawing.',
      kind: 'Explanation',
      schema: { querystring: schemas.explainQuery },
      answer: (request) => answers.explain(query(request)),
    },
    {
      url: '/trace',
      method: 'POST',
      summary: "Walks a packet of any source on a node's live ruleset.",
      kind: 'Trace',
      schema: { body: schemas.traceBody },
      answer: ({ body }) => answers.trace(body as schemas.TraceBody),
    },
    {
      url: '/capture',
      method: 'POST',
      summary: 'Everything that decides packets on a node, read anew by its agent: a tar archive, packed by gzip, in base64. It is noted in the audit log.',
      kind: 'Capture',
      schema: { body: schemas.captureBody },
      answer: (request) => answers.capture(request.body as schemas.CaptureBody, { who: principalOf(request).who, address: request.ip }),
    },
  ];
}

function historyResources(answers: Answers): readonly Resource[] {
  return [
    {
      url: '/changes',
      summary: 'The ledger, newest first.',
      kind: 'ChangeList',
      schema: { querystring: schemas.changesQuery },
      answer: (request) => answers.changes(query(request)),
    },
    {
      url: '/timeline',
      summary: 'Changes and the beginnings and ends of findings in order of time, oldest first.',
      kind: 'EventList',
      schema: { querystring: schemas.timelineQuery },
      answer: (request) => answers.timeline(query(request)),
    },
    {
      url: '/incidents',
      summary: 'What was reported to have failed, newest first.',
      kind: 'IncidentList',
      schema: { querystring: schemas.incidentsQuery },
      answer: (request) => answers.incidents(query(request)),
    },
    {
      url: '/incidents/:id',
      summary: 'One incident.',
      kind: 'Incident',
      schema: { params: schemas.idParameters },
      answer: ({ params }) => answers.incident((params as { id: string }).id),
    },
    {
      url: '/incidents',
      method: 'POST',
      summary: 'It failed at some time: answers with the likely causes, and keeps both.',
      kind: 'Incident',
      schema: { body: schemas.incidentBody },
      answer: (request) => answers.report(request.body as schemas.IncidentBody, principalOf(request).who),
    },
    {
      url: '/alerts',
      method: 'POST',
      summary: "Takes Alertmanager's webhook (version 4): each alert becomes an incident of the Service that its labels name.",
      kind: 'IncidentList',
      schema: { body: alertsBody },
      bodyLimit: limits.alertsBytesMax,
      answer: (request) => answers.alerts(request.body as AlertsBody, principalOf(request).who),
    },
  ];
}

/** Throws 403 where nothing of an answer may be seen, before anything is done for it. */
function assertVisible(request: FastifyRequest, namespaceOf: Resource['namespaceOf']): void {
  const { seesAll, who } = principalOf(request);
  if (!seesAll && namespaceOf === undefined)
    throw new Problem(403, `${who} may not see this: it tells of Services in all namespaces, and wants the right to list them all`);
}

/** What may be seen before anything is known of the answer: namespaces that have a Service, as far as the cluster lets who asks list those. */
async function sightOf(request: FastifyRequest, namespaces: Serving['namespaces']): Promise<(namespace: string) => boolean> {
  const principal = principalOf(request);
  if (principal.seesAll) return () => true;
  const known = [...namespaces()];
  const seen = await Promise.all(known.map((namespace) => principal.sees(namespace)));
  const visible = new Set(known.filter((_, index) => seen[index]));
  return (namespace) => visible.has(namespace);
}

/** What of a list may be seen. */
async function visible(answered: { readonly items?: readonly unknown[] }, request: FastifyRequest, namespaceOf: Resource['namespaceOf']): Promise<object> {
  const principal = principalOf(request);
  if (principal.seesAll || namespaceOf === undefined || answered.items === undefined) return answered;
  const seen = await Promise.all(answered.items.map((item) => principal.sees(namespaceOf(item as never))));
  return { ...answered, items: answered.items.filter((_, i) => seen[i]) };
}

function addResource(
  app: FastifyInstance,
  { url, method = 'GET', summary, kind, schema, bodyLimit, answer, namespaceOf }: Resource,
  { view, namespaces }: Serving,
): void {
  app.route({
    method,
    url,
    ...(bodyLimit === undefined ? {} : { bodyLimit }),
    schema: {
      operationId: `${method.toLowerCase()}${kind}${url.includes(':port') ? 'OfPort' : ''}`,
      summary,
      ...schema,
      response: { 200: schemas.answers[kind], default: model('Problem') },
    },
    handler: async (request, reply) => {
      assertVisible(request, namespaceOf);
      const answered = await visible((await answer(request, await sightOf(request, namespaces))) as object, request, namespaceOf);
      const whole = { apiVersion: schemas.apiVersion, kind, view: freshnessOf(view(), Date.now()), ...answered };
      return method === 'GET' ? sendTagged(request, reply, whole) : whole;
    },
  });
}

const registerOptions = {
  schema: {
    summary: 'Which NodePort belongs to which Service, and who owns it; as CSV with ?format=csv or Accept: text/csv.',
    querystring: schemas.registerQuery,
    response: { 200: schemas.answers.NodePortRegister, default: model('Problem') },
  },
};

async function sendRegister(request: FastifyRequest, reply: FastifyReply, { answers, view }: Pick<Serving, 'answers' | 'view'>): Promise<FastifyReply> {
  const asked = query<schemas.RegisterQuery>(request);
  const { items } = (await visible(answers.register(asked), request, namespaceOfService)) as ReturnType<Answers['register']>;
  const wantsCsv = asked.format === 'csv' || /^\s*text\/csv/.test(request.headers.accept ?? '');
  if (wantsCsv) return reply.type('text/csv; charset=utf-8').header('content-disposition', 'attachment; filename="nodeports.csv"').send(registerCsv(items));
  return sendTagged(request, reply, { apiVersion: schemas.apiVersion, kind: 'NodePortRegister', view: freshnessOf(view(), Date.now()), items });
}
