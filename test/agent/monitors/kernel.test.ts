// The kernel's monitors over small programs that stand in for them: what they miss between an end and the next start is said, and a first start misses nothing.
import { chmodSync, existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { KernelMonitors } from '../../../agent/monitors/kernel.ts';
import { putOnPath } from '../path.ts';

interface Uncertain {
  readonly reason: string;
  readonly wakes: readonly string[];
  readonly since: number | undefined;
}

function follow(t: Test, program: { readonly path: string | undefined }) {
  const uncertain: Uncertain[] = [];
  const ends: string[] = [];
  const monitors = new KernelMonitors({
    onTransaction: () => {},
    onWake: () => {},
    onUncertain: (reason, wakes, since) => uncertain.push({ reason, wakes, since }),
    onState: (monitor, reason) => {
      if (reason !== undefined) ends.push(`${monitor}: ${reason}`);
    },
    rules: () => 0,
    program,
  });
  t.teardown(() => monitors.close());
  const until = async (fits: () => boolean, timeoutMs = 10_000) => {
    for (const end = performance.now() + timeoutMs; !fits() && performance.now() < end; ) await new Promise((resolve) => setTimeout(resolve, 10));
    t.ok(fits(), `${fits}: ${JSON.stringify({ uncertain, ends })}`);
  };
  return { monitors, uncertain, ends, until };
}

function script(t: Test, name: string, text: string): string {
  const path = join(t.testdir({}), name);
  writeFileSync(path, `#!/bin/bash\n${text}\n`);
  chmodSync(path, 0o755);
  return path;
}

t.test('an end and a new start', async (t) => {
  const path = script(t, 'portreeve-watch', 'echo "# ready"; [ -e "$0.ended" ] && exec sleep 60; touch "$0.ended"; sleep 0.1');
  const start = Date.now();
  const { uncertain, until } = follow(t, { path });
  await until(() => uncertain.length === 2);
  t.match(uncertain[0], { since: undefined }, 'before its first start nobody expected a word');
  t.ok((uncertain[1]?.since ?? 0) >= start && (uncertain[1]?.since ?? 0) < Date.now());
  t.ok(['nft', 'iptables-ip', 'link'].every((wake) => uncertain[1]?.wakes.includes(wake)));
});

t.test('lost messages, and a transaction that was not told', async (t) => {
  const lines = ['# ready', '# new generation 7 by process 1 (a)', '# new generation 9 by process 1 (a)', '# ERROR: netlink: No buffer space available'];
  const { uncertain, until } = follow(t, { path: script(t, 'portreeve-watch', `printf '%s\\n' ${lines.map((line) => `'${line}'`).join(' ')}; exec sleep 60`) });
  await until(() => uncertain.length === 3);
  t.match(uncertain[1], { reason: 'generation 9 came after 7', since: Number });
  t.match(uncertain[2], { reason: /No buffer space/, since: Number });
});

t.test('the tools that stand in for it: one that never ran has missed nothing, one that ended has', async (t) => {
  putOnPath(t, {
    nft: '[ -e "$0.ended" ] && exec sleep 60; touch "$0.ended"; sleep 1.5; echo "netlink: No buffer space available" >&2; exit 1',
    ip: 'exit 1',
  });
  const { uncertain, ends, until } = follow(t, { path: undefined });
  await until(() => uncertain.length === 2);
  t.match(uncertain, [
    { reason: 'the monitor of nft was started', since: undefined },
    { reason: 'the monitor of nft was started', since: Number },
  ]);
  t.ok(ends.some((end) => end.startsWith('nft: netlink: No buffer space')));
  t.ok(ends.some((end) => end.startsWith('ip: ')));
  t.notOk(uncertain.some(({ wakes }) => wakes.includes('link')));
});

t.test('from portreeve-watch to the tools, when it does not start again', async (t) => {
  putOnPath(t, { nft: 'exec sleep 60', ip: 'exec sleep 60' });
  const { uncertain, until } = follow(t, {
    path: script(t, 'portreeve-watch', '[ -e "$0.ended" ] && exit 1; touch "$0.ended"; echo "# ready"; sleep 0.1'),
  });
  await until(() => uncertain.length === 3, 20_000);
  t.match(uncertain, [{ since: undefined }, { since: Number }, { since: Number }]);
});

t.test('one that ends may have kept back what it had heard since it was asked last, or in the last seconds', async (t) => {
  const path = script(
    t,
    'portreeve-watch',
    'echo "# ready"; [ -e "$0.ended" ] && exec sleep 60; touch "$0.ended"; sleep 0.3; read -r; echo "# synced"; sleep 0.5',
  );
  const { monitors, uncertain, until } = follow(t, { path });
  await until(() => uncertain.length === 1);
  const started = Date.now();
  await monitors.synced();
  await until(() => uncertain.length === 2);
  t.ok((uncertain[1]?.since ?? 0) >= started - 5 && (uncertain[1]?.since ?? 0) < started + 300, 'since it was asked, which it answered');
});

t.test('a monitor that is still at work after its start does not hear yet', async (t) => {
  putOnPath(t, { nft: 'until [ -e "$0.go" ]; do :; done; exec sleep 60', ip: 'exec sleep 60' });
  const { uncertain, until } = follow(t, { path: undefined });
  await until(() => uncertain.some(({ wakes }) => wakes.includes('link')));
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  t.notOk(uncertain.some(({ wakes }) => wakes.includes('nft')));
  const nft = (process.env.PATH ?? '')
    .split(':')
    .map((directory) => join(directory, 'nft'))
    .find((file) => existsSync(file));
  writeFileSync(`${nft}.go`, '');
  await until(() => uncertain.some(({ wakes }) => wakes.includes('nft')));
});
