// Keeps the facts of the node: walks what a change can concern, and says so where that fails.
import { reasonOf } from '../shared/errors.ts';
import type { Fact } from '../shared/model/fact.ts';
import { type Judged, judgeNode, type TouchedChains } from '../shared/netfilter/facts.incremental.ts';
import { nothingWanted, type Wanted } from '../shared/netfilter/facts.ts';
import type { NodeState } from '../shared/netfilter/node.ts';

/** Key of the fact that says that the walk failed. */
export const judgement = 'source/judgement';

export class Judge {
  readonly #onFailure: (reason: string) => void;
  #judged: Judged | undefined;
  #facts: ReadonlyMap<string, Fact> = new Map();
  #wanted: Wanted = nothingWanted;

  constructor(onFailure: (reason: string) => void) {
    this.#onFailure = onFailure;
  }

  /** What it judges for, besides what the rules name. */
  get wanted(): Wanted {
    return this.#wanted;
  }

  /** NodePorts to judge from the next time on, besides those that the rules name. */
  want(wanted: Wanted): void {
    this.#wanted = wanted;
  }

  /** How many NodePorts were walked the last time. */
  get walked(): number {
    return this.#judged?.walked ?? 0;
  }

  /**
   * Facts of the node, by key. Chains that may differ from the last time are named by table. What cannot be judged is said to be so: a rule that the walk trips
   * over must neither end the agent nor leave old answers standing.
   */
  judge(node: NodeState, touched: TouchedChains): ReadonlyMap<string, Fact> {
    try {
      this.#judged = judgeNode(node, this.#wanted, this.#judged === undefined ? undefined : { judged: this.#judged, touched });
      this.#facts = new Map(this.#judged.facts.map((fact) => [fact.key, fact]));
    } catch (error) {
      const reason = reasonOf(error).slice(0, 2_000);
      this.#onFailure(reason);
      // What was touched meanwhile is forgotten with it, so the next time everything is walked.
      this.#judged = undefined;
      this.#facts = new Map([[judgement, { kind: 'source', key: judgement, source: 'judgement', outcome: 'failed', reason }]]);
    }
    return this.#facts;
  }
}
