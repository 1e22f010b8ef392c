// Asks the owner of a node what only it can answer: to walk a packet on the live rules of the agent that is connected there, or to end its session.
import { randomUUID } from 'node:crypto';
import { reasonOf } from '../../shared/errors.ts';
import { limits } from '../../shared/limits.ts';
import type { Question, Store } from '../store/store.ts';

export type Asked =
  | { readonly kind: 'trace'; readonly packet: Record<string, string> }
  | { readonly kind: 'capture' }
  | { readonly kind: 'end session'; readonly code: string; readonly reason: string };

/** What comes back; `error` in a sentence. */
export interface Answer {
  readonly result?: unknown;
  readonly error?: string;
}

export interface QuestionsOptions {
  readonly store: Pick<Store, 'saveQuestion' | 'questions' | 'answerQuestion' | 'takeAnswer'>;
  readonly self: string;
  readonly tell: (message: string) => void;
  readonly answer: (node: string, asked: Asked) => Promise<Answer>;
  readonly onFailure: (error: unknown) => void;
}

/** How often an answer is looked for without word that it is there. */
const lookMs = 500;

export class Questions {
  readonly #options: QuestionsOptions;
  readonly #waiting = new Map<string, () => void>();
  readonly #working = new Set<string>();

  constructor(options: QuestionsOptions) {
    this.#options = options;
  }

  /** Asks another replica. An answer that does not come in time is an error in the answer. */
  async ask(replica: string, node: string, asked: Asked): Promise<Answer> {
    const id = randomUUID();
    const { store, tell } = this.#options;
    await store.saveQuestion({ id, replica, node, body: JSON.stringify(asked) });
    tell(`ask ${replica}`);
    const answerMs = asked.kind === 'capture' ? limits.captureMs + limits.replicaAnswerMs : limits.replicaAnswerMs;
    const deadline = performance.now() + answerMs;
    for (;;) {
      const isLate = performance.now() > deadline;
      const answer = await store.takeAnswer(id, isLate ? 'gives up' : 'waits');
      if (answer !== undefined) return JSON.parse(answer) as Answer;
      if (isLate) return { error: `the replica ${replica}, which the agent of ${node} is connected to, did not answer within ${answerMs / 1_000} s` };
      await this.#news(id);
    }
  }

  /** A message of another replica, where it is about questions. */
  heard(message: string): void {
    const [what, whom = ''] = message.split(' ');
    if (what === 'answer') this.#waiting.get(whom)?.();
    if (what === 'ask' && whom === this.#options.self) this.look();
  }

  /** Looks for questions to this replica. */
  look(): void {
    void this.#work().catch((error: unknown) => this.#options.onFailure(error));
  }

  #news(id: string): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(id);
        resolve();
      };
      const timer = setTimeout(done, lookMs);
      this.#waiting.set(id, done);
    });
  }

  async #work(): Promise<void> {
    const open = await this.#options.store.questions(this.#options.self);
    await Promise.all(open.filter(({ id }) => !this.#working.has(id)).map((question) => this.#answer(question)));
  }

  async #answer({ id, node, body }: Question): Promise<void> {
    const { store, answer, tell } = this.#options;
    this.#working.add(id);
    try {
      const found = await answer(node, JSON.parse(body) as Asked).catch((error: unknown): Answer => ({ error: reasonOf(error) }));
      await store.answerQuestion(id, JSON.stringify(found));
      tell(`answer ${id}`);
    } finally {
      this.#working.delete(id);
    }
  }
}
