// What is worth telling others: that a Service's NodePorts stop or begin to answer for a cause, on whichever nodes. Not every node's word, and not what is by design. Pure.
import type { Finding } from '../../shared/model/finding.ts';
import type { LiveEvent } from '../state/state.ts';

/** A change of the state of one Service (or node, where the fault is not of one Service) for one cause. */
export interface StateChange {
  readonly state: 'broken' | 'mended';
  /** `namespace/name`; empty where the fault is of a node. */
  readonly service: string;
  readonly cause: string;
  /** Nodes with the fault; of what is mended, the last. */
  readonly nodes: readonly string[];
  /** The first finding of it; of what is mended, the last. */
  readonly finding: Finding;
  readonly at: number;
}

/** Open findings by what they are told under. Replaced as a whole by each step. */
export type OpenByCause = ReadonlyMap<string, ReadonlyMap<string, Finding>>;

export const serviceOf = ({ service }: Pick<Finding, 'service'>): string => service.split(':')[0] ?? '';

const keyOf = (finding: Finding): string => `${serviceOf(finding) || `node ${finding.node}`} ${finding.cause}`;

/** Takes one event. A change comes when the first finding of a cause opens, and when the last has closed. */
export function stepStates(before: OpenByCause, event: LiveEvent): { readonly open: OpenByCause; readonly change?: StateChange } {
  if (event.kind !== 'finding-opened' && event.kind !== 'finding-changed' && event.kind !== 'finding-closed') return { open: before };
  const { finding, at } = event;
  const key = keyOf(finding);
  const own = new Map(before.get(key) ?? []);
  const was = own.size;
  if (event.kind === 'finding-closed' || finding.severity === 'info') own.delete(finding.id);
  else own.set(finding.id, finding);
  const open = new Map(before);
  if (own.size === 0) open.delete(key);
  else open.set(key, own);
  const common = { service: serviceOf(finding), cause: finding.cause, finding, at };
  if (was === 0 && own.size > 0) return { open, change: { ...common, state: 'broken', nodes: [finding.node] } };
  if (was > 0 && own.size === 0) return { open, change: { ...common, state: 'mended', nodes: [finding.node] } };
  return { open };
}
