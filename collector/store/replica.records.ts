// What collectors that share a store keep in it about each other: who owns a node, what the owner knows of it, who is there, and who leads. Times are milliseconds
// since 1970 by the clock of the database, so that replicas need not agree on theirs.

/** Proves that a write is its owner's: it is made only while this replica still owns the node (empty: the ledger of the cluster) by this very token. */
export interface Fence {
  readonly node: string;
  readonly holder: string;
  /** Grows with every change of the owner. */
  readonly token: number;
}

/** A replica that wants to own a node, because its agent has connected there. */
export interface Claim {
  readonly node: string;
  readonly holder: string;
  /** The run of the agent, and where it connects from; empty where no agent is meant. */
  readonly stream: string;
  readonly address: string;
  /** An agent that comes back within this time after another took its place runs beside it. */
  readonly cloneMs: number;
  /** A replica that has given no sign of life for so long is dead. */
  readonly deadMs: number;
}

export interface Claimed {
  readonly token: number;
  /** Who owned it until now, whether that one lives, and from where the agent was connected to it; absent where nobody did. */
  readonly before?: { readonly holder: string; readonly lives: boolean; readonly stream: string; readonly address: string; readonly connected: boolean };
  /** Whether the agent's run was replaced by another not long ago: two agents speak for the node. */
  readonly isClone: boolean;
}

/** What a node's owner has written of it. Each revision says when (in writes of this node) that part was changed last. */
export interface NodeState {
  readonly node: string;
  readonly holder: string;
  readonly token: number;
  readonly connected: boolean;
  /** Milliseconds since 1970; 0: never. */
  readonly since: number;
  readonly stateAt: number;
  /** JSON, as the collector's state has it: who speaks for the node, and findings younger than the grace period. */
  readonly agent: string | null;
  readonly pending: string | null;
  readonly revision: number;
  readonly factsRevision: number;
  readonly findingsRevision: number;
  readonly changesRevision: number;
}

/** Some of the facts of a node: those whose keys fall into one bucket, as zstd of a JSON array; empty when there are none. */
export interface StoredBucket {
  readonly bucket: number;
  readonly body: Uint8Array;
}

/** What an owner writes of a node. */
export interface NodeNews {
  readonly buckets: readonly StoredBucket[];
  /** Whether buckets that are not among them are empty. */
  readonly whole: boolean;
  readonly connected: boolean;
  readonly since: number;
  readonly stateAt: number;
  readonly agent: string | null;
  readonly pending: string | null;
}

/** A collector on this store. */
export interface ReplicaRecord {
  readonly id: string;
  /** Where it listens. */
  readonly address: string;
  readonly version: string;
  readonly startedAt: number;
  /** Milliseconds since it was heard of. */
  readonly ageMs: number;
}

/** What a replica learns when it shows that it is there. */
export interface Attendance {
  readonly replicas: readonly ReplicaRecord[];
  readonly leader: string;
}

/** Something that only the owner of a node can do, asked by another replica. */
export interface Question {
  readonly id: string;
  /** The replica that is asked. */
  readonly replica: string;
  readonly node: string;
  /** JSON. */
  readonly body: string;
}

/** A key and a certificate, as PEM. */
export interface StoredAuthority {
  readonly key: string;
  readonly certificate: string;
}

/** The queries that replicas need; the same on both engines. */
export interface ReplicaQueries {
  /** Says that a replica is there, and makes it the leader where nobody has led for `deadMs`. */
  attend(replica: Omit<ReplicaRecord, 'ageMs'>, deadMs: number): Promise<Attendance>;
  /** Takes a replica off the list at once; what it owned is shown without an agent. */
  leave(id: string): Promise<void>;
  /** Makes a replica the owner of a node, whoever was it before; writes of that one are refused from then on. */
  takeNode(claim: Claim): Promise<Claimed>;
  /** Makes a replica the owner of all nodes whose owner is not among the living. */
  adoptNodes(holder: string, living: readonly string[]): Promise<readonly { readonly node: string; readonly token: number }[]>;
  /** Of some nodes, or of all. */
  nodeStates(nodes?: readonly string[]): Promise<readonly NodeState[]>;
  saveNodeState(fence: Fence, news: NodeNews): Promise<void>;
  /** Buckets of a node that were written after a revision. */
  factBuckets(node: string, after: number): Promise<readonly StoredBucket[]>;
  /** Changes of a node that were stored after the one with this number of the store, in that order. */
  changesAfter(
    node: string,
    after: number,
    limit: number,
  ): Promise<{ readonly items: readonly import('../../shared/model/change.ts').SequencedChange[]; readonly last: number }>;
  /** The number that the store gave to its last change. */
  lastChange(): Promise<number>;
  saveQuestion(question: Question): Promise<void>;
  /** Questions to a replica that nobody has answered. */
  questions(replica: string): Promise<readonly Question[]>;
  answerQuestion(id: string, answer: string): Promise<void>;
  /** The answer, once; undefined while there is none. A question that is given up is removed as well. */
  takeAnswer(id: string, givesUp: 'waits' | 'gives up'): Promise<string | undefined>;
  /** The authority that the store keeps: the one that is there, or else the one given, which is kept from then on. Undefined where there is neither. */
  sharedAuthority(own?: StoredAuthority): Promise<StoredAuthority | undefined>;
}
