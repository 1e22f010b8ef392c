// Join tokens and API tokens as text: what a person copies from one machine to another. Pure.
import { createHash, timingSafeEqual } from 'node:crypto';

/** What a join token says; the store has the hash of its secret only. */
export interface JoinToken {
  readonly id: string;
  readonly secret: string;
  /** SHA-256 of the authority's public key, hexadecimal: the collector that the token is for proves itself by it. */
  readonly fingerprint: string;
}

const joinForm = /^prj_([a-z0-9]{8})_([A-Za-z0-9_-]{32})_([0-9a-f]{64})$/;
const apiForm = /^pra_([a-z0-9]{8})_([A-Za-z0-9_-]{43})$/;

export const joinTokenText = ({ id, secret, fingerprint }: JoinToken): string => `prj_${id}_${secret}_${fingerprint}`;

/** Undefined for what is no join token. */
export function readJoinToken(text: string): JoinToken | undefined {
  const found = joinForm.exec(text.trim());
  return found === null ? undefined : { id: found[1] as string, secret: found[2] as string, fingerprint: found[3] as string };
}

export const apiTokenText = ({ id, secret }: Omit<JoinToken, 'fingerprint'>): string => `pra_${id}_${secret}`;

/** Undefined for what is no API token. */
export function readApiToken(text: string): Omit<JoinToken, 'fingerprint'> | undefined {
  const found = apiForm.exec(text.trim());
  return found === null ? undefined : { id: found[1] as string, secret: found[2] as string };
}

/** What the store keeps of a secret. The secrets are random and long, so that a fast hash is enough. */
export const secretHash = (secret: string): string => createHash('sha256').update(secret).digest('hex');

/** Whether a secret is the one of a hash; how long this takes tells nothing. */
export function isSecretOf(secret: string, hash: string): boolean {
  const [given, known] = [Buffer.from(secretHash(secret)), Buffer.from(hash)];
  return given.length === known.length && timingSafeEqual(given, known);
}
