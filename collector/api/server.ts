// The HTTP API: what the collector knows and stored, as JSON under /api/v1, with health, metrics and the OpenAPI document.

import type { RequestListener, Server } from 'node:http';
import swagger from '@fastify/swagger';
import fastify, { type FastifyBaseLogger, type FastifyInstance, type FastifyReply, type FastifyRequest, LogController } from 'fastify';
import type { Access } from '../identity/access.ts';
import type { ObjectIssue } from '../kubernetes/objects.ts';
import type { KindView } from '../kubernetes/source.ts';
import type { ReplicaItem } from '../replicas/replicas.ts';
import type { CollectorState } from '../state/state.ts';
import type { Store } from '../store/store.ts';
import { type AccessResources, addAccessResources, addEnrolment } from './access-resources.ts';
import { type Answers, answersOf } from './answers.ts';
import { fleetResources } from './fleet-resources.ts';
import { freshnessOf } from './freshness.ts';
import { LiveStreams } from './live.ts';
import { isLoopback } from './loopback.ts';
import { metricsText } from './metrics.ts';
import { Problem, sendError, sendProblem } from './problem.ts';
import * as schemas from './schemas.ts';
import { addAccessCheck, addRateLimit, addSecurityHeaders, principalOf, RequestRate } from './security.ts';

export interface ApiOptions {
  readonly state: CollectorState;
  readonly store: Store;
  readonly log: FastifyBaseLogger;
  /** The live session of a node; undefined when its agent is not connected. */
  readonly session: (
    node: string,
  ) => { readonly trace: (packet: Record<string, string>) => Promise<{ readonly result?: unknown; readonly error?: string }> } | undefined;
  /** Faults in the cluster objects as they are now. */
  readonly issues: () => readonly ObjectIssue[];
  /** How well each kind of objects is known. */
  readonly view: () => readonly KindView[];
  /** Why the collector cannot answer yet; undefined when it can. */
  readonly notReady: () => string | undefined;
  /** The collectors that share the store, this one among them. */
  readonly replicas: () => readonly ReplicaItem[];
  readonly access: Access;
  readonly resources: AccessResources;
  /** Makes the HTTP server, plain or with TLS. */
  readonly listener: (handler: RequestListener) => Server;
  readonly isEncrypted: boolean;
}

export interface Api {
  readonly app: FastifyInstance;
  /** Ends the event streams, then the server. */
  close(): Promise<void>;
}

/** Makes the server; the caller listens on `app`. */
export async function createApi(options: ApiOptions): Promise<Api> {
  const logController = new LogController({ disableRequestLogging: true });
  const app = fastify({
    loggerInstance: options.log,
    logController,
    bodyLimit: 64 * 1024,
    forceCloseConnections: true,
    serverFactory: (handler) => options.listener(handler),
    ajv: { customOptions: { strict: false } },
  });
  // Answers are what the state holds: a serialiser made from their schemas would drop what the schemas leave open.
  app.setSerializerCompiler(() => JSON.stringify);
  app.setErrorHandler((error, request, reply) => {
    if (((error as { statusCode?: number }).statusCode ?? 500) >= 500) options.log.error({ url: request.url, reason: String(error) }, 'a request failed');
    return sendError(reply, error);
  });
  app.setNotFoundHandler((request, reply) =>
    sendProblem(reply, 404, `${request.method} ${request.url.split('?')[0] ?? ''} is no resource of this API: see /openapi.json`),
  );
  app.addHook('onRequest', refuseForeignNames);
  addSecurityHeaders(app, options);
  await app.register(swagger, {
    openapi: { openapi: '3.1.0', info: { title: 'Portreeve collector', version: 'v1', description: 'Nodes, NodePorts, findings and changes of a cluster.' } },
  });
  const rate = new RequestRate();
  const live = new LiveStreams(options.state);
  await app.register(
    async (scope) => {
      addAccessCheck(scope, options.access, rate);
      addResources(scope, { answers: answersOf(options), more: fleetResources(options), live, view: options.view });
      addAccessResources(scope, options.resources);
    },
    { prefix: '/api/v1' },
  );
  await app.register(async (scope) => {
    addRateLimit(scope, rate);
    addEnrolment(scope, options.resources);
  });
  addOperations(app, options);
  return {
    app,
    async close() {
      live.closeAll();
      await app.close();
    },
  };
}

// A page that a browser loads from anywhere can make its own host name point at 127.0.0.1; the Host header then gives it away.
async function refuseForeignNames(request: FastifyRequest, reply: FastifyReply): Promise<void> {
  const bound = request.socket.localAddress ?? '';
  const { host } = request.headers;
  const name = host === undefined ? '' : (URL.parse(`http://${host}`)?.hostname ?? '');
  if (isLoopback(bound) && !isLoopback(name))
    await sendProblem(reply, 403, `this collector is asked on a loopback address under the foreign name ${JSON.stringify(name)}`);
}

/** A resource that is answered with JSON; a list of them is the API. */
export interface Resource {
  readonly url: string;
  readonly summary: string;
  readonly kind: string;
  readonly list?: boolean;
  readonly method?: 'GET' | 'POST';
  readonly schema?: { readonly params?: object; readonly querystring?: object; readonly body?: object };
  readonly answer: (request: FastifyRequest) => unknown;
  /**
   * The namespace of an item of the list (of the answer itself, where it is no list): who may see some namespaces only gets those. Absent: the resource tells of
   * all, and only who may see all may ask.
   */
  readonly namespaceOf?: (item: never) => string;
}

const namespaceOfService = ({ service }: { readonly service: string }): string => service.split('/')[0] as string;

interface Serving {
  readonly answers: Answers;
  readonly more: readonly Resource[];
  readonly live: LiveStreams;
  readonly view: ApiOptions['view'];
}

function addResources(app: FastifyInstance, { answers, more, live, view }: Serving): void {
  for (const resource of [...resourcesOf(answers), ...more]) addResource(app, resource, view);
  app.get('/live', { schema: { summary: 'Server-sent events: findings, changes, agents.' } }, (request, reply) => {
    if (!principalOf(request).seesAll) throw new Problem(403, 'the event stream tells of Services in all namespaces, and wants the right to list them all');
    live.begin(reply);
  });
}

function resourcesOf(answers: Answers): readonly Resource[] {
  return [
    { url: '/nodes', summary: 'All nodes.', kind: 'NodeList', list: true, answer: () => answers.nodes() },
    {
      url: '/nodes/:name',
      summary: 'One node with its facts, NodePorts and findings.',
      kind: 'Node',
      schema: { params: schemas.nodeParameters },
      answer: ({ params }) => answers.node((params as { name: string }).name),
    },
    {
      url: '/nodeports',
      summary: 'All NodePorts with their state on each node.',
      kind: 'NodePortList',
      list: true,
      namespaceOf: namespaceOfService,
      answer: () => answers.nodePorts(),
    },
    {
      url: '/nodeports/:port',
      summary: 'The NodePorts of one number, one for each protocol.',
      kind: 'NodePortList',
      list: true,
      schema: { params: schemas.portParameters },
      namespaceOf: namespaceOfService,
      answer: ({ params }) => answers.nodePort((params as { port: number }).port),
    },
    {
      url: '/services',
      summary: 'Services that own a NodePort.',
      kind: 'ServiceList',
      list: true,
      namespaceOf: ({ namespace }: { readonly namespace: string }) => namespace,
      answer: () => answers.services(),
    },
    {
      url: '/findings',
      summary: 'Findings: open ones, or the history.',
      kind: 'FindingList',
      list: true,
      schema: { querystring: schemas.findingsQuery },
      namespaceOf: namespaceOfService,
      answer: ({ query }) => answers.findings(query as schemas.FindingsQuery),
    },
    {
      url: '/changes',
      summary: 'The ledger, newest first.',
      kind: 'ChangeList',
      list: true,
      schema: { querystring: schemas.changesQuery },
      answer: ({ query }) => answers.changes(query as schemas.ChangesQuery),
    },
    {
      url: '/timeline',
      summary: 'Changes and the beginnings and ends of findings in order of time, oldest first.',
      kind: 'EventList',
      list: true,
      schema: { querystring: schemas.timelineQuery },
      answer: ({ query }) => answers.timeline(query as schemas.TimelineQuery),
    },
    {
      url: '/explain',
      summary: 'Why a NodePort answers or does not on a node; with ?drawing= also the walk as a drawing.',
      kind: 'Explanation',
      schema: { querystring: schemas.explainQuery },
      answer: ({ query }) => answers.explain(query as schemas.ExplainQuery),
    },
    {
      url: '/trace',
      method: 'POST',
      summary: "Walks a packet on a node's live ruleset.",
      kind: 'Trace',
      schema: { body: schemas.traceBody },
      answer: ({ body }) => answers.trace(body as schemas.TraceBody),
    },
  ];
}

/** What of an answer may be seen; throws 403 where that is nothing. */
async function visible(answered: { readonly items?: readonly unknown[] }, request: FastifyRequest, { list, namespaceOf }: Resource): Promise<object> {
  const principal = principalOf(request);
  if (principal.seesAll) return answered;
  const denied = new Problem(403, `${principal.who} may not see this: it tells of Services in all namespaces, and wants the right to list them all`);
  if (namespaceOf === undefined || list !== true) throw denied;
  const seen = await Promise.all((answered.items ?? []).map((item) => principal.sees(namespaceOf(item as never))));
  return { ...answered, items: answered.items?.filter((_, i) => seen[i]) };
}

function addResource(app: FastifyInstance, resource: Resource, view: ApiOptions['view']): void {
  const { url, method = 'GET', summary, kind, list, schema, answer } = resource;
  const response = { 200: list === true ? schemas.listOf(kind) : schemas.objectOf(kind), default: schemas.problem };
  app.route({
    method,
    url,
    schema: { summary, ...schema, response },
    handler: async (request) => {
      const answered = await visible((await answer(request)) as object, request, resource);
      const { items, next } = answered as { items?: readonly unknown[]; next?: string };
      const head = { apiVersion: schemas.apiVersion, kind, view: freshnessOf(view(), Date.now()) };
      return list === true ? { ...head, items, ...(next === undefined ? {} : { next }) } : { ...head, ...(answered as object) };
    },
  });
}

/** Metrics tell of nodes and causes: they are for those who may view. */
async function mayScrape(request: FastifyRequest, reply: FastifyReply, { access }: ApiOptions): Promise<unknown> {
  const found = await access.authenticate(request.headers.authorization, { address: request.ip, now: Date.now() });
  return found.kind === 'known' ? undefined : sendProblem(reply, found.status, found.reason);
}

function addOperations(app: FastifyInstance, options: ApiOptions): void {
  const { state, issues, view, notReady } = options;
  app.get('/healthz', { schema: { hide: true } }, async (_request, reply) => reply.type('text/plain').send('ok\n'));
  app.get('/readyz', { schema: { hide: true } }, async (_request, reply) => {
    const reason = notReady();
    return reply
      .code(reason === undefined ? 200 : 503)
      .type('text/plain')
      .send(`${reason ?? 'ok'}\n`);
  });
  app.get('/openapi.json', { schema: { hide: true } }, async () => app.swagger());
  app.get('/metrics', { schema: { hide: true }, onRequest: (request, reply) => mayScrape(request, reply, options) }, async (_request, reply) => {
    const { nodes, changesTotal, latency, graceMs } = state;
    const text = metricsText({ nodes, changesTotal, objectIssues: issues().length, kinds: view(), latency: latency.total, graceMs, now: Date.now() });
    return reply.type('text/plain; version=0.0.4; charset=utf-8').send(text);
  });
}
