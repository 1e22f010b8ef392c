// Where the Kubernetes API is and what each request to it needs: server, certificates, tokens. All of it may be exchanged while we run.
import { createHash } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent, type RequestOptions } from 'node:https';
import { isIP } from 'node:net';
import { dirname, resolve } from 'node:path';
import type { KubeConfig } from '@kubernetes/client-node';
import { parse } from 'yaml';
import { failure, reasonOf } from '../../shared/errors.ts';

export interface ConnectionOptions {
  /** File; absent: the in-cluster configuration. */
  readonly kubeconfig?: string;
  /** Where a pod's file system begins, for the in-cluster configuration; empty when absent. */
  readonly root?: string;
}

export interface Connection {
  readonly server: URL;
  /** Settings of one request: TLS, headers with the credentials of this moment, and an agent that keeps connections. Rejects when a file cannot be read. */
  options(): Promise<RequestOptions>;
  /** Forgets what was read of the configuration: the API did not accept it. */
  renew(): void;
  close(): void;
}

/** Reads the configuration. Throws INPUT_INVALID when it names no cluster or cannot be read. */
export async function connectionOf(options: ConnectionOptions): Promise<Connection> {
  const { KubeConfig } = await import('@kubernetes/client-node');
  const load = (): Loaded => loadConfig(new KubeConfig(), options);
  try {
    return new ApiConnection(load, options.kubeconfig);
  } catch (error) {
    throw failure('INPUT_INVALID', [options.kubeconfig ?? 'in-cluster configuration', reasonOf(error)], error);
  }
}

interface Loaded {
  readonly config: KubeConfig;
  readonly server: URL;
  /** A file with the user's token, which client-node knows by another name than kubectl and reads once only. */
  readonly tokenFile?: string;
}

function loadConfig(config: KubeConfig, { kubeconfig, root = '' }: ConnectionOptions): Loaded {
  if (kubeconfig === undefined) config.loadFromCluster(root);
  else config.loadFromFile(kubeconfig);
  const cluster = config.getCurrentCluster();
  const server = URL.parse(cluster?.server ?? '');
  if (cluster === null || server === null || !/^https?:$/.test(server.protocol) || server.hostname === 'undefined')
    throw new Error('it names no cluster: give --cluster DIR or --kubeconfig FILE');
  const tokenFile = kubeconfig === undefined ? undefined : tokenFileOf(kubeconfig, config.getCurrentUser()?.name);
  // "kubectl proxy" speaks plain HTTP on loopback addresses, and adds the credentials itself.
  if (server.protocol === 'http:' && isLoopbackHost(server.hostname)) (cluster as { skipTLSVerify: boolean }).skipTLSVerify = true;
  return { config, server, ...(tokenFile === undefined ? {} : { tokenFile }) };
}

const isLoopbackHost = (host: string): boolean => host === 'localhost' || host === '[::1]' || (isIP(host) === 4 && host.startsWith('127.'));

function tokenFileOf(kubeconfig: string, userName: string | undefined): string | undefined {
  const { users } = (parse(readFileSync(kubeconfig, 'utf8')) ?? {}) as { users?: readonly { name?: unknown; user?: { tokenFile?: unknown } }[] };
  const file = Array.isArray(users) ? users.find(({ name }) => name === userName)?.user?.tokenFile : undefined;
  return typeof file === 'string' && file !== '' ? resolve(dirname(kubeconfig), file) : undefined;
}

class ApiConnection implements Connection {
  readonly #load: () => Loaded;
  readonly #file: string | undefined;
  #loaded: Loaded;
  #loadedAt: string;
  #asking: Promise<RequestOptions> | undefined;
  #agent: { readonly key: string; readonly agent: HttpAgent } | undefined;

  constructor(load: () => Loaded, file: string | undefined) {
    this.#load = load;
    this.#file = file;
    this.#loadedAt = this.#stamp();
    this.#loaded = load();
  }

  get server(): URL {
    return this.#loaded.server;
  }

  async options(): Promise<RequestOptions> {
    if (this.#stamp() !== this.#loadedAt) this.renew();
    // One at a time: a program that gives credentials and does not end must not be started again and again.
    this.#asking ??= this.#ask().finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }

  async #ask(): Promise<RequestOptions> {
    const { config, tokenFile, server } = this.#loaded;
    const options: RequestOptions = {};
    await config.applyToHTTPSOptions(options);
    const token = tokenFile === undefined ? undefined : readFileSync(tokenFile, 'utf8').trim();
    const headers = { ...(options.headers as Record<string, string> | undefined), ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }) };
    // A token file that ends in a newline would make a header that Node.js refuses.
    const trimmed = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value).trim()]));
    const proxied = config.getCurrentCluster()?.proxyUrl !== undefined;
    return { ...options, headers: trimmed, agent: proxied ? options.agent : this.#agentFor(server, options) };
  }

  // A configuration that is half written at this moment is tried again at the next request; until then the old one serves.
  renew(): void {
    const stamp = this.#stamp();
    try {
      this.#loaded = this.#load();
      this.#loadedAt = stamp;
    } catch {
      this.#loadedAt = '';
    }
  }

  close(): void {
    this.#agent?.agent.destroy();
  }

  #stamp(): string {
    if (this.#file === undefined) return '';
    try {
      const { mtimeMs, size, ino } = statSync(this.#file);
      return `${mtimeMs} ${size} ${ino}`;
    } catch {
      return this.#loadedAt;
    }
  }

  /** client-node keeps one agent for ever, with the certificates of its first request; this one goes when they change. */
  #agentFor(server: URL, options: RequestOptions): HttpAgent {
    const { ca, cert, key, pfx, passphrase, rejectUnauthorized, servername } = options;
    const tls = { ca, cert, key, pfx, passphrase, rejectUnauthorized, servername };
    const digest = createHash('sha256').update(JSON.stringify(tls)).digest('base64');
    if (this.#agent?.key === digest) return this.#agent.agent;
    if (this.#agent !== undefined) retire(this.#agent.agent);
    const agent = server.protocol === 'https:' ? new HttpsAgent({ ...tls, keepAlive: true }) : new HttpAgent({ keepAlive: true });
    this.#agent = { key: digest, agent };
    return agent;
  }
}

// Requests under way end by themselves: a watch with the old certificate lives until the server ends it. No other uses its connection after that.
function retire(agent: HttpAgent): void {
  Object.assign(agent, { keepAlive: false });
  for (const sockets of Object.values(agent.freeSockets)) for (const socket of sockets ?? []) socket.destroy();
}
