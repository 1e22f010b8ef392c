// What stands in place of an answer: that it is awaited, that there is none, or that nothing is in it.
import type { ComponentChildren } from 'preact';
import type { AskError } from '../data/client.ts';
import { SignIn } from '../shell/sign-in.tsx';

interface AnswerProps<T> {
  readonly answered: { readonly answer: T | undefined; readonly problem: AskError | undefined };
  readonly children: (answer: T) => ComponentChildren;
}

/** Shows an answer; above it why it may be old, or in place of it why there is none. */
export function Answer<T>({ answered: { answer, problem }, children }: AnswerProps<T>) {
  if (problem !== undefined && (problem.status === 401 || (problem.status === 403 && answer === undefined)))
    return <SignIn title={problem.status === 401 ? 'A token is needed' : 'This may not be seen with this token'} reason={problem.message} />;
  if (answer === undefined) return problem === undefined ? <Waiting /> : <Trouble text={problem.message} />;
  return (
    <>
      {problem !== undefined && <Trouble text={problem.message} />}
      {children(answer)}
    </>
  );
}

const Waiting = () => (
  <p class="waiting" role="status">
    Asking the collector …
  </p>
);

const Trouble = ({ text }: { readonly text: string }) => (
  <p class="trouble" role="alert">
    {text}
  </p>
);

/** Says that a list is empty, and why that may be. */
export const Nothing = ({ children }: { readonly children: ComponentChildren }) => <p class="nothing">{children}</p>;
