// Agent and collector over a network that loses a fifth of all packets, takes 2 s there and back, and is cut in the middle for longer than a heartbeat; then the agent is
// killed. The kernel of this machine need not know netem: the lab brings its own.
import { spawn } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { objectsOf, writeObjects } from '../collector/ingest/cluster.ts';
import { faultsOf, Ledger, promisedBy } from './ledger.ts';

/** Both sides read clocks in whole milliseconds, several times. */
const grainMs = 5;
/** 77: not installed; 125: it did not boot. */
const notHere = [77, 125];
t.setTimeout(400_000);

const directory = t.testdir({});
const guest = await runInGuest();
const skip = notHere.includes(guest.status) ? `user-mode Linux with netem does not run here: ${guest.output.trim().split('\n')[0]}` : false;

t.test('20 % loss, 2 s there and back, a cut of 35 s, kill -9 of the agent', { skip }, async (t) => {
  t.equal(guest.status, 0, guest.output);
  t.match(guest.output, /qdisc netem .*delay 1s.* loss 20%/, 'the network was as bad as that');
  const promised = promisedBy(readFileSync(join(directory, 'node1.notes'), 'utf8'));
  t.ok(promised.made.length > 50, `${promised.made.length} changes`);
  const ledger = Ledger.read(join(directory, 'portreeve.db'), 'node1');
  t.strictSame(faultsOf(ledger, { ...promised, toleranceMs: grainMs }).slice(0, 5), []);
  t.comment(`${promised.made.length} changes, ${promised.spooled.length} spooled, ${ledger.ids.size} stored: 0 lost, 0 twice, 0 silent gaps`);
});

async function runInGuest(): Promise<{ readonly status: number; readonly output: string }> {
  if (globSync('/usr/lib/uml/modules/*/kernel/net/sched/sch_netem.ko').length === 0) return { status: 77, output: 'it is not installed' };
  await writeObjects(join(directory, 'cluster'), objectsOf());
  const child = spawn(join(import.meta.dirname, '../labs/uml-run.sh'), [join(import.meta.dirname, 'network.lab.sh'), process.execPath, import.meta.dirname], {
    env: { ...process.env, UML_RES: directory, UML_TIMEOUT_S: '380' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text: Buffer) => (output += text));
  return await new Promise((resolve) => child.once('close', (status) => resolve({ status: status ?? 1, output })));
}
