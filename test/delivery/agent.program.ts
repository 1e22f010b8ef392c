// An agent without a node: makes changes without end, notes each before it is told, and what spool and collector say of it; the kill test ends it.
//
// `node agent.program.ts COLLECTOR STATE NODE NOTES [calm]`: with `calm` it makes no changes, and ends once everything is acknowledged.
import { randomUUID } from 'node:crypto';
import { openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { openDisk } from '../../agent/host/disk.ts';
import { newRun, timeOfRun } from '../../agent/run.ts';
import { damageOf } from '../../agent/spool/damage.ts';
import { Spool } from '../../agent/spool/spool.ts';
import { Uplink } from '../../agent/uplink.ts';

const [collector = '', state = '', node = '', notes = '', calm] = process.argv.slice(2);
/** Milliseconds between two batches of changes, at most. */
const pauseMs = Number(process.env.PAUSE_MS ?? 20);
const file = openSync(notes, 'a');
const tell = (note: object): void => void writeSync(file, `${JSON.stringify(note)}\n`);

const begun = newRun();
const run = { stream: begun.stream, startedAt: begun.startedAt };
const opened = await Spool.open(await openDisk(join(state, node)), { run, node, now: () => timeOfRun(begun), onNotice: () => {} });
const { spool } = opened;
const [settle, append] = [spool.settle.bind(spool), spool.append.bind(spool)];
spool.settle = (place) => {
  tell({ acknowledged: place });
  return settle(place);
};
spool.append = async (changes, heldFrom) => {
  await append(changes, heldFrom);
  tell({ spooled: changes.map(({ stream, seq }) => ({ stream, seq })) });
};
const uplink = new Uplink({
  collector,
  identity: { node, version: '1', bootId: 'b', ...run, capabilities: [] },
  begunAt: begun.begunAt,
  spool: opened,
  onWant: () => {},
  onTrace: () => ({ error: 'no node' }),
  onNotice: () => {},
});
if (opened.damaged > 0) uplink.take({ kind: 'changes', changes: [damageOf(node, { ...opened, at: run.startedAt })] });
process.stdout.write('ready\n');
for (let seq = opened.damaged > 0 ? 1 : 0; calm === undefined; ) {
  const changes = Array.from({ length: 1 + Math.floor(Math.random() * 4) }, () => {
    const made = { id: randomUUID(), at: Date.now(), subject: `object ${Math.floor(Math.random() * 50)}`, place: { stream: run.stream, seq: ++seq } };
    tell({ made });
    return { at: made.at, node, kind: 'rule' as const, subject: made.subject, before: null, after: made.id };
  });
  uplink.take({ kind: 'changes', changes });
  await sleep(Math.random() * pauseMs);
}
while (!uplink.status.connected || uplink.unacknowledged > 0 || uplink.delivery.onDiskAlone) await sleep(20);
await uplink.close();
