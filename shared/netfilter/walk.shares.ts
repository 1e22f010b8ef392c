// Says what share of a client's new connections takes some of the branches of a walk: branches exclude each other by chance, by client, and by what is assumed
// of rules that cannot be judged.
import { everything, formatPrefixes, type Interval, type IntervalSet, parsePrefix, size, union } from '../model/address.ts';
import type { Assumption } from './packet.ts';
import type { Branch } from './walk.ts';

/** Clients that the same branches hold for. */
export interface ClientClass {
  readonly branches: ReadonlySet<number>;
  /** Absent: all that the walk was asked about. */
  readonly sources?: IntervalSet;
}

/** The shares of a walk's branches, which are named by their positions. */
export class Shares {
  readonly #branches: readonly Branch[];
  readonly classes: readonly ClientClass[];

  constructor(branches: readonly Branch[]) {
    this.#branches = branches;
    this.classes = classesOf(branches);
  }

  /** The clients of some classes as prefixes. */
  prefixesOf(classes: readonly ClientClass[]): readonly string[] {
    const isSix = this.#branches.some(({ outcome }) => outcome.sources?.[0]?.includes(':'));
    return formatPrefixes(isSix ? 6 : 4, union(...classes.map(({ sources = [] }) => sources)));
  }

  /** The clients that some of these branches hold for, as prefixes. */
  sourcesOf(indices: readonly number[]): readonly string[] {
    return this.prefixesOf(this.classes.filter(({ branches }) => indices.some((index) => branches.has(index))));
  }

  /** How many client addresses some of these branches hold for. */
  clientsOf(indices: Iterable<number>): bigint {
    const wanted = [...indices];
    const met = this.classes.filter(({ branches }) => wanted.some((index) => branches.has(index)));
    return met.reduce((sum, { sources = everything(6) }) => sum + size(sources), 0n);
  }

  /** The largest share, 0…1, that these branches have together: of any one client, whatever rules that cannot be judged say. */
  of(indices: Iterable<number>): number {
    const wanted = new Set(indices);
    return this.classes.reduce((most, each) => Math.max(most, this.within(each, wanted)), 0);
  }

  /** The same of the clients of one class. */
  within({ branches }: ClientClass, wanted: ReadonlySet<number>): number {
    const [few, many] = branches.size < wanted.size ? [branches, wanted] : [wanted, branches];
    const both = [...few].filter((index) => many.has(index)).map((index) => this.#branches[index] as Branch);
    return rounded(largest(both.map(({ outcome, assumptions }) => ({ weight: outcome.weight, assumptions })).filter(({ weight }) => weight > 0)));
  }
}

/** The thirds of a whole are a whole again. */
const rounded = (share: number): number => Math.min(1, Math.round(share * 1e6) / 1e6);

/** A share that depends on assumptions. */
export interface Weighed {
  readonly weight: number;
  readonly assumptions: readonly Assumption[];
}

/** Adds up the weights that can come together: of what was assumed both ways, the way that gives more. */
export function largest(branches: readonly Weighed[], forksLeft = 12): number {
  const sum = branches.reduce((total, { weight }) => total + weight, 0);
  const fork = forksLeft === 0 ? undefined : forkOf(branches);
  if (fork === undefined) return sum;
  const where = (matched: boolean): readonly Weighed[] =>
    branches.flatMap(({ weight, assumptions }) => {
      const own = assumptions.filter((each) => assumptionKey(each) === fork);
      return own.some((each) => each.matched === !matched) ? [] : [{ weight, assumptions: assumptions.filter((each) => !own.includes(each)) }];
    });
  return Math.max(largest(where(true), forksLeft - 1), largest(where(false), forksLeft - 1));
}

function forkOf(branches: readonly Weighed[]): string | undefined {
  const seen = new Map<string, boolean>();
  for (const assumption of branches.flatMap(({ assumptions }) => assumptions)) {
    if (assumption.matched === 'either') continue;
    const key = assumptionKey(assumption);
    if (seen.has(key) && seen.get(key) !== assumption.matched) return key;
    seen.set(key, assumption.matched);
  }
  return undefined;
}

/** The rule that is assumed about. */
export const assumptionKey = ({ decider: { family, table, chain, rule, text } }: Assumption): string => `${family} ${table} ${chain} ${rule} ${text}`;

/** Divides the clients where any two branches differ in them. The branches of a walk that tells clients apart cover all of them. */
function classesOf(branches: readonly Branch[]): readonly ClientClass[] {
  const listed = branches.flatMap(({ outcome }, index) => (outcome.sources === undefined ? [] : [{ index, sources: outcome.sources }]));
  const all = branches.flatMap(({ outcome }, index) => (outcome.sources === undefined ? [index] : []));
  if (listed.length === 0) return [{ branches: new Set(all) }];
  const classes = new Map<string, { readonly branches: ReadonlySet<number>; readonly sources: Interval[] }>();
  for (const { interval, inside } of pieces(listed)) {
    const key = inside.join();
    const known = classes.get(key);
    if (known === undefined) classes.set(key, { branches: new Set([...all, ...inside]), sources: [interval] });
    else known.sources.push(interval);
  }
  return [...classes.values()];
}

/** The address line cut at every end of a prefix; pieces that no branch names are left out. */
function pieces(
  listed: readonly { readonly index: number; readonly sources: readonly string[] }[],
): readonly { readonly interval: Interval; readonly inside: readonly number[] }[] {
  const events = listed.flatMap(({ index, sources }) =>
    sources.flatMap((text) => {
      const interval = parsePrefix(text)?.interval;
      return interval === undefined
        ? []
        : [
            { at: interval.lo, index, change: 1 },
            { at: interval.hi + 1n, index, change: -1 },
          ];
    }),
  );
  events.sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0));
  const depth = new Map<number, number>();
  const found: { interval: Interval; inside: readonly number[] }[] = [];
  let from = 0n;
  for (const { at, index, change } of events) {
    if (at > from && depth.size > 0) found.push({ interval: { lo: from, hi: at - 1n }, inside: [...depth.keys()].sort((a, b) => a - b) });
    from = at;
    const now = (depth.get(index) ?? 0) + change;
    if (now === 0) depth.delete(index);
    else depth.set(index, now);
  }
  return found;
}
