// The agent's own key and certificate: made at its enrolment with a join token, kept in the state directory, renewed when two thirds of its time are over.
import { createHash, createPublicKey, generateKeyPairSync, sign, X509Certificate } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, open, readFile, rename } from 'node:fs/promises';
import https from 'node:https';
import { join } from 'node:path';
import { rootCertificates } from 'node:tls';
import { failure, PortreeveError, reasonOf } from '../../shared/errors.ts';
import { type JoinToken, joinTokenText, readJoinToken } from '../../shared/wire/join-token.ts';

export interface IdentityOptions {
  /** `https:` addresses of the collector's replicas; the first that answers is asked. */
  readonly collectors: readonly URL[];
  readonly node: string;
  /** Directory of its own, closed to others. */
  readonly directory: string;
  /** What `portreeve token create --node` printed; needed once. */
  readonly joinToken?: string;
  /** PEM of authorities that the collector's certificate may come from, besides those of the system. */
  readonly authorities: readonly string[];
}

/** What a connection needs to be encrypted and to prove who we are. */
export interface Secrets {
  readonly ca: string[];
  readonly key: string;
  readonly cert: string;
}

const answerBytesMax = 64 * 1024;
const timeoutMs = 15_000;

/**
 * The identity that is there, or that the join token gives. Throws ENROLMENT_REFUSED when there is neither, or the collector says no; COLLECTOR_UNREACHABLE
 * when it does not answer, so that it can be tried again.
 */
export async function identityOf(options: IdentityOptions, now: number): Promise<Secrets> {
  const kept = await readSecrets(options);
  const isValid = kept !== undefined && Date.parse(new X509Certificate(kept.cert).validTo) > now;
  // A join token that was not used yet was made because what is kept here is not taken any more.
  if (isValid && (options.joinToken === undefined || (await isJoined(options, options.joinToken)))) return kept;
  if (options.joinToken === undefined) {
    const what = kept === undefined ? 'it has no certificate yet' : 'its certificate has expired';
    throw failure('ENROLMENT_REFUSED', [`${what}: make a join token (portreeve token create --node ${options.node}) and give it with --join-token-file`]);
  }
  try {
    return await enrol(options, options.joinToken);
  } catch (error) {
    // A token that is of no use does not take away what still holds.
    if (kept !== undefined && isValid) return kept;
    throw error;
  }
}

/** Milliseconds since 1970 at which the certificate is to be renewed. */
export function renewalTime({ cert }: Secrets): number {
  const { validFrom, validTo } = new X509Certificate(cert);
  const [from, to] = [Date.parse(validFrom), Date.parse(validTo)];
  return from + ((to - from) * 2) / 3;
}

/** Asks for a newer certificate by the one that holds still. Throws as `identityOf`. */
export async function renewed(options: IdentityOptions, secrets: Secrets): Promise<Secrets> {
  const answer = await firstAnswer(options, (collector) => post(collector, { path: '/renew', body: {}, tls: secrets }));
  return await keep(options, { ...secrets, cert: textOf(answer, 'certificate') });
}

/** Whether an agent of this directory has enrolled. */
export const hasIdentity = (directory: string): boolean => existsSync(join(directory, 'cert.pem'));

const files = ({ directory }: IdentityOptions) => ({
  key: join(directory, 'key.pem'),
  cert: join(directory, 'cert.pem'),
  ca: join(directory, 'ca.pem'),
  /** The id of the join token that was used last. */
  joined: join(directory, 'joined'),
});

/** Whether this directory has enrolled by this very token; what is no token is not known, and no reason to enrol. */
async function isJoined(options: IdentityOptions, text: string): Promise<boolean> {
  const token = readJoinToken(text);
  if (token === undefined) return true;
  const used = await readFile(files(options).joined, 'utf8').catch(() => undefined);
  return used?.trim() === token.id;
}

async function readSecrets(options: IdentityOptions): Promise<Secrets | undefined> {
  const { key, cert, ca } = files(options);
  if (!existsSync(cert) || !existsSync(key)) return undefined;
  try {
    const [keyText, certText, caText] = await Promise.all([readFile(key, 'utf8'), readFile(cert, 'utf8'), readFile(ca, 'utf8')]);
    new X509Certificate(certText);
    return { key: keyText, cert: certText, ca: [caText, ...options.authorities, ...rootCertificates] };
  } catch (error) {
    throw failure('INPUT_UNREADABLE', [cert, reasonOf(error)], error);
  }
}

/** Asks one replica after the other, as long as none answers. */
async function firstAnswer<Answer>({ collectors }: IdentityOptions, ask: (collector: URL) => Promise<Answer>): Promise<Answer> {
  let reason: unknown = failure('COLLECTOR_UNREACHABLE', ['--collector', 'no URL is given']);
  for (const collector of collectors) {
    try {
      return await ask(collector);
    } catch (error) {
      if (!(error instanceof PortreeveError) || error.code !== 'COLLECTOR_UNREACHABLE') throw error;
      reason = error;
    }
  }
  throw reason;
}

async function enrol(options: IdentityOptions, text: string): Promise<Secrets> {
  const token = readJoinToken(text);
  if (token === undefined) throw failure('ENROLMENT_REFUSED', ['what --join-token-file holds is no join token (prj_…)']);
  return await firstAnswer(options, async (collector) => {
    try {
      return await enrolAt(collector, options, token);
    } catch (error) {
      if (!(error instanceof PortreeveError) || !(error.cause instanceof KeyRevoked)) throw error;
      // The key of before was revoked: a copy of it may be in other hands. It is kept aside, and a new one made.
      await rename(files(options).key, `${files(options).key}.revoked`);
      return await enrolAt(collector, options, token);
    }
  });
}

/** The collector wants another key. */
class KeyRevoked extends Error {}

async function enrolAt(collector: URL, options: IdentityOptions, token: JoinToken): Promise<Secrets> {
  const authority = await pinnedAuthority(collector, token.fingerprint);
  const key = await keyOf(options);
  const ca = [authority, ...options.authorities, ...rootCertificates];
  const proofText = Buffer.from(`enrol ${options.node} ${token.id}`);
  const proof = sign('sha256', proofText, key).toString('base64');
  const publicKey = createPublicKey(key).export({ type: 'spki', format: 'pem' }) as string;
  // The key of before is the same, where there was one: it proves that the node has not been exchanged.
  const body = { token: joinTokenText(token), node: options.node, publicKey, proof, formerKey: publicKey, formerProof: proof };
  const answer = await post(collector, { path: '/enrol', body, tls: { ca } });
  const kept = await keep(options, { key, cert: textOf(answer, 'certificate'), ca }, authority);
  await write(options.directory, { file: files(options).joined, content: `${token.id}\n` });
  return kept;
}

/** The collector's authority, known by the fingerprint in the token: until it is checked, nothing secret is sent. */
async function pinnedAuthority(collector: URL, fingerprint: string): Promise<string> {
  const pem = (await request(new URL('/ca.pem', collector), { method: 'GET', tls: { rejectUnauthorized: false } })).toString('utf8');
  let found: string;
  try {
    const spki = new X509Certificate(pem).publicKey.export({ type: 'spki', format: 'der' });
    found = createHash('sha256').update(spki).digest('hex');
  } catch (error) {
    throw failure('ENROLMENT_REFUSED', [`what answers at ${collector.host} shows no certificate of an authority`], error);
  }
  if (found !== fingerprint)
    throw failure('ENROLMENT_REFUSED', [`what answers at ${collector.host} is not the collector that the join token is for (its fingerprint is ${found})`]);
  return pem;
}

/** The key of an earlier enrolment, or a new one; it is on disk before anybody knows of it. */
async function keyOf(options: IdentityOptions): Promise<string> {
  const { key } = files(options);
  if (existsSync(key)) return await readFile(key, 'utf8');
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }) as string;
  await write(options.directory, { file: key, content: pem });
  return pem;
}

async function keep(options: IdentityOptions, secrets: Secrets, authority?: string): Promise<Secrets> {
  const { cert, ca } = files(options);
  if (authority !== undefined) await write(options.directory, { file: ca, content: authority });
  await write(options.directory, { file: cert, content: secrets.cert });
  return secrets;
}

async function write(directory: string, { file, content }: { readonly file: string; readonly content: string }): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const handle = await open(`${file}.part`, 'w', 0o600);
  try {
    await handle.writeFile(content);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(`${file}.part`, file);
}

async function post(
  collector: URL,
  asked: { readonly path: string; readonly body: object; readonly tls: https.RequestOptions },
): Promise<Record<string, unknown>> {
  const answer = await request(new URL(asked.path, collector), { method: 'POST', body: JSON.stringify(asked.body), tls: asked.tls });
  return JSON.parse(answer.toString('utf8')) as Record<string, unknown>;
}

function textOf(answer: Record<string, unknown>, name: string): string {
  const value = answer[name];
  if (typeof value !== 'string') throw failure('ENROLMENT_REFUSED', [`its answer has no ${name}`]);
  return value;
}

function request(url: URL, asked: { readonly method: string; readonly body?: string; readonly tls: https.RequestOptions }): Promise<Buffer> {
  const headers = asked.body === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(asked.body) };
  return new Promise((resolve, reject) => {
    const unreachable = (error: unknown): void => reject(failure('COLLECTOR_UNREACHABLE', [url.origin, reasonOf(error)], error));
    const sent = https.request(url, { method: asked.method, headers, timeout: timeoutMs, ...asked.tls }, (response) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > answerBytesMax) sent.destroy(new Error('the answer is too long'));
        else chunks.push(chunk);
      });
      response.on('error', unreachable);
      response.on('end', () => {
        const content = Buffer.concat(chunks);
        if (response.statusCode === 200) resolve(content);
        else if ((response.statusCode ?? 500) >= 500) unreachable(new Error(`it answered ${response.statusCode}`));
        else reject(failure('ENROLMENT_REFUSED', [detailOf(content, response.statusCode)], response.statusCode === 409 ? new KeyRevoked() : undefined));
      });
    });
    sent.on('timeout', () => sent.destroy(new Error(`no answer within ${timeoutMs / 1_000} s`)));
    sent.on('error', unreachable);
    sent.end(asked.body);
  });
}

function detailOf(content: Buffer, status: number | undefined): string {
  try {
    const { detail } = JSON.parse(content.toString('utf8')) as { readonly detail?: unknown };
    if (typeof detail === 'string') return detail.slice(0, 500);
  } catch {
    // Not an answer of a collector.
  }
  return `it answered ${status}`;
}
