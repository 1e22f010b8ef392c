// The server that the API and the agents share: plain on loopback, TLS anywhere else, with certificates that are exchanged while it runs.
import { readFile } from 'node:fs/promises';
import type { Server } from 'node:http';
import http from 'node:http';
import https from 'node:https';
import { createSecureContext } from 'node:tls';
import { failure, reasonOf } from '../../shared/errors.ts';
import { limits } from '../../shared/limits.ts';
import type { Authority } from './authority.ts';

export interface TlsFiles {
  /** PEM files of the operator; without them the collector's own authority signs. */
  readonly certificate?: string;
  readonly key?: string;
  /** PEM of an authority of the operator's own whose client certificates speak for nodes. */
  readonly agentAuthority?: string;
}

export interface ListenerOptions {
  readonly authority: Authority;
  readonly files: TlsFiles;
  /** Names and addresses that clients know the collector by, for its own certificate. */
  readonly names: readonly string[];
  readonly now: () => number;
  readonly onNotice: (text: string, details: object) => void;
  /** Milliseconds between two looks at what is to be exchanged. */
  readonly renewEveryMs?: number;
}

/** Milliseconds for the headers of a request, and for all of it: those who open connections and send nothing are let go. */
const headersTimeoutMs = 10_000;
const requestTimeoutMs = 30_000;
/** Certificates are looked at this often: files of the operator may have been exchanged, our own may be two thirds through. */
const renewEveryMs = 60_000;

const bounds = {
  headersTimeout: headersTimeoutMs,
  requestTimeout: requestTimeoutMs,
  connectionsCheckingInterval: 2_000,
  keepAliveTimeout: 15_000,
  maxHeaderSize: 16 * 1024,
};

export const plainServer = (handler: http.RequestListener): Server => http.createServer(bounds, handler);

/** A server with TLS, and what stops the renewal of its certificates. Throws INPUT_UNREADABLE for files of the operator that cannot be used. */
export class TlsListener {
  readonly #options: ListenerOptions;
  readonly #timer: NodeJS.Timeout;
  #server: https.Server | undefined;
  #current: Secrets;

  private constructor(options: ListenerOptions, first: Secrets) {
    this.#options = options;
    this.#current = first;
    this.#timer = setInterval(() => void this.renew(), options.renewEveryMs ?? renewEveryMs);
    this.#timer.unref();
  }

  static async open(options: ListenerOptions): Promise<TlsListener> {
    return new TlsListener(options, await secretsOf(options));
  }

  readonly server = (handler: http.RequestListener): Server => {
    // Clients without a certificate are let in here, as the API takes tokens; who may speak for a node is decided behind it.
    this.#server = https.createServer(
      { ...bounds, ...this.#current.context, requestCert: true, rejectUnauthorized: false, minVersion: 'TLSv1.2', handshakeTimeout: limits.tlsHandshakeMs },
      handler,
    );
    return this.#server;
  };

  close(): void {
    clearInterval(this.#timer);
  }

  /** Exchanges certificates without a restart; connections that stand keep theirs. A file that cannot be read leaves the old ones in use. */
  async renew(): Promise<void> {
    try {
      const next = await secretsOf(this.#options, this.#current);
      const isSame = next.context.cert === this.#current.context.cert && next.context.ca.join() === this.#current.context.ca.join();
      if (isSame) return;
      this.#server?.setSecureContext(next.context);
      this.#current = next;
      this.#options.onNotice('certificates were exchanged', {});
    } catch (error) {
      this.#options.onNotice('certificates could not be exchanged: those of before stay in use', { reason: reasonOf(error) });
    }
  }
}

interface Secrets {
  readonly context: { readonly cert: string; readonly key: string; readonly ca: string[] };
  /** Milliseconds since 1970: until then a certificate of our own is not made anew. */
  readonly renewAt: number;
}

async function secretsOf({ authority, files, names, now }: ListenerOptions, current?: Secrets): Promise<Secrets> {
  const ca = [authority.pem, ...(files.agentAuthority === undefined ? [] : [await readPem(files.agentAuthority)])];
  if (files.certificate !== undefined && files.key !== undefined) {
    const [cert, key] = [await readPem(files.certificate), await readPem(files.key)];
    // Files that are being exchanged one after the other do not belong together for a moment.
    createSecureContext({ cert, key });
    return { context: { cert, key, ca }, renewAt: 0 };
  }
  const at = now();
  if (current !== undefined && at < current.renewAt) return { ...current, context: { ...current.context, ca } };
  const { certificate, key, expiresAt } = await authority.serverCertificate(names, at);
  return { context: { cert: certificate, key, ca }, renewAt: at + ((expiresAt - at) * 2) / 3 };
}

async function readPem(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw failure('INPUT_UNREADABLE', [file, reasonOf(error)], error);
  }
}
