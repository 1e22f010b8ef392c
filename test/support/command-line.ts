// Runs command lines in this process and keeps what they print, for tests of many outputs.
import { Writable } from 'node:stream';
import { main } from '../../cli/main.ts';

export interface Printed {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs one command line. The environment holds nothing but what is given; `stop` ends commands that go on. */
export async function run(words: readonly string[], env: Readonly<Record<string, string>> = {}, stop = new AbortController()): Promise<Printed> {
  const [out, err] = [collecting(), collecting()];
  const code = await main(words, { stdout: out.stream, stderr: err.stream, env: { HOME: '/nonexistent', ...env }, signal: stop.signal, colour: false });
  return { code, stdout: out.text(), stderr: err.text() };
}

/** The same for a command that goes on: ends it as soon as what it printed satisfies the condition, or after five seconds. */
export async function runUntil(words: readonly string[], env: Readonly<Record<string, string>>, fits: (stdout: string) => boolean): Promise<Printed> {
  const stop = new AbortController();
  const [out, err] = [collecting((text) => fits(text) && stop.abort()), collecting()];
  const late = setTimeout(() => stop.abort(), 5_000);
  const code = await main(words, { stdout: out.stream, stderr: err.stream, env: { HOME: '/nonexistent', ...env }, signal: stop.signal, colour: false });
  clearTimeout(late);
  return { code, stdout: out.text(), stderr: err.text() };
}

function collecting(onText: (text: string) => unknown = () => undefined): { readonly stream: Writable; readonly text: () => string } {
  let text = '';
  const stream = new Writable({
    write(chunk, _encoding, done) {
      text += String(chunk);
      onText(text);
      done();
    },
  });
  return { stream, text: () => text };
}
