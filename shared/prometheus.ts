// Prometheus' text form (version 0.0.4): families of samples, with what their names and labels must be. Pure.

export interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface FamilyHead {
  /** Ends in `_total` for a counter, and in a base unit (`_seconds`, `_bytes`) where it has one. */
  readonly name: string;
  readonly type: 'gauge' | 'counter';
  readonly help: string;
}

/** The type of such a page. */
export const prometheusType = 'text/plain; version=0.0.4; charset=utf-8';

/** One family; without samples its head alone, so that a reader knows that it exists. */
export function familyText({ name, type, help }: FamilyHead, samples: readonly Sample[]): string {
  const lines = samples.map(({ labels, value }) => `${name}${labelText(labels)} ${numberText(value)}\n`);
  return `# HELP ${name} ${help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')}\n# TYPE ${name} ${type}\n${lines.join('')}`;
}

/** A family with one sample without labels. */
export const valueText = (head: FamilyHead, value: number): string => familyText(head, [{ labels: {}, value }]);

export interface HistogramValues {
  /** Upper bounds in the unit of the name, rising; the class above the last is added. */
  readonly bounds: readonly number[];
  /** How many were no larger than each bound; the last is all. */
  readonly cumulative: readonly number[];
  readonly sum: number;
}

/** A histogram: a bucket for each bound, the sum and the count. */
export function histogramText(name: string, help: string, { bounds, cumulative, sum }: HistogramValues): string {
  const buckets = [...bounds.map(String), '+Inf'].map((le, index) => `${name}_bucket{le="${le}"} ${cumulative[index] ?? 0}\n`);
  return `# HELP ${name} ${help}\n# TYPE ${name} histogram\n${buckets.join('')}${name}_sum ${numberText(sum)}\n${name}_count ${cumulative.at(-1) ?? 0}\n`;
}

function labelText(labels: Sample['labels']): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')}"`);
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
}

const numberText = (value: number): string => (value === Number.POSITIVE_INFINITY ? '+Inf' : value === Number.NEGATIVE_INFINITY ? '-Inf' : String(value));
