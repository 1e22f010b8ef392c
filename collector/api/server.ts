// The HTTP API: what the collector knows and stored, as JSON under /api/v1, with health, metrics and the OpenAPI document.

import type { RequestListener, Server } from 'node:http';
import swagger from '@fastify/swagger';
import fastify, { type FastifyBaseLogger, type FastifyInstance, type FastifyReply, type FastifyRequest, LogController } from 'fastify';
import { prometheusType, type Sample } from '../../shared/prometheus.ts';
import type { Access } from '../identity/access.ts';
import type { ObjectIssue } from '../kubernetes/objects.ts';
import type { KindView } from '../kubernetes/source.ts';
import type { ReplicaItem } from '../replicas/replicas.ts';
import type { CollectorState } from '../state/state.ts';
import type { Store } from '../store/store.ts';
import { type AccessResources, addAccessResources, addEnrolment } from './access-resources.ts';
import { answersOf } from './answers.ts';
import { addDocs } from './docs.ts';
import { fleetResources } from './fleet-resources.ts';
import { freshnessOf } from './freshness.ts';
import { LiveStreams } from './live.ts';
import { isLoopback } from './loopback.ts';
import { metricsText } from './metrics.ts';
import { models } from './models.ts';
import { addPage, isView, sendView } from './page.ts';
import { sendError, sendProblem } from './problem.ts';
import { addResources } from './resources.ts';
import { addAccessCheck, addRateLimit, addSecurityHeaders, RequestRate } from './security.ts';
import { Telemetry } from './telemetry.ts';
import { VerdictBook } from './verdict-book.ts';

/** What the agent of a node can be asked; `error` says in a sentence why there is no result. */
export interface LiveSession {
  readonly trace: (packet: Record<string, string>) => Promise<LiveAnswer>;
  readonly capture: () => Promise<LiveAnswer>;
}

interface LiveAnswer {
  readonly result?: unknown;
  readonly error?: string;
}

export interface ApiOptions {
  readonly state: CollectorState;
  readonly store: Store;
  readonly log: FastifyBaseLogger;
  /** The live session of a node; undefined when its agent is not connected. */
  readonly session: (node: string) => LiveSession | undefined;
  /** Faults in the cluster objects as they are now. */
  readonly issues: () => readonly ObjectIssue[];
  /** How well each kind of objects is known. */
  readonly view: () => readonly KindView[];
  /** Why the collector cannot answer yet; undefined when it can. */
  readonly notReady: () => string | undefined;
  /** The collectors that share the store, this one among them. */
  readonly replicas: () => readonly ReplicaItem[];
  /** Whether this collector, of those that share the store, writes what is believed of a node into the history. */
  readonly keeps: (node: string) => boolean;
  readonly access: Access;
  readonly resources: AccessResources;
  /** Makes the HTTP server, plain or with TLS. */
  readonly listener: (handler: RequestListener) => Server;
  readonly isEncrypted: boolean;
  readonly version: string;
  /** Whether the metrics have series for each node. */
  readonly metricsPerNode: boolean;
  /** What was told to others, and how much waits. */
  readonly told: () => { readonly samples: readonly Sample[]; readonly waiting: number };
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
    isView(request)
      ? sendView(request, reply)
      : sendProblem(reply, 404, `${request.method} ${request.url.split('?')[0] ?? ''} is no resource of this API: see /openapi.json`),
  );
  app.addHook('onRequest', refuseForeignNames);
  addSecurityHeaders(app, options);
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title: 'Portreeve collector', version: 'v1', description: 'Nodes, NodePorts, findings and changes of a cluster.' },
      components: {
        securitySchemes: { token: { type: 'http', scheme: 'bearer', description: 'portreeve token create --role view, or a token of Kubernetes.' } },
      },
      security: [{ token: [] }],
    },
    transformObject: (documentObject) =>
      withoutRequiredDefaults('openapiObject' in documentObject ? documentObject.openapiObject : documentObject.swaggerObject),
    // Every schema that others refer to has its name as $id.
    refResolver: { buildLocalReference: ({ $id }) => String($id) },
  });
  for (const [name, schema] of Object.entries(models)) app.addSchema({ ...schema, $id: name });
  const book = new VerdictBook({
    state: options.state,
    store: options.store,
    keeps: options.keeps,
    onError: (error) => options.log.error({ reason: String(error) }, 'what is believed of NodePorts could not be added to the history'),
  });
  const telemetry = new Telemetry(options.state);
  const rate = new RequestRate();
  app.addHook('onResponse', async (_request, reply) => telemetry.answered(reply.statusCode));
  const live = new LiveStreams({ state: options.state, book, freshness: () => freshnessOf(options.view(), Date.now()) });
  await app.register(
    async (scope) => {
      addAccessCheck(scope, options.access, rate);
      addResources(scope, {
        answers: answersOf({ ...options, book, telemetry, audit: options.resources.audit }),
        more: fleetResources(options),
        live,
        view: options.view,
        namespaces: () => new Set([...options.state.objects.services.values()].map(({ namespace }) => namespace)),
      });
      addAccessResources(scope, options.resources);
    },
    { prefix: '/api/v1' },
  );
  await app.register(async (scope) => {
    addRateLimit(scope, rate);
    addEnrolment(scope, options.resources);
  });
  addOperations(app, options, { book, live, telemetry });
  addDocs(app);
  addPage(app);
  return {
    app,
    async close() {
      live.closeAll();
      telemetry.close();
      await book.close();
      await app.close();
    },
  };
}

// What has a default need not be given, though the schema of the question, to which the default is added first, has it.
function withoutRequiredDefaults<Document extends object>(document: Document): Document {
  const { paths } = document as { readonly paths?: Readonly<Record<string, Readonly<Record<string, { readonly parameters?: readonly Parameter[] }>>>> };
  const parameters = Object.values(paths ?? {}).flatMap((methods) => Object.values(methods).flatMap((operation) => operation.parameters ?? []));
  for (const parameter of parameters) if (parameter.in === 'query' && parameter.schema?.default !== undefined) parameter.required = false;
  return document;
}

interface Parameter {
  readonly in: string;
  required?: boolean;
  readonly schema?: { readonly default?: unknown };
}

// A page that a browser loads from anywhere can make its own host name point at 127.0.0.1; the Host header then gives it away.
async function refuseForeignNames(request: FastifyRequest, reply: FastifyReply): Promise<void> {
  const bound = request.socket.localAddress ?? '';
  const { host } = request.headers;
  const name = host === undefined ? '' : (URL.parse(`http://${host}`)?.hostname ?? '');
  if (isLoopback(bound) && !isLoopback(name))
    await sendProblem(reply, 403, `this collector is asked on a loopback address under the foreign name ${JSON.stringify(name)}`);
}

/** Metrics tell of nodes and causes: they are for those who may view. */
async function mayScrape(request: FastifyRequest, reply: FastifyReply, { access }: ApiOptions): Promise<unknown> {
  const found = await access.authenticate(request.headers.authorization, { address: request.ip, now: Date.now() });
  return found.kind === 'known' ? undefined : sendProblem(reply, found.status, found.reason);
}

interface Operating {
  readonly book: VerdictBook;
  readonly live: LiveStreams;
  readonly telemetry: Telemetry;
}

function addOperations(app: FastifyInstance, options: ApiOptions, { book, live, telemetry }: Operating): void {
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
    const { nodes, changesTotal, latency, graceMs, load } = state;
    const text = metricsText({
      version: options.version,
      nodes,
      matrix: book.matrix(),
      changesTotal,
      objectIssues: issues().length,
      kinds: view(),
      latency: latency.total,
      graceMs,
      queues: { diagnosis: load.waiting, verdicts: book.waiting, store: options.store.waiting(), readers: live.readers, notifications: options.told().waiting },
      diagnosisMs: load.diagnosisMs,
      telemetry,
      notifications: options.told().samples,
      perNode: options.metricsPerNode,
      now: Date.now(),
    });
    return reply.type(prometheusType).send(text);
  });
}
