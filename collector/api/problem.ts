// Errors of the API as RFC 9457 problem documents.
import type { FastifyReply } from 'fastify';
import { PortreeveError, reasonOf } from '../../shared/errors.ts';

/** An error that the client is told as it is. */
export class Problem extends Error {
  readonly status: number;
  constructor(status: number, detail: string) {
    super(detail);
    this.status = status;
  }
}

const titles: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  409: 'Conflict',
  429: 'Too Many Requests',
  500: 'Internal Server Error',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
};

/** Sends a problem; its title follows from the status. */
export function sendProblem(reply: FastifyReply, status: number, detail: string): FastifyReply {
  return reply
    .code(status)
    .type('application/problem+json')
    .send({ type: 'about:blank', title: titles[status] ?? 'Error', status, detail });
}

/** Sends whatever was thrown: what the client got wrong in full, what went wrong inside without its details. */
export function sendError(reply: FastifyReply, error: unknown): FastifyReply {
  if (error instanceof Problem) return sendProblem(reply, error.status, error.message);
  if (error instanceof PortreeveError && error.code === 'STORE_FAILED') return sendProblem(reply, 503, error.message);
  const status = (error as { statusCode?: number }).statusCode ?? 500;
  return sendProblem(reply, status, status < 500 ? reasonOf(error) : 'an error inside the collector: see its log');
}
