// An answer of the collector in a view: asked when the view opens, and again when something happens that may change it.
import { useEffect, useState } from 'preact/hooks';
import type { OperationName } from '../../api/client.ts';
import { AskError, ask, askAll, type Question } from './client.ts';
import { live, type Topic } from './live.ts';
import type { Answers } from './types.ts';

export interface Answered<T> {
  /** The last answer to this very question; undefined before the first. */
  readonly answer: T | undefined;
  /** Why there is none, or why it may be old. */
  readonly problem: AskError | undefined;
  /** When the answer was last confirmed, in milliseconds since 1970 by the browser's clock; undefined before the first. */
  readonly at: number | undefined;
}

export interface Watching {
  /** Events after which the question is asked again. */
  readonly topics?: readonly Topic[];
  /** Milliseconds after which it is asked again in any case, more where the answer takes long; absent: never. */
  readonly everyMs?: number;
  /** All pages of a list, up to so many items; absent: the first page. */
  readonly most?: number;
}

interface Known {
  readonly answer: unknown;
  readonly tag: string | undefined;
  readonly at: number;
}

/** Answers that were seen last, so that going back shows them at once while they are asked anew. */
const known = new Map<string, Known>();
const knownMax = 40;
/** News come in bursts: the question waits a moment for the others, and leaves the collector alone for a while after: the longer, the more it costs. */
const gatherMs = 120;
const restMs = 400;
const restShare = 4;
const clockShare = 20;

/** The answer to a question; with undefined nothing is asked. */
export function useAnswer<Name extends OperationName>(question: Question<Name> | undefined, watching: Watching = {}): Answered<Answers<Name>> {
  type T = Answers<Name>;
  const path = question?.path;
  const [answered, setAnswered] = useState<Answered<T> & { readonly path: string | undefined }>(() => ({ path, ...remembered<T>(path) }));
  const topics = (watching.topics ?? []).join(' ');
  useEffect(() => {
    if (question === undefined) return undefined;
    setAnswered((last) => (last.path === path ? last : { path, ...remembered<T>(path) }));
    return follow({ question, topics: topics.split(' '), everyMs: watching.everyMs, most: watching.most }, (fresh) =>
      setAnswered((last) => ({ ...merged(last, question.path, fresh), path })),
    );
  }, [path, topics, watching.everyMs, watching.most]);
  return answered.path === path ? answered : remembered<T>(path);
}

function remembered<T>(path: string | undefined): Answered<T> {
  const found = path === undefined ? undefined : known.get(path);
  return { answer: found?.answer as T | undefined, problem: undefined, at: found?.at };
}

// A question that fails keeps the answer before, with the reason why it may be old.
const merged = <T>(last: Answered<T> & { readonly path: string | undefined }, path: string, fresh: Partial<Answered<T>>): Answered<T> => ({
  answer: fresh.answer ?? (last.path === path ? last.answer : undefined),
  at: fresh.at ?? (last.path === path ? last.at : undefined),
  problem: fresh.problem,
});

interface Following<Name extends OperationName> {
  readonly question: Question<Name>;
  readonly topics: readonly string[];
  readonly everyMs: number | undefined;
  readonly most: number | undefined;
}

/** Asks, and asks again; returns what ends it. */
function follow<Name extends OperationName>(
  { question, topics, everyMs, most }: Following<Name>,
  tell: (fresh: Partial<Answered<Answers<Name>>>) => void,
): () => void {
  const ending = new AbortController();
  let timer: ReturnType<typeof setTimeout> | undefined;
  let asking = false;
  let again = false;
  const later = (ms: number): void => {
    clearTimeout(timer);
    timer = setTimeout(() => void run(), ms);
  };
  const run = async (): Promise<void> => {
    if (asking) {
      again = true;
      return;
    }
    asking = true;
    const began = performance.now();
    await answerTo(question, { most, signal: ending.signal }).then(tell, (error: unknown) =>
      tell({ problem: error instanceof AskError ? error : new AskError(0, String(error)) }),
    );
    asking = false;
    if (ending.signal.aborted) return;
    const tookMs = performance.now() - began;
    if (again) later(Math.max(restMs, restShare * tookMs));
    else if (everyMs !== undefined) later(Math.max(everyMs, clockShare * tookMs));
    again = false;
  };
  const unsubscribe = live.subscribe(({ topic }) => {
    if (!topics.includes(topic) && topic !== 'reset') return;
    if (asking) again = true;
    else later(gatherMs);
  });
  void run();
  return () => {
    ending.abort();
    clearTimeout(timer);
    unsubscribe();
  };
}

/** Asks once, with the tag of what is known. */
async function answerTo<Name extends OperationName>(
  question: Question<Name>,
  { most, signal }: { readonly most: number | undefined; readonly signal: AbortSignal },
): Promise<Answered<Answers<Name>>> {
  const last = known.get(question.path);
  const options = { known: last?.tag, signal };
  const fresh = most === undefined ? await ask(question, options) : await askAll(question, { ...options, most });
  const kept: Known = { answer: fresh?.answer ?? last?.answer, tag: fresh === undefined ? last?.tag : fresh.tag, at: Date.now() };
  known.delete(question.path);
  known.set(question.path, kept);
  if (known.size > knownMax) known.delete([...known.keys()][0] as string);
  return { answer: kept.answer as Answers<Name>, at: kept.at, problem: undefined };
}
