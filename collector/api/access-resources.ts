// Resources for tokens, identities of nodes and the audit log; and those that an agent asks before it has an identity.
import { createPublicKey } from 'node:crypto';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import Type, { type Static } from 'typebox';
import { createApiToken } from '../identity/access.ts';
import { certificateOf } from '../identity/admission.ts';
import { type Authority, keyHashOf, nodeOrganisation } from '../identity/authority.ts';
import { createJoinToken, enrol, issue, spkiHash } from '../identity/enrolment.ts';
import type { AuditRecord, Store } from '../store/store.ts';
import { Problem } from './problem.ts';
import { principalOf } from './security.ts';

export interface AccessResources {
  readonly store: Store;
  readonly authority: Authority;
  readonly audit: (record: Omit<AuditRecord, 'at'>) => void;
  /** Ends the live session of a node. */
  readonly endSession: (node: string, reason: string) => void;
}

const name = Type.String({ minLength: 1, maxLength: 253, pattern: '^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$' });
const ttl = Type.Integer({ minimum: 60_000, maximum: 366 * 86_400_000 });
const tokenBody = Type.Union([
  Type.Object({ kind: Type.Literal('join'), node: name, ttlMs: ttl }, { additionalProperties: false }),
  Type.Object({ kind: Type.Literal('api'), name, role: Type.Enum(['view', 'operate', 'admin']), ttlMs: Type.Optional(ttl) }, { additionalProperties: false }),
]);

/** Under /api/v1. */
export function addAccessResources(app: FastifyInstance, resources: AccessResources): void {
  const { store } = resources;
  app.post('/tokens', { schema: { summary: 'Makes a token; it is told once.', body: tokenBody } }, (request) => makeToken(request, resources));
  app.get('/tokens', { config: { role: 'admin' }, schema: { summary: 'Tokens that were made, without their secrets.' } }, async () => ({
    apiVersion: 'portreeve/v1',
    kind: 'TokenList',
    items: (await store.credentials()).map(({ hash: _, ...shown }) => shown),
  }));
  app.delete(
    '/tokens/:id',
    { config: { role: 'admin' }, schema: { summary: 'Revokes a token.', params: Type.Object({ id: Type.String({ maxLength: 16 }) }) } },
    async (request, reply) => {
      const { id } = request.params as { id: string };
      if (!(await store.revokeCredential(id, Date.now()))) throw new Problem(404, `there is no token ${id} that is not revoked`);
      audited(request, resources, { action: 'revoke token', subject: id });
      return reply.code(204).send();
    },
  );
  app.delete(
    '/nodes/:node/identity',
    { config: { role: 'admin' }, schema: { summary: 'Revokes the keys of a node and ends its session.', params: Type.Object({ node: name }) } },
    async (request, reply) => {
      const { node } = request.params as { node: string };
      const revoked = await store.revokeIdentities(node, Date.now());
      if (revoked === 0) throw new Problem(404, `${node} has no key that is not revoked`);
      audited(request, resources, { action: 'revoke identity', subject: node });
      resources.endSession(node, 'the key of this node was revoked');
      return reply.code(204).send();
    },
  );
  app.get('/audit', { config: { role: 'admin' }, schema: { summary: 'Who changed something or was refused, newest first.' } }, async () => ({
    apiVersion: 'portreeve/v1',
    kind: 'AuditList',
    items: await store.audit(1_000),
  }));
}

async function makeToken(request: FastifyRequest, resources: AccessResources): Promise<object> {
  const asked = request.body as Static<typeof tokenBody>;
  const { who, role } = principalOf(request);
  const now = Date.now();
  // Who operates lets machines in; who makes tokens for people could give more than they have.
  if (asked.kind === 'api' && role !== 'admin') throw new Problem(403, `${who} has the role ${role}; tokens for the API are made by administrators`);
  const made =
    asked.kind === 'join'
      ? await createJoinToken(resources.store, resources.authority, { node: asked.node, ttlMs: asked.ttlMs, by: who, now })
      : await createApiToken(resources.store, {
          name: asked.name,
          role: asked.role,
          by: who,
          now,
          ...(asked.ttlMs === undefined ? {} : { ttlMs: asked.ttlMs }),
        });
  audited(request, resources, {
    action: `make ${asked.kind} token`,
    subject: `${made.id} for ${asked.kind === 'join' ? asked.node : `${asked.name} (${asked.role})`}`,
  });
  return { apiVersion: 'portreeve/v1', kind: 'Token', ...made };
}

function audited(request: FastifyRequest, { audit }: AccessResources, record: Pick<AuditRecord, 'action' | 'subject'>): void {
  audit({ ...record, who: principalOf(request).who, outcome: 'done', address: request.ip });
}

const pem = Type.String({ minLength: 64, maxLength: 1_024 });
const proof = Type.String({ minLength: 16, maxLength: 256 });
const enrolBody = Type.Object(
  { token: Type.String({ maxLength: 256 }), node: name, publicKey: pem, proof, formerKey: Type.Optional(pem), formerProof: Type.Optional(proof) },
  { additionalProperties: false },
);

/** Outside /api/v1, as whoever asks has no identity yet. */
export function addEnrolment(app: FastifyInstance, { store, authority, audit }: AccessResources): void {
  app.get('/ca.pem', { schema: { hide: true } }, (_request, reply) => reply.type('application/x-pem-file').send(authority.pem));
  app.post('/enrol', { schema: { hide: true, body: enrolBody } }, async (request) => {
    const asked = request.body as Static<typeof enrolBody>;
    const enrolled = await enrol(store, authority, { request: asked, now: Date.now() });
    const record = { who: `node:${asked.node}`, action: 'enrol', address: request.ip };
    if (enrolled.kind === 'refused') {
      audit({ ...record, subject: enrolled.reason, outcome: 'refused' });
      throw new Problem(enrolled.needs === 'new key' ? 409 : 403, enrolled.reason);
    }
    audit({ ...record, subject: enrolled.issued.serial, outcome: 'done' });
    return { certificate: enrolled.issued.pem, authority: authority.pem, expiresAt: enrolled.issued.expiresAt };
  });
  app.post('/renew', { schema: { hide: true } }, async (request) => {
    const certificate = certificateOf(request.raw);
    const node = /(?:^|\n)CN=([^\n]+)/.exec(certificate?.subject ?? '')?.[1];
    if (certificate === undefined || node === undefined || !certificate.subject.includes(`O=${nodeOrganisation}`))
      throw new Problem(401, 'a certificate of an agent is renewed with that certificate');
    const known = (await store.identities(node)).find(({ keyHash }) => keyHash === keyHashOf(certificate));
    if (known === undefined || known.revokedAt !== null) throw new Problem(403, `the key of ${node} is not known or was revoked: enrol again`);
    const publicKey = createPublicKey(certificate.publicKey.export({ type: 'spki', format: 'pem' })).export({ type: 'spki', format: 'pem' }) as string;
    const issued = await issue(store, authority, { node, publicKey, now: Date.now() });
    audit({ who: `node:${node}`, action: 'renew', subject: spkiHash(publicKey).slice(0, 16), outcome: 'done', address: request.ip });
    return { certificate: issued.pem, authority: authority.pem, expiresAt: issued.expiresAt };
  });
}
