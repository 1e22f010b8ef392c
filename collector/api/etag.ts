// Tags of answers: who asks again and has the same already is told so in a few bytes. Browsers keep nothing of us: a page that polls sends If-None-Match itself.
// What only grows with the clock (ages) makes no answer another one.
import { createHash } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';

/** A weak tag of an answer; equal for answers that say the same of the cluster. */
export const etagOf = (answer: unknown): string => `W/"${createHash('sha256').update(JSON.stringify(answer, withoutAges)).digest('base64url').slice(0, 22)}"`;

const ages: ReadonlySet<string> = new Set(['objectsAgeMs', 'viewAgeMs', 'seenAgoMs']);
const withoutAges = (key: string, value: unknown): unknown => (ages.has(key) ? undefined : value);

/** Sends an answer with its tag, or 304 to who has it. */
export function sendTagged(request: FastifyRequest, reply: FastifyReply, answer: object): FastifyReply {
  const tag = etagOf(answer);
  reply.header('etag', tag);
  const known = request.headers['if-none-match'];
  const has = known !== undefined && (known.trim() === '*' || known.split(',').some((each) => each.trim() === tag));
  return has ? reply.code(304).send() : reply.send(answer);
}
