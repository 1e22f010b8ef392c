// Findings: diagnosed drifts and faults, as check, explain and the API give them.

import type { Family } from './address.ts';
import type { Actor, Change } from './change.ts';
import type { Protocol } from './fact.ts';
import type { Decider, Symptom } from './outcome.ts';

/** `error`: clients are shut out. `warning`: some are, or will be. `info`: by design, said so that nobody searches. */
export type Severity = 'error' | 'warning' | 'info';

export interface Evidence {
  /** Which witness: rules, objects (Kubernetes), sockets, settings (sysctl), changes, counters, processes, or the kernel (packets that it dropped). */
  readonly witness: 'rules' | 'objects' | 'sockets' | 'settings' | 'changes' | 'counters' | 'processes' | 'kernel';
  /** One sentence. */
  readonly text: string;
  readonly decider?: Decider;
}

export interface Finding {
  /** Stable while the fault lasts: node, NodePort and cause. */
  readonly id: string;
  /** A01 … E01 of the catalogue. */
  readonly cause: string;
  /** The cause in a few words. */
  readonly title: string;
  readonly severity: Severity;
  readonly confidence: 'certain' | 'likely' | 'possible';
  readonly node: string;
  /** `ns/name:port`; empty when the fault is not of one Service. */
  readonly service: string;
  /** The NodePort; 0 when the fault is not of one port. */
  readonly port: number;
  readonly protocol: Protocol | '';
  readonly family: Family | 0;
  readonly symptom: Symptom;
  /** What the client meets and why, in one or two sentences. */
  readonly summary: string;
  readonly evidence: readonly Evidence[];
  /** Commands to copy, in order; each a shell line that works on this node (or with kubectl). */
  readonly remedy: readonly string[];
  /** Milliseconds since 1970; absent offline. */
  readonly since?: number;
  /** The change that closed the gate, where the ledger has it. */
  readonly trigger?: Change;
  readonly actor?: Actor;
  /** Keys (`nodeport/…`) that the same root breaks besides this one. */
  readonly consequences?: readonly string[];
}
