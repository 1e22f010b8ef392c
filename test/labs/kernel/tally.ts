// Counts what the judge has held against the kernel, to be printed at the end of a run.
import type { Decider } from '../../../shared/model/outcome.ts';
import type { Game } from './contest.ts';

/** How often, by name. */
class Counts {
  readonly #counts = new Map<string, number>();

  add(name: string, times = 1): void {
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + times);
  }

  get(name: string): number {
    return this.#counts.get(name) ?? 0;
  }

  /** `drop 12, reject 3`, the most frequent first. */
  toString(): string {
    const sorted = [...this.#counts].sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1));
    return sorted.map(([name, count]) => `${name} ${count}`).join(', ');
  }
}

export class Tally {
  rulesets = 0;
  /** Rulesets that a tool did not accept: the generator's slips. */
  refused = 0;
  packets = 0;
  /** Packets whose fate the walk left open. */
  uncertain = 0;
  readonly kinds = new Counts();
  /** Packets by where they start, family and protocol. */
  readonly packetKinds = new Counts();
  readonly verdicts = new Counts();
  readonly deciders = new Counts();
  readonly reasons = new Counts();
  readonly counters = new Counts();

  count(kind: string, games: readonly Game[]): void {
    this.rulesets++;
    this.kinds.add(kind);
    for (const { asked, prediction } of games) {
      this.packets++;
      this.packetKinds.add(`${asked.place} ${asked.protocol}${asked.to.includes(':') ? ' IPv6' : ''}`);
      const [first] = prediction.outcomes;
      const lost = first?.reply !== undefined ? ', answer lost' : first?.later !== undefined ? ', later packet lost' : '';
      this.verdicts.add(prediction.certain ? `${first?.verdict}${lost}` : 'left open');
      this.deciders.add(first?.decidedBy === undefined ? 'nothing' : first.decidedBy.by);
      if (prediction.certain) continue;
      this.uncertain++;
      this.reasons.add(prediction.doubts[0] === undefined ? 'unknown' : reasonOf(prediction.doubts[0]));
    }
  }

  countCounters(compared: ReadonlyMap<string, number>): void {
    for (const [word, times] of compared) this.counters.add(word, times);
  }

  /** The lines of the report. */
  lines(): readonly string[] {
    return [
      `${this.rulesets} rulesets, ${this.packets} packets, ${this.uncertain} left open, ${this.refused} rulesets refused by their tools`,
      `kinds of rulesets: ${this.kinds}`,
      `kinds of packets: ${this.packetKinds}`,
      `verdicts: ${this.verdicts}`,
      `decided by: ${this.deciders}`,
      `rules whose counters were compared: ${this.counters}`,
      `left open because of: ${this.uncertain === 0 ? 'nothing' : this.reasons}`,
    ];
  }
}

/** What in a rule cannot be judged, in a word or two. */
function reasonOf({ by, text }: Decider): string {
  if (text.includes('same priority')) return 'order of chains of one priority';
  const match = /-m (limit|hashlimit|owner|length|ttl|hl|time|string|connlimit|quota|recent|mac|set)\b/.exec(text)?.[1];
  if (match !== undefined) return match === 'set' ? 'entry of an ipset that runs out' : `match ${match}`;
  const statement = /\b(limit rate|meta skuid|meta length|ip ttl|ip6 hoplimit|numgen|ct status|meta hour|quota)\b/.exec(text)?.[1];
  return statement ?? `${by}: ${text.replaceAll(/[0-9a-f.:/]{4,}/g, '…').slice(0, 60)}`;
}
