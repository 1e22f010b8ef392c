// Seven days without a collector, compressed in time: an agent on a real disk with the default bound of 64 MiB, started anew every day and killed in the middle of each.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { openDisk } from '../../agent/host/disk.ts';
import { Spool } from '../../agent/spool/spool.ts';
import { limits } from '../../shared/limits.ts';
import type { SequencedChange } from '../../shared/model/change.ts';
import { randomOf } from '../support/crashing-disk.ts';

t.setTimeout(600_000);
const dayMs = 86_400_000;
const days = 7;
/** One change in four seconds, about a kilobyte each: twice what the bound holds. */
const changesOfDay = Number(process.env.CHANGES_A_DAY ?? 21_600);
const objects = 5_000;
const batch = 300;
const directory = mkdtempSync(join(process.platform === 'linux' ? '/dev/shm' : tmpdir(), 'portreeve-offline-'));
t.teardown(() => rmSync(directory, { recursive: true }));

t.test('seven days are kept within the bound, and each change or a record that stands for it comes back', async (t) => {
  const random = randomOf(7);
  const text = 'x'.repeat(450);
  const lasts = new Map<string, string>();
  const firsts = new Map<string, string>();
  let [folds, most] = [0, 0];
  for (let day = 0; day < days; day++) {
    const startedAt = day * dayMs;
    let now = startedAt;
    const run = { stream: `day ${day}`, startedAt };
    const { spool, earlier, damaged } = await Spool.open(await openDisk(directory), {
      run,
      node: 'edge',
      now: () => now,
      onNotice: (notice) => (folds += notice.includes('was folded') ? 1 : 0),
    });
    t.strictSame([earlier.length, damaged], [day, 0], `day ${day}: the runs before are known`);
    for (let seq = 1; seq <= changesOfDay; seq += batch) {
      now += (batch * dayMs) / changesOfDay;
      const changes = Array.from({ length: batch }, (_, i): SequencedChange => {
        const subject = `object ${Math.floor(random() * objects)}`;
        const place = `${run.stream} ${seq + i}`;
        if (!firsts.has(subject)) firsts.set(subject, place);
        lasts.set(subject, place);
        return { stream: run.stream, seq: seq + i, at: now, node: 'edge', kind: 'rule', subject, before: text, after: text };
      });
      await spool.append(changes);
      most = Math.max(most, spool.bytes);
    }
    // Nobody closes it: the next day finds what a killed agent left.
  }
  t.ok(most <= limits.spoolBytesMax, `${(most / 2 ** 20).toFixed(1)} MiB at most`);
  const { spool, earlier } = await Spool.open(await openDisk(directory), {
    run: { stream: 'last', startedAt: days * dayMs },
    node: 'edge',
    now: Date.now,
    onNotice: () => {},
  });
  t.equal(earlier.length, days);
  const back = new Map<string, SequencedChange>();
  for (let after: { stream: string; seq: number } | undefined; ; ) {
    const read = await spool.read(after === undefined ? {} : { after });
    for (const change of read.changes) back.set(`${change.stream} ${change.seq}`, change);
    after = read.changes.at(-1) ?? after;
    if (read.done) break;
  }
  t.strictSame(
    [...firsts.values(), ...lasts.values()].filter((place) => !back.has(place)),
    [],
    'the first and the last of each object',
  );
  const counted = [...back.values()].reduce((sum, { folded }) => sum + 1 + (folded?.count ?? 0), 0);
  t.equal(counted, days * changesOfDay, 'every change is there, or counted by the one that stands for it');
  t.comment(
    `${days * changesOfDay} changes in ${days} days and runs: ${back.size} are there, ${folds} times folded, ${(most / 2 ** 20).toFixed(1)} MiB at most`,
  );
});
