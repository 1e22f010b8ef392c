// The store: what outlives a restart (ledger, findings, nodes, gaps, credentials, audit), behind an interface that knows nothing of its engine.
import type { SequencedChange } from '../../shared/model/change.ts';
import type { Finding } from '../../shared/model/finding.ts';
import type {
  AuditRecord,
  ChangePage,
  ChangeQuery,
  Credential,
  FindingQuery,
  FindingRecord,
  Forgotten,
  Gap,
  GapQuery,
  IdentityRecord,
  Incident,
  IncidentQuery,
  NodeRecord,
  Page,
  Retention,
  VerdictColumns,
  VerdictRow,
} from './records.ts';
import type { Fence, ReplicaQueries } from './replica.records.ts';

export * from './records.ts';
export * from './replica.records.ts';

/**
 * What both engines do with the same queries. Every method resolves when its writes are committed to disk. A write with a fence is refused with LEASE_LOST where
 * another replica owns the node by then.
 */
export interface StoreQueries extends ReplicaQueries {
  /** Stores what is new; a change that is there already (by node, stream and seq) is left alone. Resolves to the changes that were new. */
  appendChanges(changes: readonly SequencedChange[], fence?: Fence): Promise<readonly SequencedChange[]>;
  /** The highest seq stored of a stream; 0 when there is none. */
  lastSeq(node: string, stream: string): Promise<number>;
  changes(query: ChangeQuery): Promise<ChangePage>;
  /** Opens findings, or writes the newer text of open ones. */
  upsertFindings(records: readonly { readonly finding: Finding; readonly openedAt: number }[], fence?: Fence): Promise<void>;
  closeFindings(ids: readonly string[], at: number, fence?: Fence): Promise<void>;
  /** Newest first. */
  findings(query: FindingQuery): Promise<readonly FindingRecord[]>;
  /** The same page by page. */
  findingPage(query: FindingQuery): Promise<Page<FindingRecord>>;
  /** Adds an incident, or writes what is newer of one with the same id. */
  saveIncident(incident: Incident): Promise<void>;
  incident(id: string): Promise<Incident | undefined>;
  incidents(query: IncidentQuery): Promise<Page<Incident>>;
  /** Adds rows to the history of what was believed, and the columns that they refer to where those are new. */
  appendVerdicts(rows: readonly VerdictRow[], columns: readonly VerdictColumns[]): Promise<void>;
  /** The last row of each node at a time, and the columns that they refer to. */
  verdictsAt(at: number): Promise<{ readonly rows: readonly VerdictRow[]; readonly columns: readonly VerdictColumns[] }>;
  saveNode(node: Omit<NodeRecord, 'firstSeenAt'>, fence?: Fence): Promise<void>;
  node(name: string): Promise<NodeRecord | undefined>;
  nodes(): Promise<readonly NodeRecord[]>;
  /** Stores what is new; one of numbers that is there already (by node, reason and seqs) is left alone, one of time alone grows by what overlaps it. */
  recordGaps(gaps: readonly Gap[], fence?: Fence): Promise<void>;
  /** Newest first. */
  gaps(query: GapQuery): Promise<readonly Gap[]>;
  /** The same page by page. */
  gapPage(query: GapQuery): Promise<Page<Gap>>;
  saveCredential(credential: Credential): Promise<void>;
  credential(id: string): Promise<Credential | undefined>;
  /** Newest first. */
  credentials(): Promise<readonly Credential[]>;
  /** Uses up a credential that is for one use. False when it is used, revoked or expired by then: of two that try at once, one succeeds. */
  useCredential(id: string, at: number): Promise<boolean>;
  /** False when there is none or it is revoked already. */
  revokeCredential(id: string, at: number): Promise<boolean>;
  /** Adds a key of a node, or writes its newer certificate. */
  saveIdentity(identity: IdentityRecord): Promise<void>;
  /** The keys of one node, newest first. */
  identities(node: string): Promise<readonly IdentityRecord[]>;
  /** Revokes all keys of a node. Resolves to how many. */
  revokeIdentities(node: string, at: number): Promise<number>;
  appendAudit(records: readonly AuditRecord[]): Promise<void>;
  /** Newest first. */
  audit(limit: number): Promise<readonly AuditRecord[]>;
  /** Forgets what is older than it need be kept. Open findings and what nodes are known stay. */
  forget(retention: Retention, fence?: Fence): Promise<Forgotten>;
}

/** A store; what fails rejects with STORE_FAILED. */
export interface Store extends StoreQueries {
  /** Faults of the store itself in sentences; none when it is sound. Reads everything, which takes as long as that takes. */
  verify(): Promise<readonly string[]>;
  /** Calls that are not answered yet. */
  waiting(): number;
  /** How collectors that share the store hear of each other; absent where it is of one collector alone. */
  readonly news?: StoreNews;
  close(): Promise<void>;
}

/** Short messages to everybody on the store. None need arrive: who must know looks as well. */
export interface StoreNews {
  tell(messages: readonly string[]): Promise<void>;
  /** Calls back for each message, and with `undefined` when some may have been missed; goes on through failures of the connection until `close()`. */
  listen(onMessage: (message: string | undefined) => void): { readonly isListening: boolean; close(): Promise<void> };
}

export interface OpenedStore {
  readonly store: Store;
  /** What was done to a damaged file; absent when it was sound. */
  readonly salvaged?: Salvaged;
}

export interface Salvaged {
  /** Where the damaged file lies now. */
  readonly setAside: string;
  /** Records that could be taken over from it. */
  readonly records: number;
  readonly reason: string;
}
