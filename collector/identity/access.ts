// Says who asks the API and what they may do: tokens of the collector's own with a role, or tokens of Kubernetes with the rights that the cluster gives them.
import { randomBytes } from 'node:crypto';
import { apiTokenText, isSecretOf, readApiToken, secretHash } from '../../shared/wire/join-token.ts';
import type { Store } from '../store/store.ts';
import { newId } from './enrolment.ts';
import type { ServiceAccounts, TokenHolder } from './service-accounts.ts';

/** What a client may do; each includes the ones before. `view`: read. `operate`: trace, captures, report incidents, make join tokens. `admin`: tokens and revocation. */
export type Role = 'view' | 'operate' | 'admin';
const ranks: Readonly<Record<Role, number>> = { view: 1, operate: 2, admin: 3 };
export const isAtLeast = (role: Role, wanted: Role): boolean => ranks[role] >= ranks[wanted];

export interface Principal {
  /** For the audit log: `token:NAME`, `user:NAME`, `anyone`. */
  readonly who: string;
  readonly role: Role;
  /** Whether everything may be seen: nodes and rules tell of the Services of all namespaces. */
  readonly seesAll: boolean;
  /** Whether Services of a namespace may be seen. */
  readonly sees: (namespace: string) => Promise<boolean>;
}

export type Authentication =
  | { readonly kind: 'known'; readonly principal: Principal }
  | { readonly kind: 'unknown'; readonly status: 401 | 403 | 429 | 503; readonly reason: string };

export interface AccessOptions {
  readonly store: Store;
  readonly serviceAccounts?: ServiceAccounts;
  /** Everybody is an administrator; for loopback addresses. */
  readonly isOpen: boolean;
}

const seesAll = async (): Promise<boolean> => true;
/** Whoever asks where nobody is asked who they are. */
export const anyone: Principal = { who: 'anyone', role: 'admin', seesAll: true, sees: seesAll };

/** Wrong tokens from one address before it has to wait, and for how long that is counted. */
const failuresMax = 20;
const failuresMs = 60_000;
const addressesMax = 10_000;

export class Access {
  readonly #options: AccessOptions;
  readonly #failures = new Map<string, { count: number; since: number }>();

  constructor(options: AccessOptions) {
    this.#options = options;
  }

  /** Who asks. `authorization`: the header of the request; `address`: where it came from. */
  async authenticate(authorization: string | undefined, { address, now }: { readonly address: string; readonly now: number }): Promise<Authentication> {
    if (this.#options.isOpen) return { kind: 'known', principal: anyone };
    if (this.#isHeld(address, now)) return { kind: 'unknown', status: 429, reason: 'too many wrong tokens came from this address: wait a minute' };
    const token = /^Bearer\s+(\S+)$/i.exec(authorization ?? '')?.[1];
    if (token === undefined)
      return { kind: 'unknown', status: 401, reason: 'a token is wanted: Authorization: Bearer TOKEN (portreeve token create --role view)' };
    const principal = readApiToken(token) === undefined ? await this.#byKubernetes(token, now) : await this.#byOwn(token, now);
    if (typeof principal === 'object' && 'kind' in principal) return principal;
    if (principal !== undefined) return { kind: 'known', principal };
    this.#failed(address, now);
    return { kind: 'unknown', status: 401, reason: 'the token is not valid' };
  }

  async #byOwn(text: string, now: number): Promise<Principal | undefined> {
    const token = readApiToken(text);
    const credential = token === undefined ? undefined : await this.#options.store.credential(token.id);
    if (token === undefined || credential?.kind !== 'api' || credential.role === null || !isSecretOf(token.secret, credential.hash)) return undefined;
    if (credential.revokedAt !== null || (credential.expiresAt !== null && credential.expiresAt <= now)) return undefined;
    return { who: `token:${credential.name}`, role: credential.role, seesAll: true, sees: seesAll };
  }

  async #byKubernetes(token: string, now: number): Promise<Principal | Authentication | undefined> {
    const { serviceAccounts } = this.#options;
    if (serviceAccounts === undefined) return undefined;
    let holder: TokenHolder | undefined;
    try {
      holder = await serviceAccounts.holderOf(token, now);
    } catch {
      return { kind: 'unknown', status: 503, reason: 'the Kubernetes API cannot be asked about the token' };
    }
    return holder === undefined ? undefined : await this.#principalOf(serviceAccounts, holder);
  }

  /** Who may update Services everywhere operates; who may list those of a namespace sees it. */
  async #principalOf(serviceAccounts: ServiceAccounts, holder: TokenHolder): Promise<Principal> {
    const [all, updates] = await Promise.all([
      serviceAccounts.may(holder, { verb: 'list', namespace: '' }),
      serviceAccounts.may(holder, { verb: 'update', namespace: '' }),
    ]);
    const asked = new Map<string, Promise<boolean>>();
    const sees = (namespace: string): Promise<boolean> => {
      const known = asked.get(namespace) ?? serviceAccounts.may(holder, { verb: 'list', namespace }).catch(() => false);
      asked.set(namespace, known);
      return known;
    };
    return { who: `user:${holder.username}`, role: updates ? 'operate' : 'view', seesAll: all, sees: all ? seesAll : sees };
  }

  #isHeld(address: string, now: number): boolean {
    const failures = this.#failures.get(address);
    return failures !== undefined && now - failures.since < failuresMs && failures.count >= failuresMax;
  }

  #failed(address: string, now: number): void {
    const failures = this.#failures.get(address);
    if (failures !== undefined && now - failures.since < failuresMs) failures.count++;
    else {
      if (this.#failures.size >= addressesMax) this.#failures.clear();
      this.#failures.set(address, { count: 1, since: now });
    }
  }
}

export interface ApiTokenAsked {
  readonly name: string;
  readonly role: Role;
  /** Milliseconds; absent: it does not expire. */
  readonly ttlMs?: number;
  readonly by: string;
  readonly now: number;
}

/** Makes a token for a client of the API; the text is told once, the store has its hash. */
export async function createApiToken(
  store: Store,
  { name, role, ttlMs, by, now, id = newId() }: ApiTokenAsked & { readonly id?: string },
): Promise<{ readonly token: string; readonly id: string; readonly expiresAt: number | null }> {
  const secret = randomBytes(32).toString('base64url');
  const expiresAt = ttlMs === undefined ? null : now + ttlMs;
  await store.saveCredential({
    id,
    kind: 'api',
    name,
    role,
    hash: secretHash(secret),
    createdAt: now,
    createdBy: by,
    expiresAt,
    usedAt: null,
    revokedAt: null,
  });
  return { token: apiTokenText({ id, secret }), id, expiresAt };
}

/** The first administrator's token, where no token for the API was ever made; undefined where one was. */
export async function firstToken(store: Store, now: number): Promise<string | undefined> {
  const isKnown = async (): Promise<boolean> => (await store.credentials()).some(({ kind }) => kind === 'api');
  if (await isKnown()) return undefined;
  try {
    return (await createApiToken(store, { name: 'first', role: 'admin', by: 'first start', now, id: firstId })).token;
  } catch (error) {
    if (await isKnown()) return undefined;
    throw error;
  }
}

/** Of replicas that start at once one makes it: the store takes each id once. */
const firstId = 'firsttok';
