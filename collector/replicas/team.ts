// The collector among its like: alone on its store, or one of several. What the rest of the collector needs of the matter, either way.
import { reasonOf } from '../../shared/errors.ts';
import type { Change } from '../../shared/model/change.ts';
import { ownStream } from '../state/own-stream.ts';
import type { CollectorState } from '../state/state.ts';
import type { Store } from '../store/store.ts';
import { version } from '../version.ts';
import { ClusterLedger } from './cluster-ledger.ts';
import { type Ownership, soleOwner } from './ownership.ts';
import type { Answer } from './questions.ts';
import { type ReplicaItem, Replicas, type ReplicasOptions } from './replicas.ts';

/** What an agent that is connected somewhere can be asked. */
export interface RemoteSession {
  trace(packet: Record<string, string>): Promise<Answer>;
  capture(): Promise<Answer>;
  /** Ends it, with a code and a reason for the agent. */
  refuse(code: string, reason: string): void;
}

export interface Team {
  /** The store, whose writes the others hear of. */
  readonly store: Store;
  readonly ownership: Ownership;
  /** Whether this collector does what one does for all (retention, the ledger of the cluster). */
  isLeader(): boolean;
  /** Whether this collector writes what is believed of a node into the history: its owner does, and the leader where none lives. */
  keeps(node: string): boolean;
  replicas(): readonly ReplicaItem[];
  /** Why answers are not complete yet; undefined when they are. */
  notReady(): string | undefined;
  /** The session of a node, wherever its agent is connected. */
  session(node: string): RemoteSession | undefined;
  /** Appends changes that this collector has seen by itself. Resolves after the commit. */
  record(changes: readonly Change[]): Promise<void>;
  /** Takes changes of cluster objects, which every replica sees and one writes. */
  recordOfCluster(changes: readonly Change[]): Promise<void>;
  /** Where it listens, once that is known. */
  setAddress(address: string): void;
  close(): Promise<void>;
}

export interface TeamOptions {
  readonly store: Store;
  readonly state: CollectorState;
  readonly log: ReplicasOptions['log'];
  /** Sessions of agents that are connected here. */
  readonly session: (node: string) => RemoteSession | undefined;
}

/** Joins the other collectors where the store can be shared. */
export const joinTeam = (options: TeamOptions): Promise<Team> => (options.store.news === undefined ? Promise.resolve(alone(options)) : shared(options));

function alone({ store, state, session }: TeamOptions): Team {
  const startedAt = Date.now();
  const record = ownStream(store, state, soleOwner);
  let address = '';
  return {
    store,
    ownership: soleOwner,
    isLeader: () => true,
    keeps: () => true,
    replicas: () => {
      const agents = state.nodes.filter(({ connected }) => connected).length;
      return [{ id: 'this', address, version, startedAt, seenAgoMs: 0, alive: true, leader: true, self: true, agents }];
    },
    notReady: () => undefined,
    session,
    record,
    recordOfCluster: record,
    setAddress: (given) => {
      address = given;
    },
    close: async () => {},
  };
}

async function shared({ store, state, log, session }: TeamOptions): Promise<Team> {
  const { news } = store;
  if (news === undefined) throw new Error('a store that is shared tells news');
  const replicas: Replicas = await Replicas.join({
    store,
    news,
    state,
    log,
    answer: async (node, asked) => {
      const found = session(node);
      if (found === undefined) return { error: `the agent of ${node} is not connected any more` };
      if (asked.kind === 'trace') return await found.trace(asked.packet);
      if (asked.kind === 'capture') return await found.capture();
      found.refuse(asked.code, asked.reason);
      return {};
    },
    onLost: (node) => session(node)?.refuse('SESSION_REPLACED', `the agent of ${node} speaks to another replica of the collector`),
    onLead: () => ledger.review(),
  });
  const record = ownStream(replicas.store, state, replicas);
  const ledger = new ClusterLedger({ store, isLeader: () => replicas.isLeader, record });
  return {
    store: replicas.store,
    ownership: replicas,
    isLeader: () => replicas.isLeader,
    keeps: (node) => replicas.keeps(node),
    replicas: () => replicas.items,
    notReady: () => (replicas.isReady ? undefined : 'what the other replicas know has not been read yet'),
    session: (node) => session(node) ?? remoteSession(replicas, node, log),
    record,
    recordOfCluster: (changes) => ledger.take(changes, Date.now()),
    setAddress: (address) => replicas.setAddress(address),
    close: () => replicas.close(),
  };
}

function remoteSession(replicas: Replicas, node: string, log: ReplicasOptions['log']): RemoteSession | undefined {
  const ask = replicas.asker(node);
  if (ask === undefined) return undefined;
  return {
    trace: (packet) => ask({ kind: 'trace', packet }),
    capture: () => ask({ kind: 'capture' }),
    refuse: (code, reason) => {
      ask({ kind: 'end session', code, reason }).catch((error: unknown) =>
        log.error({ node, reason: reasonOf(error) }, 'a session at another replica could not be ended'),
      );
    },
  };
}
