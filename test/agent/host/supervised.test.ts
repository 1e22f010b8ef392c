// The supervisor over small real programs that end, hang, talk nonsense or talk too much: each ends in a named state, and is left again.
import { chmodSync, existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { Supervised, type SupervisedState } from '../../../agent/host/supervised.ts';
import { limits } from '../../../shared/limits.ts';

const times = { pauseMinMs: 20, pauseMaxMs: 80, wellMs: 100_000, pingMs: 150 };
// Answers whatever it is told with one line.
const well = 'while read -r line; do echo "$line"; done';

interface Given {
  readonly t: Test;
  readonly script: string;
  readonly onLine?: (line: string) => boolean;
}

function supervise({ t, script, onLine = () => true }: Given) {
  const path = join(t.testdir({}), 'program');
  writeFileSync(path, `#!/bin/bash\n${script}\n`);
  chmodSync(path, 0o755);
  const states: SupervisedState[] = [];
  let starts = 0;
  const supervised = new Supervised({
    program: () => [path, path],
    onLine,
    onStart: () => starts++,
    onState: (state) => states.push(state),
    ping: 'ping',
    times,
  });
  t.teardown(() => supervised.close());
  const until = async (fits: () => boolean) => {
    for (let i = 0; i < 500 && !fits(); i++) await new Promise((resolve) => setTimeout(resolve, 10));
    t.ok(fits(), `${fits} after ${JSON.stringify(states)}`);
  };
  return { supervised, states, starts: () => starts, until };
}

/** A script that behaves the first time and is well from then on; its state is a file beside it. */
const firstTime = (script: string): string => `if [ ! -e "$1.done" ]; then touch "$1.done"; ${script}; fi; echo hello; ${well}`;

t.test('a program that is well runs on', async (t) => {
  const lines: string[] = [];
  const { supervised, states, starts, until } = supervise({ t, script: `echo hello; ${well}`, onLine: (line) => lines.push(line) > 0 });
  await until(() => states.length === 1);
  supervised.send('+ nodeport\n');
  await until(() => lines.includes('+ nodeport') && lines.includes('ping'));
  await new Promise((resolve) => setTimeout(resolve, 500));
  t.strictSame(states, [{ kind: 'running' }]);
  t.equal(starts(), 1);
});

t.test('one that ends is started again, with a reason', async (t) => {
  const { states, until } = supervise({ t, script: firstTime('echo broken >&2; exit 3') });
  await until(() => states.at(-1)?.kind === 'running');
  t.strictSame(states, [{ kind: 'ended', reason: 'broken (exit code 3)' }, { kind: 'running' }]);
});

t.test('one that is killed', async (t) => {
  const { states, until } = supervise({ t, script: firstTime('kill -9 $$') });
  await until(() => states.at(-1)?.kind === 'running');
  t.match(states, [{ kind: 'ended', reason: /SIGKILL/ }, { kind: 'running' }]);
});

t.test('one that hangs is killed', async (t) => {
  const { states, until } = supervise({ t, script: firstTime('echo hello; exec sleep 60') });
  await until(() => states.filter(({ kind }) => kind === 'running').length === 2);
  t.strictSame(states, [{ kind: 'running' }, { kind: 'ended', reason: 'did not answer for 150 ms' }, { kind: 'running' }]);
});

t.test('one that answered while this process was busy does not hang', async (t) => {
  const { states, starts, until } = supervise({ t, script: `echo hello; ${well}` });
  await until(() => states.length === 1);
  for (let i = 0; i < 3; i++) {
    const end = performance.now() + 3 * times.pingMs;
    while (performance.now() < end);
    await new Promise((resolve) => setTimeout(resolve, times.pingMs / 3));
  }
  await new Promise((resolve) => setTimeout(resolve, 2 * times.pingMs));
  t.strictSame(states, [{ kind: 'running' }]);
  t.equal(starts(), 1);
});

t.test('one that is stopped counts as hanging', async (t) => {
  const { states, until } = supervise({ t, script: firstTime('kill -STOP $$') });
  await until(() => states.at(-1)?.kind === 'running');
  t.match(states, [{ kind: 'ended', reason: /did not answer/ }, { kind: 'running' }]);
});

t.test('one that talks nonsense', async (t) => {
  const nonsense = firstTime(`for i in $(seq ${limits.bpfNonsenseMax}); do echo '\u001b[31mwat'; done; exec sleep 60`);
  const { states, until } = supervise({ t, script: nonsense, onLine: (line) => line === 'hello' || line === 'ping' });
  await until(() => states.at(-1)?.kind === 'running');
  t.match(states, [{ kind: 'ended', reason: `said ${limits.bpfNonsenseMax} lines that make no sense, the last one "\\u001b[31mwat"` }, { kind: 'running' }]);
});

t.test('a little nonsense is forgiven', async (t) => {
  const script = `echo hello; for i in $(seq ${limits.bpfNonsenseMax - 1}); do echo wat; done; ${well}`;
  const { states, starts } = supervise({ t, script, onLine: (line) => line !== 'wat' });
  await new Promise((resolve) => setTimeout(resolve, 400));
  t.strictSame(states, [{ kind: 'running' }]);
  t.equal(starts(), 1);
});

t.test('one that says more than is taken goes on, less what is too much, and is well again when it is quiet', async (t) => {
  let taken = 0;
  const start = performance.now();
  const script = `echo hello; yes x | head -n ${limits.bpfLinesPerSecondMax * 5}; ${well}`;
  const { states, starts, until } = supervise({ t, script, onLine: () => ++taken > 0 });
  await until(() => states.at(-1)?.kind === 'flooded');
  t.ok(taken <= limits.bpfLinesPerSecondMax * ((performance.now() - start) / 1_000 + 1), `${taken} lines`);
  await until(() => states.at(-1)?.kind === 'running');
  t.match(
    states.map(({ kind }) => kind),
    ['running', 'flooded', 'running'],
  );
  t.equal(starts(), 1);
});

t.test('a line without end is cut', async (t) => {
  const lines: string[] = [];
  const script = `echo hello; head -c ${limits.bpfLineBytesMax * 4} /dev/zero | tr '\\0' x; echo; ${well}`;
  const { until } = supervise({ t, script, onLine: (line) => lines.push(line) > 0 });
  await until(() => lines.length >= 2);
  t.strictSame(
    lines.slice(0, 2).map(({ length }) => length),
    [5, limits.bpfLineBytesMax],
  );
});

t.test('a program that is not there, and comes', async (t) => {
  const directory = t.testdir({});
  const path = join(directory, 'later');
  const states: SupervisedState[] = [];
  const supervised = new Supervised({
    program: () => [path],
    onLine: () => true,
    onStart: () => {},
    onState: (state) => states.push(state),
    ping: 'ping',
    times,
  });
  t.teardown(() => supervised.close());
  for (let i = 0; i < 100 && states.length === 0; i++) await new Promise((resolve) => setTimeout(resolve, 10));
  t.match(states[0], { kind: 'ended', reason: /is not installed/ });
  writeFileSync(path, `#!/bin/bash\necho hello; ${well}\n`);
  chmodSync(path, 0o755);
  for (let i = 0; i < 300 && states.at(-1)?.kind !== 'running'; i++) await new Promise((resolve) => setTimeout(resolve, 10));
  t.match(states.at(-1), { kind: 'running' });
});

t.test('close ends it, and nothing is told any more', async (t) => {
  const { supervised, states, until } = supervise({ t, script: `echo hello; ${well}` });
  await until(() => states.length === 1);
  const { pid } = supervised;
  await supervised.close();
  t.notOk(existsSync(`/proc/${pid}`));
  await new Promise((resolve) => setTimeout(resolve, 200));
  t.strictSame(states, [{ kind: 'running' }]);
});
