// Tokens of Kubernetes ServiceAccounts: the API server says whose they are, and for agents on which node.
import { decodeJwtExpiry } from './jwt.ts';

/** Whom a token speaks for. */
export interface TokenHolder {
  readonly username: string;
  readonly uid: string;
  readonly groups: readonly string[];
  /** The node that the token is bound to: of its claims, or on older clusters the one that its pod runs on. */
  readonly node?: string;
  readonly nodeUid?: string;
  /** Milliseconds since 1970; absent: not known. */
  readonly expiresAt?: number;
}

/** The calls of the Kubernetes API that this needs. */
export interface ReviewApi {
  /** POST /apis/authentication.k8s.io/v1/tokenreviews */
  reviewToken(body: object): Promise<unknown>;
  /** POST /apis/authorization.k8s.io/v1/subjectaccessreviews */
  reviewAccess(body: object): Promise<unknown>;
  /** GET /api/v1/namespaces/NAMESPACE/pods/NAME */
  pod(namespace: string, name: string): Promise<unknown>;
}

export const audience = 'portreeve';

interface TokenReviewStatus {
  readonly authenticated?: boolean;
  readonly error?: string;
  readonly audiences?: readonly string[];
  readonly user?: {
    readonly username?: string;
    readonly uid?: string;
    readonly groups?: readonly string[];
    readonly extra?: Readonly<Record<string, readonly string[]>>;
  };
}

/** Answers are taken as they are for this long, so that a thousand agents that reconnect are no thousand reviews; never past the token's own end. */
const cachedMs = 60_000;
const cachedMax = 20_000;

export class ServiceAccounts {
  readonly #api: ReviewApi;
  readonly #known = new Map<string, { readonly holder: TokenHolder; readonly until: number }>();

  constructor(api: ReviewApi) {
    this.#api = api;
  }

  /** Asks who holds a token; undefined when nobody does, or it is for another audience. Rejects when the API server cannot be asked. */
  async holderOf(token: string, now: number): Promise<TokenHolder | undefined> {
    const cached = this.#known.get(token);
    if (cached !== undefined && cached.until > now) return cached.holder;
    this.#known.delete(token);
    const review = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', spec: { token, audiences: [audience] } };
    const { status } = ((await this.#api.reviewToken(review)) ?? {}) as { readonly status?: TokenReviewStatus };
    if (status?.authenticated !== true || status.user?.username === undefined || status.audiences?.includes(audience) !== true) return undefined;
    const expiresAt = decodeJwtExpiry(token);
    if (expiresAt !== undefined && expiresAt <= now) return undefined;
    const holder = { ...(await this.#nodeOf(status.user)), ...holderOf(status.user), ...(expiresAt === undefined ? {} : { expiresAt }) };
    if (this.#known.size >= cachedMax) this.#known.clear();
    this.#known.set(token, { holder, until: Math.min(now + cachedMs, expiresAt ?? Number.POSITIVE_INFINITY) });
    return holder;
  }

  /** Whether the holder of a token may do something with Services of a namespace (of all, where it is empty). */
  async may(holder: TokenHolder, asked: { readonly verb: string; readonly namespace: string }): Promise<boolean> {
    const review = {
      apiVersion: 'authorization.k8s.io/v1',
      kind: 'SubjectAccessReview',
      spec: {
        user: holder.username,
        uid: holder.uid,
        groups: [...holder.groups],
        resourceAttributes: { group: '', resource: 'services', verb: asked.verb, namespace: asked.namespace },
      },
    };
    const { status } = ((await this.#api.reviewAccess(review)) ?? {}) as { readonly status?: { readonly allowed?: boolean; readonly denied?: boolean } };
    return status?.allowed === true && status.denied !== true;
  }

  async #nodeOf({ username, extra }: NonNullable<TokenReviewStatus['user']>): Promise<Pick<TokenHolder, 'node' | 'nodeUid'>> {
    const node = extra?.['authentication.kubernetes.io/node-name']?.[0];
    const nodeUid = extra?.['authentication.kubernetes.io/node-uid']?.[0];
    if (node !== undefined) return { node, ...(nodeUid === undefined ? {} : { nodeUid }) };
    const pod = extra?.['authentication.kubernetes.io/pod-name']?.[0];
    const namespace = /^system:serviceaccount:([^:]+):/.exec(username ?? '')?.[1];
    if (pod === undefined || namespace === undefined) return {};
    const { metadata, spec } = ((await this.#api.pod(namespace, pod)) ?? {}) as {
      readonly metadata?: { readonly uid?: string };
      readonly spec?: { readonly nodeName?: string };
    };
    // Another pod of the same name is not the one that the token was given to.
    const uid = extra?.['authentication.kubernetes.io/pod-uid']?.[0];
    return spec?.nodeName === undefined || (uid !== undefined && uid !== metadata?.uid) ? {} : { node: spec.nodeName };
  }
}

const holderOf = ({ username = '', uid = '', groups = [] }: NonNullable<TokenReviewStatus['user']>) => ({ username, uid, groups });
