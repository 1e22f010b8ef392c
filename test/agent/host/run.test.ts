import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { follow, run } from '../../../agent/host/run.ts';

const bounds = { timeoutMs: 5_000, outputBytesMax: 1_000 };

t.test('output, locale and arguments as they are', async (t) => {
  const outcome = await run('sh', ['-c', 'printf "%s|$LC_ALL" "$1"', 'sh', '$(id) "quoted"'], bounds);
  t.equal(outcome.kind === 'done' && outcome.stdout.toString(), '$(id) "quoted"|C');
});

t.test('input is given', async (t) => {
  const outcome = await run('cat', [], { ...bounds, input: 'hello' });
  t.equal(outcome.kind === 'done' && outcome.stdout.toString(), 'hello');
});

t.test('a program that is not there', async (t) => t.strictSame(await run('portreeve-no-such-program', [], bounds), { kind: 'missing' }));

const failures = [
  { name: 'exit code and stderr', script: 'echo broken >&2; exit 3', expected: 'broken (exit code 3)' },
  { name: 'exit code alone', script: 'exit 4', expected: 'exit code 4' },
  { name: 'too much output', script: 'head -c 1001 /dev/zero', expected: 'printed more than 1000 bytes' },
  { name: 'too long', script: 'exec sleep 5', expected: 'no answer within 300 ms' },
];
for (const { name, script, expected } of failures) {
  t.test(name, async (t) =>
    t.strictSame(await run('sh', ['-c', script], { timeoutMs: name === 'too long' ? 300 : 5_000, outputBytesMax: 1_000 }), {
      kind: 'failed',
      reason: expected,
    }),
  );
}

for (const bytes of [999, 1_000]) {
  t.test(`${bytes} bytes of output under a limit of 1000`, async (t) => {
    const outcome = await run('head', ['-c', `${bytes}`, '/dev/zero'], bounds);
    t.equal(outcome.kind === 'done' && outcome.stdout.length, bytes);
  });
}

t.test('a program that is ended by the signal of the agent', async (t) => {
  const stop = new AbortController();
  setTimeout(() => stop.abort(), 50);
  t.strictSame(await run('sleep', ['5'], { ...bounds, signal: stop.signal }), { kind: 'failed', reason: 'was ended because the agent stops' });
});

t.test('a program that works may go on, one that hangs may not', async (t) => {
  const busy = 'i=0; while [ $i -lt 1500000 ]; do i=$((i + 1)); done; echo done';
  const outcome = await run('sh', ['-c', busy], { ...bounds, timeoutMs: 1_000, workingMs: 60_000 });
  t.equal(outcome.kind === 'done' && outcome.stdout.toString(), 'done\n');
  t.match(await run('sleep', ['60'], { ...bounds, timeoutMs: 300, workingMs: 30_000 }), { kind: 'failed', reason: /^no answer within \d+ ms$/ });
  t.match(await run('sh', ['-c', 'while :; do :; done'], { ...bounds, timeoutMs: 300, workingMs: 900 }), {
    kind: 'failed',
    reason: /^no answer within \d+ ms$/,
  });
});

t.test('programs have a lower priority', async (t) => {
  const outcome = await run('sh', ['-c', 'sleep 0.2; exec nice'], bounds);
  t.equal(outcome.kind === 'done' && outcome.stdout.toString().trim(), '10');
});

t.test('lines are followed as they come, whole and cut to the limit', async (t) => {
  const script = join(t.testdir({}), 'monitor');
  writeFileSync(script, '#!/bin/sh\nprintf "one\\ntw"; sleep 0.1; printf "o\\n"; printf "%050d\\n" 0; exit 7\n');
  chmodSync(script, 0o755);
  const lines: string[] = [];
  const reason = await new Promise<string>((resolve) => follow(script, [], { onLine: (line) => lines.push(line), onEnd: resolve, lineBytesMax: 20 }));
  t.strictSame(lines, ['one', 'two', '0'.repeat(20)]);
  t.equal(reason, 'exit code 7');
});

t.test('close ends the program and nothing is called any more', async (t) => {
  const followed = follow('sh', ['-c', 'echo start; exec sleep 60'], { onLine: () => {}, onEnd: () => t.fail('close is no end of its own') });
  await new Promise((resolve) => setTimeout(resolve, 100));
  await followed.close();
  t.throws(() => process.kill(followed.pid as number, 0), { code: 'ESRCH' });
});

t.test('a monitor that cannot be started ends at once', async (t) => {
  const reason = await new Promise<string>((resolve) => follow('portreeve-no-such-program', [], { onLine: () => {}, onEnd: resolve }));
  t.equal(reason, 'portreeve-no-such-program is not installed');
});
