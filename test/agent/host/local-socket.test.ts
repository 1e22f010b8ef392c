// The agent's own socket: who may connect, what is answered, what is left behind.
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { answerAt, askAt } from '../../../agent/host/local-socket.ts';

/** The path of a socket has 107 bytes at most: a test's own folder lies too deep. */
function shortDirectory(t: Test): string {
  const directory = mkdtempSync(join(tmpdir(), 'portreeve-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  return directory;
}

t.test('a question and its answer; the file is for its owner alone and goes with the agent', async (t) => {
  const path = join(shortDirectory(t), 'run', 'agent.sock');
  const socket = await answerAt(path, async (question) => ({ asked: question['ask'] }));
  t.equal(statSync(path).mode & 0o777, 0o600);
  t.equal(statSync(join(path, '..')).mode & 0o777, 0o700);
  t.strictSame(await askAt(path, { ask: 'status' }), { kind: 'answer', value: { asked: 'status' } });
  await t.rejects(
    answerAt(path, () => ({})),
    { message: /another agent answers/ },
  );
  await socket.close();
  t.match(await askAt(path, { ask: 'status' }), { kind: 'absent' });
});

t.test('a socket that nobody answers at any more is replaced', async (t) => {
  const path = join(shortDirectory(t), 'agent.sock');
  writeFileSync(path, 'left over');
  const socket = await answerAt(path, () => ({ well: true }));
  t.match(await askAt(path, {}), { kind: 'answer', value: { well: true } });
  await socket.close();
});

t.test('what is no question, one that fails, one that does not end', async (t) => {
  const path = join(shortDirectory(t), 'agent.sock');
  const socket = await answerAt(path, ({ ask }) => {
    if (ask === 'bad') throw new Error('cannot be told');
    return { ask };
  });
  t.teardown(() => socket.close());
  t.strictSame(await askAt(path, { ask: 'bad' }), { kind: 'failed', reason: 'cannot be told' });
  const raw = (text: string) =>
    new Promise<string>((resolve) => {
      let answer = '';
      const client = createConnection(path);
      client.on('data', (chunk) => (answer += chunk));
      client.on('close', () => resolve(answer));
      client.on('error', () => undefined);
      client.write(text);
    });
  t.match(await raw('no json\n'), /"error"/);
  t.match(await raw('7\n'), /a question is a JSON object/);
  t.equal(await raw('x'.repeat(5_000)), '', 'one over the limit is cut off');
  t.match(await askAt(path, { ask: 'well' }), { kind: 'answer' }, 'and the next is answered');
});

t.test('a path at the limit of the kernel, and over it', async (t) => {
  const directory = shortDirectory(t);
  const path = (bytes: number) => `${directory}/${'x'.repeat(bytes - directory.length - 1)}`;
  for (const bytes of [106, 107]) {
    const socket = await answerAt(path(bytes), () => ({}));
    t.match(await askAt(path(bytes), {}), { kind: 'answer' }, `${bytes} bytes`);
    await socket.close();
  }
  await t.rejects(
    answerAt(path(108), () => ({})),
    { message: /longer than the 107 bytes/ },
  );
  t.match(await askAt(path(108), {}), { kind: 'failed', reason: /longer than the 107 bytes/ });
});
