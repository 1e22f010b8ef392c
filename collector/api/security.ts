// Who may ask what: headers that every answer carries, and the check before a resource under /api/v1 is asked.
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { limits } from '../../shared/limits.ts';
import { type Access, anyone, isAtLeast, type Principal, type Role } from '../identity/access.ts';
import { sendProblem } from './problem.ts';

const principals = new WeakMap<FastifyRequest, Principal>();

/** Who asks; only within resources under /api/v1. */
export function principalOf(request: FastifyRequest): Principal {
  const principal = principals.get(request);
  if (principal === undefined) throw new Error(`${request.url} is answered without a check of who asks`);
  return principal;
}

/** No page may frame, script or sniff what comes from here. */
export function addSecurityHeaders(app: FastifyInstance, { isEncrypted }: { readonly isEncrypted: boolean }): void {
  app.addHook('onSend', async (_request, reply) => {
    reply.header('x-content-type-options', 'nosniff').header('x-frame-options', 'DENY').header('referrer-policy', 'no-referrer');
    reply.header('cross-origin-opener-policy', 'same-origin').header('cross-origin-resource-policy', 'same-origin');
    if (reply.getHeader('content-security-policy') === undefined) reply.header('content-security-policy', contentPolicy);
    if (reply.getHeader('cache-control') === undefined) reply.header('cache-control', 'no-store');
    if (isEncrypted) reply.header('strict-transport-security', 'max-age=31536000');
  });
}

const contentPolicy =
  "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/** Counts requests by client and minute. */
export class RequestRate {
  readonly #max: number;
  readonly #counts = new Map<string, number>();
  #minute = 0;

  constructor(max: number = limits.apiRequestsPerMinuteMax) {
    this.#max = max;
  }

  /** Whether a client has asked too often in this minute. `now`: milliseconds since 1970. */
  isOver(client: string, now: number): boolean {
    const minute = Math.floor(now / 60_000);
    if (minute !== this.#minute) this.#counts.clear();
    this.#minute = minute;
    const count = (this.#counts.get(client) ?? 0) + 1;
    this.#counts.set(client, count);
    return count > this.#max;
  }
}

const tooMany = { status: 429, reason: `more than ${limits.apiRequestsPerMinuteMax} requests came from this client within a minute: wait a little` };

/** For what is asked before anybody is known: counted by address. */
export function addRateLimit(scope: FastifyInstance, rate: RequestRate): void {
  scope.addHook('onRequest', async (request, reply) => (rate.isOver(`address ${request.ip}`, Date.now()) ? refuse(reply, tooMany) : undefined));
}

/** Asks who asks, before anything else. A resource that changes something, or costs an agent work, wants more than `view`. */
export function addAccessCheck(scope: FastifyInstance, access: Access, rate: RequestRate): void {
  scope.addHook('onRequest', async (request, reply) => {
    if (isForeignOrigin(request)) return sendProblem(reply, 403, 'a page of another origin may not ask here');
    const { authorization } = request.headers;
    const found = await access.authenticate(authorization ?? tokenOfEventSource(request), { address: request.ip, now: Date.now() });
    if (found.kind === 'unknown') return refuse(reply, found);
    // Those who share an address are told apart by their tokens.
    const { who } = found.principal;
    if (who !== anyone.who && rate.isOver(`${who} ${request.ip}`, Date.now())) return refuse(reply, tooMany);
    const wanted = wantedRole(request);
    if (!isAtLeast(found.principal.role, wanted))
      return sendProblem(
        reply,
        403,
        `${found.principal.who} has the role ${found.principal.role}; ${request.method} ${request.routeOptions.url} wants ${wanted}`,
      );
    principals.set(request, found.principal);
    return undefined;
  });
}

function wantedRole({ method, routeOptions }: FastifyRequest): Role {
  const { role } = routeOptions.config as { readonly role?: Role };
  return role ?? (method === 'GET' || method === 'HEAD' ? 'view' : 'operate');
}

function refuse(reply: FastifyReply, { status, reason }: { readonly status: number; readonly reason: string }): FastifyReply {
  if (status === 401) reply.header('www-authenticate', 'Bearer realm="portreeve"');
  if (status === 429) reply.header('retry-after', '60');
  return sendProblem(reply, status, reason);
}

// A browser says where the page that asks comes from; our own page is of the same origin, and other programs say nothing.
function isForeignOrigin({ headers }: FastifyRequest): boolean {
  const { origin, host } = headers;
  if (origin === undefined || origin === 'null') return origin === 'null';
  return URL.parse(origin)?.host !== host;
}

/** EventSource of browsers sends no headers of ours: the page puts its token in a cookie that only /api/v1 is sent. */
function tokenOfEventSource({ headers }: FastifyRequest): string | undefined {
  const found = /(?:^|;\s*)portreeve_token=([A-Za-z0-9._-]+)/.exec(headers.cookie ?? '');
  return found === null ? undefined : `Bearer ${found[1]}`;
}
