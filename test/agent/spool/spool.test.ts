import { join } from 'node:path';
import t from 'tap';
import { openDisk } from '../../../agent/host/disk.ts';
import { Spool, type SpoolOptions } from '../../../agent/spool/spool.ts';
import type { SequencedChange } from '../../../shared/model/change.ts';
import { CrashingDisk, type Faults, randomOf } from '../../support/crashing-disk.ts';

const change = (seq: number, stream = 's', subject = `object ${seq}`): SequencedChange => ({
  stream,
  seq,
  at: seq,
  node: 'n',
  kind: 'rule',
  subject,
  before: null,
  after: 'x',
});
const seqs = (changes: readonly SequencedChange[]) => changes.map(({ seq }) => seq);
const options = (more: Partial<SpoolOptions> = {}): SpoolOptions => ({
  run: { stream: 's', startedAt: 1 },
  node: 'n',
  now: () => 1_000,
  onNotice: () => {},
  ...more,
});

async function everything(spool: Spool): Promise<SequencedChange[]> {
  const all: SequencedChange[] = [];
  for (;;) {
    const last = all.at(-1);
    const { changes, done } = await spool.read(last === undefined ? {} : { after: { stream: last.stream, seq: last.seq } });
    all.push(...changes);
    if (done) return all;
    if (changes.length === 0) throw new Error('reading does not go on');
  }
}

t.test('on a real disk: kept, read back by another run, removed when settled', async (t) => {
  const directory = join(t.testdir({}), 'deep', 'state');
  const disk = await openDisk(directory);
  const { spool, earlier } = await Spool.open(disk, options());
  t.strictSame(earlier, []);
  await spool.append([change(1), change(2)]);
  await spool.append([change(3)]);
  await spool.alive();
  await spool.close();
  await disk.close();
  const next = await Spool.open(await openDisk(directory), options({ run: { stream: 't', startedAt: 2_000 } }));
  t.strictSame(next.earlier, [{ stream: 's', startedAt: 1, aliveAt: 1_000 }]);
  await next.spool.append([change(1, 't')]);
  t.strictSame(
    (await everything(next.spool)).map(({ stream, seq }) => `${stream}${seq}`),
    ['s1', 's2', 's3', 't1'],
  );
  t.strictSame(seqs((await next.spool.read({ after: { stream: 's', seq: 1 }, before: { stream: 't', seq: 1 } })).changes), [2, 3]);
  await next.spool.settle({ stream: 's', seq: 2 });
  t.strictSame(seqs(await everything(next.spool)), [3, 1], 'what is settled is not read, though its file is there still');
  await next.spool.settle({ stream: 's', seq: 3 });
  await next.spool.settle({ stream: 't', seq: 1 });
  t.strictSame(await (await openDisk(directory)).list(), [], 'nothing is left');
  t.equal(next.spool.bytes, 0);
});

t.test('a directory that cannot be made', async (t) => {
  const file = join(t.testdir({ file: '' }), 'file');
  await t.rejects(openDisk(join(file, 'state')), { code: 'STORE_FAILED' });
});

t.test('files are removed from the oldest on, one at a time', async (t) => {
  const disk = new CrashingDisk(randomOf(1));
  const { spool } = await Spool.open(disk, options({ segmentBytes: 1 }));
  for (let seq = 1; seq <= 4; seq++) await spool.append([change(seq)]);
  t.equal(disk.files.size, 4);
  await spool.settle({ stream: 's', seq: 2 });
  t.equal(disk.files.size, 2);
  await spool.settle({ stream: 's', seq: 1 });
  t.strictSame(seqs(await everything(spool)), [3, 4]);
});

t.test('over its bound the spool folds: first and last of each object stay, and every number is accounted for', async (t) => {
  const disk = new CrashingDisk(randomOf(1));
  const { spool } = await Spool.open(disk, options({ bytesMax: 24_000, segmentBytes: 2_000 }));
  const actor = { comm: 'ufw', how: 'ebpf' as const };
  for (let seq = 1; seq <= 600; seq++) await spool.append([{ ...change(seq, 's', `object ${seq % 5}`), actor }]);
  t.ok(spool.bytes <= 24_000, `${spool.bytes}`);
  const left = await everything(spool);
  const firsts = left.filter(({ folded }) => folded === undefined).slice(0, 5);
  t.strictSame(seqs(firsts), [1, 2, 3, 4, 5]);
  const counted = left.reduce((sum, { folded }) => sum + 1 + (folded?.count ?? 0), 0);
  t.equal(counted, 600, 'what is not there is counted');
  t.match(left.find(({ folded }) => folded !== undefined)?.folded, { by: ['ufw'] });
  t.strictSame(uncovered(left, 600), []);
});

t.test('what memory holds too is not folded, and carries nothing of what was left out before it', async (t) => {
  const { spool } = await Spool.open(new CrashingDisk(randomOf(1)), options({ bytesMax: 24_000, segmentBytes: 2_000 }));
  const held = { stream: 's', seq: 101 };
  for (let seq = 1; seq <= 160; seq++) await spool.append([change(seq, 's', `object ${seq % 5}`)], held);
  const left = await everything(spool);
  t.ok(left.length < 160, 'it was folded');
  t.strictSame(
    left.filter(({ seq }) => seq >= held.seq),
    Array.from({ length: 60 }, (_, i) => change(101 + i, 's', `object ${(101 + i) % 5}`)),
  );
  const counted = left.reduce((sum, { folded }) => sum + 1 + (folded?.count ?? 0), 0);
  t.equal(counted, 160, 'what is not there is counted');
  t.strictSame(uncovered(left, 160), []);
});

t.test('where folding is not enough the oldest become a gap', async (t) => {
  const { spool } = await Spool.open(new CrashingDisk(randomOf(1)), options({ bytesMax: 24_000, segmentBytes: 2_000 }));
  for (let seq = 1; seq <= 600; seq++) await spool.append([change(seq)]);
  const left = await everything(spool);
  t.match(left[0], { kind: 'gap', gap: { reason: 'spool-full', from: 1 } });
  t.equal(left.at(-1)?.seq, 600);
  t.strictSame(uncovered(left, 600), []);
});

/** Seqs from 1 to the last that no record stands for. */
function uncovered(changes: readonly SequencedChange[], last: number): number[] {
  const covered = new Set(changes.flatMap(({ seq, covers }) => Array.from({ length: (covers ?? 0) + 1 }, (_, i) => seq - i)));
  return Array.from({ length: last }, (_, i) => i + 1).filter((seq) => !covered.has(seq));
}

t.test('a change that is larger than the bound is refused, and the spool goes on', async (t) => {
  const { spool } = await Spool.open(new CrashingDisk(randomOf(1)), options({ bytesMax: 2_000 }));
  await t.rejects(spool.append([{ ...change(1), after: 'x'.repeat(3_000) }]), /2000 is the limit/);
  await spool.append([change(2)]);
  t.strictSame(seqs(await everything(spool)), [2]);
});

for (const code of ['ENOSPC', 'EIO'] as const) {
  t.test(`every operation that can fail with ${code} fails once`, async (t) => {
    let cases = 0;
    for (let at = 2; at <= 40; at++) {
      const disk = new CrashingDisk(randomOf(at), { failing: new Map([[at, code]]) });
      const { spool } = await Spool.open(disk, options({ segmentBytes: 300, bytesMax: 4_000 }));
      const kept: number[] = [];
      let waiting: SequencedChange[] = [];
      for (let seq = 1; seq <= 8; seq++) {
        waiting.push(change(seq));
        const batch = waiting;
        waiting = [];
        await spool.append(batch).then(
          () => kept.push(...seqs(batch)),
          () => (waiting = batch),
        );
      }
      if (disk.operations < at) continue;
      cases++;
      const after = await Spool.open(disk.afterPowerLoss(), options({ run: { stream: 't', startedAt: 2 } }));
      const back = new Set(seqs(await everything(after.spool)));
      t.strictSame(
        kept.filter((seq) => !back.has(seq)),
        [],
        `operation ${at}`,
      );
    }
    t.comment(`${cases} failures of ${code}`);
    t.ok(cases >= 20);
  });
}

for (const code of ['ENOSPC', 'EIO'] as const) {
  t.test(`clearing the spool fails with ${code}, and what comes then is as safe as ever`, async (t) => {
    for (const [operation, what] of ['removing the file', 'the sync of the directory'].entries()) {
      const lost: number[] = [];
      // What a loss of power leaves is chance.
      for (let seed = 0; seed < 20; seed++) {
        const failing = new Map<number, 'ENOSPC' | 'EIO'>();
        const disk = new CrashingDisk(randomOf(seed), { failing });
        const { spool } = await Spool.open(disk, options());
        await spool.append([change(1)]);
        failing.set(disk.operations + 1 + operation, code);
        await spool.settle({ stream: 's', seq: 1 });
        await spool.append([change(2)]);
        const after = await Spool.open(disk.afterPowerLoss(), options({ run: { stream: 't', startedAt: 2 } }));
        if (!seqs(await everything(after.spool)).includes(2)) lost.push(seed);
      }
      t.strictSame(lost, [], what);
    }
  });
}

/** Three runs that write, settle and fold, each ended by a loss of power at a random operation; yields what went missing. */
async function losePower(seed: number): Promise<{ readonly missing: readonly string[]; readonly isLost: boolean }> {
  const random = randomOf(seed);
  const owed = new Map<string, SequencedChange>();
  const settled = new Map<string, number>();
  let disk = new CrashingDisk(random);
  let isLost = false;
  for (let run = 0; run < 3; run++) {
    const faults: Faults = { powerLostAt: 2 + Math.floor(random() * 60) };
    disk = disk.afterPowerLoss(faults);
    isLost = (await liveUntilPowerLoss(disk, { run, random, owed, settled })) || isLost;
  }
  const { spool } = await Spool.open(disk.afterPowerLoss(), options({ run: { stream: 'last', startedAt: 1 }, ...small }));
  const back = await everything(spool);
  const isAccounted = ({ stream, seq, subject }: SequencedChange): boolean =>
    back.some((each) => each.stream === stream && each.seq >= seq && each.seq - (each.covers ?? 0) <= seq) ||
    // The end of a stream may be folded into a later change of the same object, which says so.
    back.some((each) => each.subject === subject && each.folded !== undefined);
  return {
    missing: [...owed.values()].filter((each) => each.seq > (settled.get(each.stream) ?? 0) && !isAccounted(each)).map(({ stream, seq }) => `${stream} ${seq}`),
    isLost,
  };
}

const small = { bytesMax: 6_000, segmentBytes: 700 };

interface Life {
  readonly run: number;
  readonly random: () => number;
  readonly owed: Map<string, SequencedChange>;
  readonly settled: Map<string, number>;
}

async function liveUntilPowerLoss(disk: CrashingDisk, { run, random, owed, settled }: Life): Promise<boolean> {
  const stream = `run${run}`;
  try {
    const { spool } = await Spool.open(disk, options({ run: { stream, startedAt: run }, ...small }));
    let seq = 0;
    for (let step = 0; step < 40; step++) {
      const batch = Array.from({ length: 1 + Math.floor(random() * 3) }, () => change(++seq, stream, `object ${Math.floor(random() * 12)}`));
      await spool.append(batch);
      for (const each of batch) owed.set(`${each.stream} ${each.seq}`, each);
      if (random() < 0.1) {
        // A collector has what it settles; it need not have come to the end.
        const upTo = Math.max(1, seq - Math.floor(random() * 5));
        settled.set(stream, Math.max(upTo, settled.get(stream) ?? 0));
        for (let earlier = 0; earlier < run; earlier++) settled.set(`run${earlier}`, 1_000);
        for (const [name, end] of settled) await spool.settle({ stream: name, seq: end });
      }
      if (random() < 0.1) await spool.alive();
    }
    return false;
  } catch (error) {
    if (disk.hasLostPower) return true;
    throw error;
  }
}

t.test('whatever the moment of a loss of power, nothing that was said to be spooled is missing', async (t) => {
  const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
  const runs = Number(process.env.CRASHES ?? 1_200);
  let losses = 0;
  for (let i = 0; i < runs; i++) {
    const { missing, isLost } = await losePower(seed + i);
    if (isLost) losses++;
    if (missing.length > 0) return t.fail(`SEED=${seed + i} CRASHES=1: missing ${missing.join(', ')}`);
  }
  t.comment(`${losses} runs of three that lost power, seed ${seed}: 0 changes lost`);
  t.ok(losses >= runs * 0.9);
});

async function smallSpool(): Promise<ReadonlyMap<string, Buffer>> {
  const disk = new CrashingDisk(randomOf(1));
  let now = 996;
  const { spool } = await Spool.open(disk, options({ segmentBytes: 500, now: () => now++ }));
  for (let seq = 1; seq <= 4; seq++) await spool.append([change(seq)]);
  await spool.alive();
  return disk.files;
}

/** Opens a damaged spool: whatever is read is as it was written, and what is missing was said to be. */
async function openDamaged(
  files: ReadonlyMap<string, Buffer>,
): Promise<{ readonly read: readonly number[]; readonly said: boolean; readonly aliveAt: number }> {
  const opened = await Spool.open(new CrashingDisk(randomOf(1), {}, files), options({ run: { stream: 'next', startedAt: 5_000 } }));
  const changes = await everything(opened.spool);
  for (const each of changes) if (JSON.stringify(each) !== JSON.stringify(change(each.seq))) throw new Error(`changed: ${JSON.stringify(each)}`);
  await opened.spool.append([change(1, 'next')]);
  return { read: seqs(changes), said: opened.damaged > 0, aliveAt: Math.max(0, ...opened.earlier.map(({ aliveAt }) => aliveAt)) };
}

t.test('any bit of any byte flipped', async (t) => {
  const files = await smallSpool();
  let cases = 0;
  for (const [name, content] of files) {
    for (let at = 0; at < content.length; at++) {
      const flipped = Buffer.from(content);
      flipped[at] = (flipped[at] as number) ^ (1 << (at % 8));
      const { read, said } = await openDamaged(new Map([...files, [name, flipped]]));
      cases++;
      if (read.length < 2) t.fail(`byte ${at} of ${name} costs more than the two lines that it can touch: ${read.join()}`);
      if (read.length < 4 && !said && at !== content.length - 1) t.fail(`byte ${at} of ${name}: what is missing is not said`);
    }
  }
  t.comment(`${cases} flipped bits, each survived`);
  t.ok(cases > 500);
});

t.test('any file cut at any length', async (t) => {
  const files = await smallSpool();
  const last = [...files.keys()].at(-1);
  let cases = 0;
  for (const [name, content] of files) {
    for (let length = 0; length < content.length; length++) {
      const { read, aliveAt } = await openDamaged(new Map([...files, [name, content.subarray(0, length)]]));
      cases++;
      // A file that is cut where a line ends looks whole: then the last sign of life is older than what was lost, and the time since is a gap.
      if (name === last && read.length < 4 && aliveAt >= 1_000) t.fail(`cut at ${length} of ${name}: the run seems alive after what is missing`);
    }
  }
  t.comment(`${cases} lengths, each survived`);
  t.ok(cases > 500);
});

t.test('damaged files are kept aside, a few of them', async (t) => {
  let files = await smallSpool();
  for (let round = 0; round < 6; round++) {
    const [name, content] = [...files].find(([each]) => each.startsWith('spool-')) as [string, Buffer];
    const broken = new Map([...files, [name, Buffer.concat([Buffer.from('nonsense\n'), content])]]);
    const disk = new CrashingDisk(randomOf(1), {}, broken);
    const { damaged } = await Spool.open(disk, options({ now: () => round * 1_000_000, run: { stream: `r${round}`, startedAt: 1 } }));
    t.equal(damaged, 1);
    files = disk.files;
  }
  t.equal([...files.keys()].filter((name) => name.startsWith('damaged-')).length, 4);
});
