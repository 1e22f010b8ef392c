// Nodes × NodePorts in a form that is small for thousands of each: one row a node, one code a NodePort, runs of equal codes counted. Pure; pages read it with the same code.
import type { Family } from '../../shared/model/address.ts';
import type { Protocol } from '../../shared/model/fact.ts';
import type { Symptom } from '../../shared/model/outcome.ts';

/** One NodePort in one family. */
export interface MatrixColumn {
  readonly port: number;
  readonly protocol: Protocol;
  readonly family: Family;
  /** `namespace/name:port`. */
  readonly service: string;
}

export interface MatrixRow {
  readonly node: string;
  readonly agent: 'connected' | 'disconnected' | 'never';
  /** Runs of codes: see `packCodes`. */
  readonly codes: string;
}

/** `fault`: a finding shuts clients out or will. `by-design`: clients are not served, and should not be. `pending`: differs, but for less than the grace period. */
export type CellState = 'ok' | 'fault' | 'by-design' | 'pending' | 'unknown';

/** What the codes mean: a state, and what a client outside meets. `-`: the node is not to serve the NodePort. */
export const codes = {
  o: { state: 'ok', symptom: 'ok' },
  t: { state: 'fault', symptom: 'timeout' },
  r: { state: 'fault', symptom: 'refused' },
  x: { state: 'fault', symptom: 'unreachable' },
  w: { state: 'fault', symptom: 'ok' },
  d: { state: 'by-design', symptom: 'timeout' },
  p: { state: 'pending', symptom: 'unknown' },
  '?': { state: 'unknown', symptom: 'unknown' },
} as const satisfies Readonly<Record<string, { readonly state: CellState; readonly symptom: Symptom }>>;
export type Code = keyof typeof codes | '-';

/** The code of a cell. */
export function codeOf(state: CellState, symptom: Symptom): Code {
  switch (state) {
    case 'ok':
      return 'o';
    case 'by-design':
      return 'd';
    case 'pending':
      return 'p';
    case 'unknown':
      return '?';
    case 'fault':
      return symptom === 'timeout' ? 't' : symptom === 'refused' ? 'r' : symptom === 'unreachable' ? 'x' : 'w';
  }
}

/** Counts runs: `ooot` becomes `o3t`. */
export const packCodes = (plain: string): string => plain.replace(/([^\d])\1+/g, (run, code: string) => `${code}${run.length}`);

/** The codes one by one. What counts to more than `most` is cut: a row may come from elsewhere. */
export function unpackCodes(packed: string, most = 1_000_000): string {
  let plain = '';
  for (const [, code = '', count] of packed.matchAll(/(\D)(\d*)/g)) {
    if (plain.length >= most) break;
    plain += code.repeat(count === '' ? 1 : Math.min(Number(count), most - plain.length));
  }
  return plain;
}

/** How many NodePorts of a row are in each state. */
export function countCodes(packed: string): { readonly [S in CellState]: number } {
  const counts = { ok: 0, fault: 0, 'by-design': 0, pending: 0, unknown: 0 };
  for (const [, code = '', count] of packed.matchAll(/(\D)(\d*)/g))
    if (code in codes) counts[codes[code as keyof typeof codes].state] += count === '' ? 1 : Number(count);
  return counts;
}

/** `30080/tcp/4 shop/web:http`: tells columns apart. */
export const columnKey = ({ port, protocol, family, service }: MatrixColumn): string => `${port}/${protocol}/${family} ${service}`;

/** The order of columns. */
export const byColumn = (a: MatrixColumn, b: MatrixColumn): number =>
  a.port - b.port || (a.protocol < b.protocol ? -1 : a.protocol > b.protocol ? 1 : a.family - b.family || (a.service < b.service ? -1 : 1));

/** Plain codes of one list of columns in the order of another; `-` where it lacks one. */
export function reorder(plain: string, from: readonly MatrixColumn[], to: readonly MatrixColumn[]): string {
  const at = new Map(from.map((column, index) => [columnKey(column), index]));
  return to.map((column) => plain[at.get(columnKey(column)) ?? -1] ?? '-').join('');
}
