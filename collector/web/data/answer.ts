// An answer of the collector in a view: asked when the view opens, and again when something happens that may change it.
import { useEffect, useState } from 'preact/hooks';
import { AskError, ask } from './client.ts';
import { live, type Topic } from './live.ts';

export interface Answered<T> {
  /** The last answer to this very question; undefined before the first. */
  readonly answer: T | undefined;
  /** Why there is none, or why it may be old. */
  readonly problem: AskError | undefined;
  /** Milliseconds since 1970, by the browser's clock; undefined before the first answer. */
  readonly at: number | undefined;
}

export interface Watching {
  /** Events after which the question is asked again. */
  readonly topics?: readonly Topic[];
  /** Milliseconds after which it is asked again in any case; absent: never. */
  readonly everyMs?: number;
}

/** Answers that were seen last, so that going back shows them at once while they are asked anew. */
const known = new Map<string, { readonly answer: unknown; readonly at: number }>();
const knownMax = 40;
/** News come in bursts: the question waits a moment for the others, and leaves the collector alone for a while after. */
const gatherMs = 120;
const restMs = 400;

/** The answer to a path below /api/v1; with undefined nothing is asked. */
export function useAnswer<T>(path: string | undefined, watching: Watching = {}): Answered<T> {
  const [answered, setAnswered] = useState<Answered<T> & { readonly path: string | undefined }>(() => ({ path, ...remembered<T>(path) }));
  const topics = (watching.topics ?? []).join(' ');
  useEffect(() => {
    if (path === undefined) return undefined;
    setAnswered((last) => (last.path === path ? last : { path, ...remembered<T>(path) }));
    return follow<T>({ path, topics: topics.split(' '), everyMs: watching.everyMs }, (fresh) =>
      setAnswered((last) => ({ ...merged(last, path, fresh), path })),
    );
  }, [path, topics, watching.everyMs]);
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

interface Following {
  readonly path: string;
  readonly topics: readonly string[];
  readonly everyMs: number | undefined;
}

/** Asks, and asks again; returns what ends it. */
function follow<T>({ path, topics, everyMs }: Following, tell: (fresh: Partial<Answered<T>>) => void): () => void {
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
    await ask<T>(path, ending.signal).then(
      (answer) => tell(keep(path, answer)),
      (error: unknown) => tell({ problem: error instanceof AskError ? error : new AskError(0, String(error)) }),
    );
    asking = false;
    if (ending.signal.aborted) return;
    if (again) later(restMs);
    else if (everyMs !== undefined) later(everyMs);
    again = false;
  };
  const unsubscribe = live.subscribe(({ topic }) => {
    if (topics.includes(topic) || topic === 'reset') {
      if (asking) again = true;
      else later(gatherMs);
    }
  });
  void run();
  return () => {
    ending.abort();
    clearTimeout(timer);
    unsubscribe();
  };
}

function keep<T>(path: string, answer: T): Partial<Answered<T>> {
  const at = Date.now();
  known.delete(path);
  known.set(path, { answer, at });
  if (known.size > knownMax) known.delete([...known.keys()][0] as string);
  return { answer, at, problem: undefined };
}
