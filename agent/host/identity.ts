// The agent's own key and certificate: made at its enrolment with a join token, kept in the state directory, renewed when two thirds of its time are over.
import { createHash, createPublicKey, generateKeyPairSync, sign, X509Certificate } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, open, readFile, rename } from 'node:fs/promises';
import https from 'node:https';
import { join } from 'node:path';
import { rootCertificates } from 'node:tls';
import { failure, reasonOf } from '../../shared/errors.ts';
import { readJoinToken } from '../../shared/wire/join-token.ts';

export interface IdentityOptions {
  /** `https:` address of the collector. */
  readonly collector: URL;
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
  if (kept !== undefined && Date.parse(new X509Certificate(kept.cert).validTo) > now) return kept;
  if (options.joinToken === undefined) {
    const what = kept === undefined ? 'it has no certificate yet' : 'its certificate has expired';
    throw failure('ENROLMENT_REFUSED', [`${what}: make a join token (portreeve token create --node ${options.node}) and give it with --join-token-file`]);
  }
  return await enrol(options, options.joinToken);
}

/** Milliseconds since 1970 at which the certificate is to be renewed. */
export function renewalTime({ cert }: Secrets): number {
  const { validFrom, validTo } = new X509Certificate(cert);
  const [from, to] = [Date.parse(validFrom), Date.parse(validTo)];
  return from + ((to - from) * 2) / 3;
}

/** Asks for a newer certificate by the one that holds still. Throws as `identityOf`. */
export async function renewed(options: IdentityOptions, secrets: Secrets): Promise<Secrets> {
  const answer = await post(options.collector, { path: '/renew', body: {}, tls: secrets });
  return await keep(options, { ...secrets, cert: textOf(answer, 'certificate') });
}

/** Whether an agent of this directory has enrolled. */
export const hasIdentity = (directory: string): boolean => existsSync(join(directory, 'cert.pem'));

const files = ({ directory }: IdentityOptions) => ({ key: join(directory, 'key.pem'), cert: join(directory, 'cert.pem'), ca: join(directory, 'ca.pem') });

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

async function enrol(options: IdentityOptions, text: string): Promise<Secrets> {
  const token = readJoinToken(text);
  if (token === undefined) throw failure('ENROLMENT_REFUSED', ['what --join-token-file holds is no join token (prj_…)']);
  const authority = await pinnedAuthority(options.collector, token.fingerprint);
  const key = await keyOf(options);
  const ca = [authority, ...options.authorities, ...rootCertificates];
  const proofText = Buffer.from(`enrol ${options.node} ${token.id}`);
  const proof = sign('sha256', proofText, key).toString('base64');
  const publicKey = createPublicKey(key).export({ type: 'spki', format: 'pem' }) as string;
  // The key of before is the same, where there was one: it proves that the node has not been exchanged.
  const body = { token: text.trim(), node: options.node, publicKey, proof, formerKey: publicKey, formerProof: proof };
  const answer = await post(options.collector, { path: '/enrol', body, tls: { ca } });
  return await keep(options, { key, cert: textOf(answer, 'certificate'), ca }, authority);
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
        else reject(failure('ENROLMENT_REFUSED', [detailOf(content, response.statusCode)]));
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
