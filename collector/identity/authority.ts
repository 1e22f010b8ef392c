// The collector's own certificate authority: made at the first start, it signs the server's certificate and those of agents that enrol.
import 'reflect-metadata';
import { createHash, type webcrypto, X509Certificate } from 'node:crypto';
import { chmod, mkdir, open, readFile, rename } from 'node:fs/promises';
import { isIP } from 'node:net';
import { join } from 'node:path';
import * as x509 from '@peculiar/x509';
import { failure, reasonOf } from '../../shared/errors.ts';

/** Days that certificates hold. The server's is made anew at every start and when two thirds are over; an agent renews its own then. */
const authorityDays = 3_650;
const serverDays = 90;
export const nodeDays = 7;
/** Clocks of agents may be behind: certificates hold from a little before they are made. */
const backdatedMs = 5 * 60_000;
const dayMs = 86_400_000;

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const { subtle } = globalThis.crypto;
type CryptoKey = webcrypto.CryptoKey;

export interface Issued {
  readonly pem: string;
  /** Hexadecimal. */
  readonly serial: string;
  readonly issuedAt: number;
  readonly expiresAt: number;
}

/** The authority that a store keeps. */
export interface KeptAuthority {
  /** The one that is there, or else the one given. */
  readonly authority: (own?: AuthorityFiles) => Promise<AuthorityFiles | undefined>;
  /** Whether several collectors have it together: then the store's is the one that counts. */
  readonly isCommon: boolean;
}

interface AuthorityFiles {
  /** PEM (PKCS #8). */
  readonly key: string;
  /** PEM. */
  readonly certificate: string;
}

interface Replacing {
  readonly keyFile: string;
  readonly certificateFile: string;
  readonly used: AuthorityFiles;
  /** Whether what was there is kept beside it. */
  readonly isKept: boolean;
  readonly now: number;
}

export class Authority {
  readonly #key: CryptoKey;
  readonly #certificate: x509.X509Certificate;
  /** The certificate that clients check others by. */
  readonly pem: string;
  /** SHA-256 of its public key, hexadecimal: what a join token pins. */
  readonly fingerprint: string;

  private constructor(key: CryptoKey, certificate: x509.X509Certificate) {
    this.#key = key;
    this.#certificate = certificate;
    this.pem = certificate.toString('pem');
    this.fingerprint = keyHashOf(new X509Certificate(this.pem));
  }

  /**
   * Reads `ca.key` and `ca.crt` of a directory, or makes both. Where the store keeps an authority and the directory has none, the store was restored from a backup,
   * and that one is used. Replicas have one together: the first of them gives it, and what lies in the directories of the others is set aside for it. Throws
   * STORE_FAILED naming the file that cannot be used.
   */
  static async open(directory: string, now: number, kept?: KeptAuthority): Promise<Authority> {
    const [keyFile, certificateFile] = [join(directory, 'ca.key'), join(directory, 'ca.crt')];
    try {
      await mkdir(directory, { recursive: true, mode: 0o750 });
      const key = await readFile(keyFile, 'utf8').catch(absent);
      const restored = key === undefined ? await kept?.authority() : undefined;
      if (key === undefined && restored === undefined) await Authority.#make({ keyFile, certificateFile, now });
      if (restored !== undefined) await Authority.#replace({ keyFile, certificateFile, used: restored, isKept: false, now });
      const own = { key: await readFile(keyFile, 'utf8'), certificate: await readFile(certificateFile, 'utf8') };
      const used = kept?.isCommon === true ? ((await kept.authority(own)) ?? own) : own;
      const authority = new Authority(await importKey(used.key), new x509.X509Certificate(used.certificate));
      if (used.key !== own.key) await Authority.#replace({ keyFile, certificateFile, used, isKept: key !== undefined, now });
      return authority;
    } catch (error) {
      throw failure('STORE_FAILED', [certificateFile, reasonOf(error)], error);
    }
  }

  static async #replace({ keyFile, certificateFile, used, isKept, now }: Replacing): Promise<void> {
    if (isKept) for (const file of [keyFile, certificateFile]) await rename(file, `${file}.replaced-${now}`);
    await writeSafely(keyFile, used.key, 0o600);
    await writeSafely(certificateFile, used.certificate, 0o644);
  }

  static async #make({ keyFile, certificateFile, now }: { readonly keyFile: string; readonly certificateFile: string; readonly now: number }): Promise<void> {
    const keys = await subtle.generateKey(algorithm, true, ['sign', 'verify']);
    const certificate = await x509.X509CertificateGenerator.createSelfSigned({
      serialNumber: serial(),
      name: 'CN=Portreeve authority,O=Portreeve',
      notBefore: new Date(now - backdatedMs),
      notAfter: new Date(now + authorityDays * dayMs),
      signingAlgorithm: algorithm,
      keys,
      extensions: [
        new x509.BasicConstraintsExtension(true, 0, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      ],
    });
    const pkcs8 = Buffer.from(await subtle.exportKey('pkcs8', keys.privateKey));
    await writeSafely(keyFile, `${x509.PemConverter.encode(pkcs8, 'PRIVATE KEY')}\n`, 0o600);
    await writeSafely(certificateFile, `${certificate.toString('pem')}\n`, 0o644);
  }

  /** A key and a certificate for the server under these names and addresses. */
  async serverCertificate(names: readonly string[], now: number): Promise<{ readonly key: string; readonly certificate: string; readonly expiresAt: number }> {
    const keys = await subtle.generateKey(algorithm, true, ['sign', 'verify']);
    const expiresAt = now + serverDays * dayMs;
    const certificate = await this.#sign({
      subject: 'CN=Portreeve collector,O=Portreeve',
      publicKey: keys.publicKey,
      now,
      expiresAt,
      extensions: [
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth], false),
        new x509.SubjectAlternativeNameExtension(names.map((value) => ({ type: isIP(value) === 0 ? ('dns' as const) : ('ip' as const), value }))),
      ],
    });
    const pkcs8 = Buffer.from(await subtle.exportKey('pkcs8', keys.privateKey));
    return { key: x509.PemConverter.encode(pkcs8, 'PRIVATE KEY'), certificate: `${certificate.toString('pem')}\n${this.pem}\n`, expiresAt };
  }

  /** A certificate that lets the holder of a key speak for a node. `publicKey` is a PEM (SPKI) of a P-256 key; throws for another. */
  async nodeCertificate(publicKey: string, { node, now }: { readonly node: string; readonly now: number }): Promise<Issued> {
    const der = x509.PemConverter.decodeFirst(publicKey);
    const key = await subtle.importKey('spki', der, algorithm, true, ['verify']);
    const expiresAt = now + nodeDays * dayMs;
    const certificate = await this.#sign({
      subject: nodeSubject(node),
      publicKey: key,
      now,
      expiresAt,
      extensions: [new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.clientAuth], false)],
    });
    return { pem: certificate.toString('pem'), serial: certificate.serialNumber, issuedAt: now, expiresAt };
  }

  async #sign(asked: {
    readonly subject: string | x509.Name;
    readonly publicKey: CryptoKey;
    readonly now: number;
    readonly expiresAt: number;
    readonly extensions: readonly x509.Extension[];
  }): Promise<x509.X509Certificate> {
    return await x509.X509CertificateGenerator.create({
      serialNumber: serial(),
      subject: typeof asked.subject === 'string' ? asked.subject : asked.subject.toString(),
      issuer: this.#certificate.subject,
      notBefore: new Date(asked.now - backdatedMs),
      notAfter: new Date(asked.expiresAt),
      signingAlgorithm: algorithm,
      publicKey: asked.publicKey,
      signingKey: this.#key,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        await x509.AuthorityKeyIdentifierExtension.create(this.#certificate),
        await x509.SubjectKeyIdentifierExtension.create(asked.publicKey),
        ...asked.extensions,
      ],
    });
  }
}

/** The organisation that marks certificates of nodes, so that one of the server's is no node's. */
export const nodeOrganisation = 'Portreeve node';

// Given as parts, so that a node's name is never read as more of the name.
const nodeSubject = (node: string): x509.Name => new x509.Name([{ CN: [{ utf8String: node }] }, { O: [{ utf8String: nodeOrganisation }] }]);

/** SHA-256 of a certificate's public key (SPKI), hexadecimal. */
export function keyHashOf(certificate: X509Certificate): string {
  return createHash('sha256')
    .update(certificate.publicKey.export({ type: 'spki', format: 'der' }))
    .digest('hex');
}

/** A positive number of 16 random bytes. */
function serial(): string {
  const bytes = globalThis.crypto.getRandomValues(new Uint8Array(16));
  bytes[0] = ((bytes[0] as number) & 0x3f) | 0x40;
  return Buffer.from(bytes).toString('hex');
}

async function importKey(pem: string): Promise<CryptoKey> {
  return await subtle.importKey('pkcs8', x509.PemConverter.decodeFirst(pem), algorithm, false, ['sign']);
}

function absent(error: unknown): undefined {
  if ((error as { code?: string }).code !== 'ENOENT') throw error;
  return undefined;
}

/** The file is closed to others from its beginning, and on disk when this resolves: a key that is lost after its certificate was pinned shuts agents out. */
async function writeSafely(file: string, content: string, mode: number): Promise<void> {
  const handle = await open(file, 'w', mode);
  try {
    await handle.writeFile(content);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await chmod(file, mode);
}
