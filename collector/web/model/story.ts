// What a story is about, and the commands that tell the same in a terminal. Pure.

import type { Finding } from '../../../shared/model/finding.ts';
import type { Explanation } from '../../explain/explain.ts';

/** A NodePort on a node, or a whole node where a finding is of no NodePort and breaks none. */
export interface Subject {
  readonly node: string;
  readonly port?: number;
  readonly protocol?: string;
}

/** Of a finding that is of no single NodePort, the first that it breaks stands for all. */
export function subjectOf({ node, port, protocol, consequences = [] }: Pick<Finding, 'node' | 'port' | 'protocol' | 'consequences'>): Subject {
  if (port !== 0) return { node, port, protocol: protocol === '' ? 'tcp' : protocol };
  return { node, ...(consequences.map(nodePortOfKey).find((found) => found !== undefined) ?? {}) };
}

/** The NodePort that a key `nodeport/tcp/4/30080` names. */
export function nodePortOfKey(key: string): { readonly port: number; readonly protocol: string } | undefined {
  const [, protocol, port] = /^nodeport\/(tcp|udp|sctp)\/[46]\/(\d{1,5})$/.exec(key) ?? [];
  return protocol === undefined ? undefined : { port: Number(port), protocol };
}

/** Commands that ask the same of the same collector, as they are typed. */
export function commandsOf({ node, port, protocol }: Subject, server: string): string[] {
  const asked = ` --server ${server}`;
  if (port === undefined) return [`portreeve get findings --node ${word(node)}${asked}`];
  const number = protocol === undefined || protocol === 'tcp' ? String(port) : `${port}/${protocol}`;
  return [`portreeve explain ${word(node)} ${number}${asked}`, `portreeve get changes --node ${word(node)}${asked}`];
}

/** A name as one word of a shell. */
const word = (text: string): string => (/^[A-Za-z0-9._-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`);

/** Where a story stands, in a word, and what colours it. */
export interface Stand {
  readonly tone: 'bad' | 'warn' | 'open' | 'good' | 'design';
  readonly text: string;
}

export interface Standing {
  /** What the collector says of the NodePort now; undefined for what is over, and for what is of no NodePort. */
  readonly kind: Explanation['kind'] | undefined;
  readonly finding: Pick<Finding, 'severity' | 'port'> | undefined;
  readonly isOver?: boolean;
}

export function standOf({ kind, finding, isOver = false }: Standing): Stand {
  if (isOver) return { tone: 'good', text: 'is over' };
  if (finding?.port === 0) return wholeNode[finding.severity];
  if (kind === 'healthy') return { tone: 'good', text: 'answers' };
  if (kind === 'none') return { tone: 'open', text: 'is no NodePort' };
  if (kind === 'unknown') return { tone: 'open', text: 'is not known' };
  if (kind === 'by-design' || finding?.severity === 'info') return { tone: 'design', text: 'does not answer, by design' };
  if (finding?.severity === 'warning') return { tone: 'warn', text: 'is at risk' };
  return { tone: 'bad', text: 'does not answer' };
}

const wholeNode: Readonly<Record<Finding['severity'], Stand>> = {
  error: { tone: 'bad', text: 'shuts clients out' },
  warning: { tone: 'warn', text: 'may shut clients out' },
  info: { tone: 'design', text: 'worth knowing' },
};

/** What stands above the commands of a story. */
export function remedyTitle({ tone }: Stand, { isOver, port }: { readonly isOver: boolean; readonly port: number | undefined }): string {
  if (isOver) return 'What opens it, should it come back';
  if (tone === 'design') return port === 0 ? 'What changes it' : 'If it should answer';
  return 'What opens it';
}
