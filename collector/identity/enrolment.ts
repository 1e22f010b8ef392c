// How an agent on bare metal comes by its certificate: once with a join token, then again and again with the certificate itself.
import { createHash, createPublicKey, randomBytes, randomInt, verify } from 'node:crypto';
import { isSecretOf, joinTokenText, readJoinToken, secretHash } from '../../shared/wire/join-token.ts';
import type { Credential, Store } from '../store/store.ts';
import type { Authority, Issued } from './authority.ts';

/** What an agent sends to enrol. */
export interface EnrolmentRequest {
  readonly token: string;
  readonly node: string;
  /** PEM (SPKI) of a P-256 key. */
  readonly publicKey: string;
  /** Base64 of the signature over `enrol NODE TOKEN-ID`, by that key: nobody enrols with the key of another. */
  readonly proof: string;
  /** The same by the key that the node had before; needed where one is known and the token does not allow for a new one. */
  readonly formerKey?: string;
  readonly formerProof?: string;
}

export type Enrolled =
  | { readonly kind: 'issued'; readonly issued: Issued }
  | { readonly kind: 'refused'; readonly reason: string /** What would be taken instead. */; readonly needs?: 'new key' };

/** What a signature of an enrolment is made over. */
export const enrolmentText = (node: string, tokenId: string): string => `enrol ${node} ${tokenId}`;

const ttlMsMax = 30 * 86_400_000;

/** Makes a join token for a node. Times in milliseconds. */
export async function createJoinToken(
  store: Store,
  authority: Authority,
  asked: { readonly node: string; readonly ttlMs: number; readonly by: string; readonly now: number },
): Promise<{ readonly token: string; readonly id: string; readonly expiresAt: number }> {
  const id = newId();
  const secret = randomBytes(24).toString('base64url');
  const expiresAt = asked.now + Math.min(asked.ttlMs, ttlMsMax);
  await store.saveCredential({
    id,
    kind: 'join',
    name: asked.node,
    role: null,
    hash: secretHash(secret),
    createdAt: asked.now,
    createdBy: asked.by,
    expiresAt,
    usedAt: null,
    revokedAt: null,
  });
  return { token: joinTokenText({ id, secret, fingerprint: authority.fingerprint }), id, expiresAt };
}

/** Eight letters and digits that are easily told apart. */
export const newId = (): string => Array.from({ length: 8 }, () => 'abcdefghjkmnpqrstuvwxyz23456789'[randomInt(31)]).join('');

/** Takes a join token for a certificate. Why it is refused is told to the operator's log; the agent is told the same, as it needs a person either way. */
export async function enrol(store: Store, authority: Authority, asked: { readonly request: EnrolmentRequest; readonly now: number }): Promise<Enrolled> {
  const { request, now } = asked;
  const refused = (reason: string): Enrolled => ({ kind: 'refused', reason });
  const token = readJoinToken(request.token);
  const credential = token === undefined ? undefined : await store.credential(token.id);
  if (token === undefined || credential?.kind !== 'join' || !isSecretOf(token.secret, credential.hash)) return refused('the join token is not known here');
  const fault = faultOf(credential, request.node, now);
  if (fault !== undefined) return refused(fault);
  const text = enrolmentText(request.node, token.id);
  if (!isSigned(text, request.publicKey, request.proof)) return refused('the key is no P-256 key, or the enrolment is not signed by it');
  const identities = await store.identities(request.node);
  const known = identities.flatMap(({ keyHash, revokedAt }) => (revokedAt === null ? [keyHash] : []));
  const own = spkiHash(request.publicKey);
  // Nobody makes a key valid again by a new token: whoever has a copy of it would be let in as well.
  if (identities.some(({ keyHash, revokedAt }) => keyHash === own && revokedAt !== null))
    return { kind: 'refused', needs: 'new key', reason: `this key of ${request.node} was revoked: the agent has to make a new one` };
  const issued = async (): Promise<Enrolled> => ({
    kind: 'issued',
    issued: await issue(store, authority, { node: request.node, publicKey: request.publicKey, now }),
  });
  // An agent that did not hear our answer asks again: whoever has the key that the token was used for gets nothing that it did not get before.
  if (credential.usedAt !== null) return known.includes(own) ? await issued() : refused('the join token was used before: each is for one enrolment');
  if (known.length > 0 && !hasFormerKey(request, text, known))
    return refused(`${request.node} has enrolled before with another key: revoke it first (portreeve token revoke --node ${request.node})`);
  // Last: a request that is refused does not use the token up.
  if (!(await store.useCredential(token.id, now))) return refused('the join token is used, revoked or expired');
  return await issued();
}

/** A new certificate for a key that speaks for a node already. */
export async function issue(
  store: Store,
  authority: Authority,
  asked: { readonly node: string; readonly publicKey: string; readonly now: number },
): Promise<Issued> {
  const issued = await authority.nodeCertificate(asked.publicKey, asked);
  await store.saveIdentity({ node: asked.node, keyHash: spkiHash(asked.publicKey), ...pick(issued), revokedAt: null });
  return issued;
}

const pick = ({ serial, issuedAt, expiresAt }: Issued) => ({ serial, issuedAt, expiresAt });

function faultOf(credential: Credential, node: string, now: number): string | undefined {
  if (credential.revokedAt !== null) return 'the join token is revoked';
  if (credential.expiresAt !== null && credential.expiresAt <= now) return 'the join token has expired';
  if (credential.name !== node) return `the join token is for the node ${credential.name}, not for ${node}`;
  return undefined;
}

function hasFormerKey({ formerKey, formerProof }: EnrolmentRequest, text: string, known: readonly string[]): boolean {
  return formerKey !== undefined && formerProof !== undefined && isSigned(text, formerKey, formerProof) && known.includes(spkiHash(formerKey));
}

function isSigned(text: string, publicKey: string, proof: string): boolean {
  try {
    const key = createPublicKey(publicKey);
    if (key.asymmetricKeyType !== 'ec' || key.asymmetricKeyDetails?.namedCurve !== 'prime256v1') return false;
    return verify('sha256', Buffer.from(text), key, Buffer.from(proof, 'base64'));
  } catch {
    return false;
  }
}

/** SHA-256 of a public key (SPKI), hexadecimal. Throws for what is no key. */
export const spkiHash = (pem: string): string =>
  createHash('sha256')
    .update(createPublicKey(pem).export({ type: 'spki', format: 'der' }))
    .digest('hex');
