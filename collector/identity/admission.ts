// Says for which node a connecting agent may speak: by its certificate or by its ServiceAccount token, never by what it says itself.

import { X509Certificate } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { TLSSocket } from 'node:tls';
import { reasonOf } from '../../shared/errors.ts';
import type { Store } from '../store/store.ts';
import { keyHashOf, nodeOrganisation } from './authority.ts';
import type { ServiceAccounts } from './service-accounts.ts';

/** Who was let in. */
export interface Admitted {
  readonly kind: 'admitted';
  /** The only node that it may speak for; absent where nobody is asked (loopback with --no-auth). */
  readonly node?: string;
  /** The node's UID, where the token names it. */
  readonly nodeUid?: string;
  readonly by: 'nobody' | 'certificate' | 'service-account';
  /** Until then; milliseconds since 1970. Absent: as long as the connection lasts. */
  readonly validUntil?: number;
}

export type Admission = Admitted | { readonly kind: 'refused'; readonly status: 401 | 403 | 503; readonly reason: string };

export interface AdmissionOptions {
  readonly store: Store;
  /** Absent without Kubernetes. */
  readonly serviceAccounts?: ServiceAccounts;
  /** Lets everybody in; for loopback addresses. */
  readonly isOpen: boolean;
  /** Certificates of an authority of the operator's own speak for the node of their common name; those of ours must be known and not revoked. */
  readonly trustsForeignAuthority: boolean;
  /** ServiceAccounts of agents, `NAMESPACE/NAME` or `NAMESPACE/*`: any pod can have a token of its own for our audience. Absent: all. */
  readonly agentAccounts?: readonly string[];
}

/** Decides about one request for a connection. */
export async function admit(request: IncomingMessage, options: AdmissionOptions, now: number): Promise<Admission> {
  const certificate = certificateOf(request);
  if (certificate !== undefined) return await byCertificate(certificate, options, now);
  const token = bearerOf(request);
  if (token !== undefined) return await byToken(token, options, now);
  if (options.isOpen) return { kind: 'admitted', by: 'nobody' };
  return { kind: 'refused', status: 401, reason: 'neither a client certificate nor a token came with the request: enrol the agent, or give it --token-file' };
}

/** The certificate of the client, checked against the authorities by TLS; undefined when it has none or is not connected by TLS. */
export function certificateOf(request: IncomingMessage): X509Certificate | undefined {
  const socket = request.socket as Partial<TLSSocket>;
  if (socket.encrypted !== true || socket.authorized !== true) return undefined;
  const raw = socket.getPeerCertificate?.()?.raw;
  return raw === undefined ? undefined : new X509Certificate(raw);
}

const bearerOf = ({ headers }: IncomingMessage): string | undefined => /^Bearer\s+(\S+)$/i.exec(headers.authorization ?? '')?.[1];

async function byCertificate(certificate: X509Certificate, { store, trustsForeignAuthority }: AdmissionOptions, now: number): Promise<Admission> {
  const refused = (reason: string): Admission => ({ kind: 'refused', status: 403, reason });
  const subject = new Map(certificate.subject.split('\n').map((part) => part.split(/=(.*)/s).slice(0, 2) as [string, string]));
  const node = subject.get('CN');
  const validUntil = Date.parse(certificate.validTo);
  if (node === undefined || node === '') return refused('the client certificate has no common name, which would be that of the node');
  if (!(validUntil > now)) return refused('the client certificate has expired');
  if (subject.get('O') !== nodeOrganisation) {
    return trustsForeignAuthority
      ? await byForeignCertificate(certificate, { store, node, validUntil, now })
      : refused('the client certificate is not one of an agent');
  }
  const known = (await store.identities(node)).find(({ keyHash }) => keyHash === keyHashOf(certificate));
  if (known === undefined) return refused(`the key of this certificate is not known for ${node}`);
  if (known.revokedAt !== null) return refused(`the key of ${node} was revoked`);
  return { kind: 'admitted', node, by: 'certificate', validUntil };
}

/** The operator's authority says who may speak; a key that is seen for the first time is noted, so that it can be revoked here as well. */
async function byForeignCertificate(
  certificate: X509Certificate,
  { store, node, validUntil, now }: { readonly store: Store; readonly node: string; readonly validUntil: number; readonly now: number },
): Promise<Admission> {
  const keyHash = keyHashOf(certificate);
  const known = (await store.identities(node)).find((identity) => identity.keyHash === keyHash);
  if (known !== undefined && known.revokedAt !== null) return { kind: 'refused', status: 403, reason: `the key of ${node} was revoked` };
  if (known?.serial !== certificate.serialNumber)
    await store.saveIdentity({ node, keyHash, serial: certificate.serialNumber, issuedAt: now, expiresAt: validUntil, revokedAt: null });
  return { kind: 'admitted', node, by: 'certificate', validUntil };
}

/** Whether a user is a ServiceAccount `NAMESPACE/NAME`, or one of `NAMESPACE/*`. */
function isAccount(username: string, account: string): boolean {
  const [namespace = '', name = ''] = account.split('/');
  return name === '*' ? username.startsWith(`system:serviceaccount:${namespace}:`) : username === `system:serviceaccount:${namespace}:${name}`;
}

async function byToken(token: string, { serviceAccounts, agentAccounts }: AdmissionOptions, now: number): Promise<Admission> {
  if (serviceAccounts === undefined)
    return { kind: 'refused', status: 401, reason: 'tokens of ServiceAccounts are not taken here: the collector has no Kubernetes API' };
  try {
    const holder = await serviceAccounts.holderOf(token, now);
    if (holder === undefined) return { kind: 'refused', status: 401, reason: 'the token is not valid, or not for the audience portreeve' };
    if (agentAccounts !== undefined && !agentAccounts.some((account) => isAccount(holder.username, account)))
      return {
        kind: 'refused',
        status: 403,
        reason: `${holder.username} is no ServiceAccount of agents (${agentAccounts.join(', ')}): name it with --agent-service-account`,
      };
    if (holder.node === undefined) return { kind: 'refused', status: 403, reason: `the token of ${holder.username} is bound to no node` };
    return {
      kind: 'admitted',
      node: holder.node,
      by: 'service-account',
      ...(holder.nodeUid === undefined ? {} : { nodeUid: holder.nodeUid }),
      ...(holder.expiresAt === undefined ? {} : { validUntil: holder.expiresAt }),
    };
  } catch (error) {
    return { kind: 'refused', status: 503, reason: `the Kubernetes API cannot be asked about the token: ${reasonOf(error)}` };
  }
}
