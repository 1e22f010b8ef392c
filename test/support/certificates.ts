// Certificates for tests: an authority of its own, and keys that it has signed. Made by openssl, as nothing in Node.js makes them.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface Certificate {
  readonly key: string;
  readonly cert: string;
}

export interface Authority {
  /** The authority's own certificate, PEM. */
  readonly ca: string;
  /** A key and certificate for a server on 127.0.0.1 and localhost. */
  readonly server: Certificate;
  /** A key and certificate of a client by that name. */
  readonly client: Certificate;
}

/** Whether certificates can be made here. */
export function hasOpenssl(): boolean {
  try {
    execFileSync('openssl', ['version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** Makes an authority and what it signs; takes some tens of milliseconds. */
export function makeAuthority(name = 'portreeve test'): Authority {
  const directory = mkdtempSync(join(tmpdir(), 'portreeve-ca-'));
  const openssl = (...words: readonly string[]): void => void execFileSync('openssl', words, { cwd: directory, stdio: 'pipe' });
  const read = (file: string): string => readFileSync(join(directory, file), 'utf8');
  const signed = (file: string, subject: string, extensions: string): Certificate => {
    openssl('req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', `${file}.key`, '-out', `${file}.csr`, '-subj', subject);
    writeFileSync(join(directory, `${file}.ext`), extensions);
    openssl(
      'x509',
      '-req',
      '-in',
      `${file}.csr`,
      '-CA',
      'ca.crt',
      '-CAkey',
      'ca.key',
      '-CAcreateserial',
      '-days',
      '2',
      '-out',
      `${file}.crt`,
      '-extfile',
      `${file}.ext`,
    );
    return { key: read(`${file}.key`), cert: read(`${file}.crt`) };
  };
  try {
    openssl(
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:prime256v1',
      '-nodes',
      '-keyout',
      'ca.key',
      '-out',
      'ca.crt',
      '-days',
      '2',
      '-subj',
      `/CN=${name}`,
    );
    const server = signed('server', '/CN=kube-apiserver', 'subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth\n');
    const client = signed('client', '/CN=portreeve/O=system:masters', 'extendedKeyUsage=clientAuth\n');
    return { ca: read('ca.crt'), server, client };
  } finally {
    rmSync(directory, { recursive: true });
  }
}
