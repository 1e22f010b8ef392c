// What the store keeps, as the rest of the collector sees it. Times are milliseconds since 1970.
import type { GapReason, SequencedChange } from '../../shared/model/change.ts';
import type { Protocol } from '../../shared/model/fact.ts';
import type { Finding } from '../../shared/model/finding.ts';
import type { RankedCause } from '../correlate/incident.ts';

/** A finding with the time it lasted. */
export interface FindingRecord {
  readonly finding: Finding;
  readonly openedAt: number;
  /** Null while it lasts. */
  readonly closedAt: number | null;
}

/** A node whose agent was seen at some time. */
export interface NodeRecord {
  readonly name: string;
  readonly version: string;
  readonly bootId: string;
  /** The stream of the last session. */
  readonly stream: string;
  readonly firstSeenAt: number;
  /** Until when an agent has told everything, and it is stored: what comes behind is told by later runs, or is a gap. */
  readonly lastSeenAt: number;
}

/** A time of which a node's ledger does not tell everything, and why. */
export interface Gap {
  readonly node: string;
  readonly reason: GapReason;
  /** By the collector's clock, both ends included. */
  readonly from: number;
  readonly to: number;
  /** A sentence for a person. */
  readonly detail: string;
  /** The numbers that are missing, where they are known, both ends included. */
  readonly seqs?: { readonly stream: string; readonly from: number; readonly to: number };
}

/** Every condition given must hold. Both ends of times are included. */
export interface ChangeQuery {
  /** Empty text asks for the changes of cluster objects. */
  readonly node?: string;
  readonly kind?: string;
  /** Text that the subject contains. */
  readonly subject?: string;
  readonly owner?: string;
  /** Text that the subject, the state before or after, or the actor contains. */
  readonly text?: string;
  readonly from?: number;
  readonly to?: number;
  readonly limit: number;
  /** `next` of the page before. */
  readonly cursor?: string;
}

export interface FindingQuery {
  readonly node?: string;
  readonly open?: boolean;
  /** Findings that lasted at some time from here … */
  readonly from?: number;
  /** … to here. */
  readonly to?: number;
  readonly cause?: string;
  readonly limit: number;
  /** `next` of the page before. */
  readonly cursor?: string;
}

export interface GapQuery {
  readonly node?: string;
  readonly reason?: Gap['reason'];
  /** Gaps that touch the time from here … */
  readonly from?: number;
  /** … to here. */
  readonly to?: number;
  readonly limit: number;
  /** `next` of the page before. */
  readonly cursor?: string;
}

export interface ChangePage {
  /** Newest first. */
  readonly items: readonly SequencedChange[];
  /** Cursor of the next page; absent on the last. */
  readonly next?: string;
}

/** A secret that somebody was given; the store has its hash only. */
export interface Credential {
  readonly id: string;
  /** `join`: lets the agent of one node enrol, once. `api`: lets a client ask, as long as it is valid. */
  readonly kind: 'join' | 'api';
  /** The node of a join token; whom an API token was made for. */
  readonly name: string;
  /** Of API tokens. */
  readonly role: 'view' | 'operate' | 'admin' | null;
  /** SHA-256 of the secret, hexadecimal. */
  readonly hash: string;
  readonly createdAt: number;
  readonly createdBy: string;
  /** Null: it does not expire. */
  readonly expiresAt: number | null;
  readonly usedAt: number | null;
  readonly revokedAt: number | null;
}

/** A key that speaks for a node. */
export interface IdentityRecord {
  readonly node: string;
  /** SHA-256 of the public key (SPKI), hexadecimal. */
  readonly keyHash: string;
  /** Serial number of the last certificate, hexadecimal. */
  readonly serial: string;
  readonly issuedAt: number;
  readonly expiresAt: number;
  readonly revokedAt: number | null;
}

/** Somebody changed something, or was refused. */
export interface AuditRecord {
  readonly at: number;
  /** `token:NAME`, `user:NAME`, `node:NAME`, `anonymous`. */
  readonly who: string;
  readonly action: string;
  readonly subject: string;
  readonly outcome: 'done' | 'refused';
  readonly address: string;
}

export interface Retention {
  /** What ended before is forgotten. */
  readonly before: number;
  /** Over this size the oldest changes are forgotten as well; absent: no bound. */
  readonly bytesMax?: number;
}

/** How much was forgotten. */
export interface Forgotten {
  readonly changes: number;
  /** Rows of what was believed of NodePorts. */
  readonly verdicts: number;
  readonly findings: number;
  readonly gaps: number;
  readonly audit: number;
}

/** Somebody, or Alertmanager, said that clients could not get in, and what was found to that. */
export interface Incident {
  readonly id: string;
  /** When it failed. */
  readonly at: number;
  /** Null while it lasts, as far as was told. */
  readonly endedAt: number | null;
  readonly createdAt: number;
  readonly createdBy: string;
  readonly origin: 'report' | 'alertmanager';
  /** `namespace/name`; empty when no Service is known. */
  readonly service: string;
  /** Empty: any node. */
  readonly node: string;
  /** 0: any NodePort of the Service. */
  readonly port: number;
  readonly protocol: Protocol | '';
  /** Address of the client; empty when it was not told. */
  readonly source: string;
  /** What was told, for a person. */
  readonly text: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Most likely first. */
  readonly causes: readonly RankedCause[];
  /** What was looked for and is not on record, one sentence each. */
  readonly notFound: readonly string[];
}

export interface IncidentQuery {
  readonly service?: string;
  readonly node?: string;
  readonly open?: boolean;
  readonly from?: number;
  readonly to?: number;
  readonly limit: number;
  readonly cursor?: string;
}

export interface Page<Item> {
  /** Newest first. */
  readonly items: readonly Item[];
  /** Cursor of the next page; absent on the last. */
  readonly next?: string;
}

/** What was believed of all NodePorts of one node since a time, as codes in the order of columns. */
export interface VerdictRow {
  readonly node: string;
  readonly at: number;
  readonly agent: 'connected' | 'disconnected' | 'never';
  /** Id of the columns. */
  readonly columns: string;
  readonly codes: string;
}

/** Columns that rows refer to: JSON text, and its hash as id. */
export interface VerdictColumns {
  readonly id: string;
  readonly body: string;
}
