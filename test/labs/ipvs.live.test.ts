// A node in IPVS mode, in a kernel of its own without BTF: what is changed there arrives at a real collector by a real agent, and who did it is not guessed.
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { type Heard, steps } from './ipvs/live.steps.ts';

t.setTimeout(200_000);
// Some kilobytes: it is left to the system to remove them.
const folder = mkdtempSync(join(tmpdir(), 'portreeve-ipvs-live-'));
const guest = await runInGuest();
const log = existsSync(join(folder, 'log.txt')) ? readFileSync(join(folder, 'log.txt'), 'utf8') : '';

// 77: not installed; 125: it did not boot.
if (guest.status === 77 || guest.status === 125) {
  t.comment(guest.output);
  t.test('changes of IPVS', { skip: `user-mode Linux does not run here: ${guest.output.trim().split('\n')[0]}` }, async () => undefined);
} else if (guest.status !== 0) {
  t.fail(`the guest ended with ${guest.status}`, { output: guest.output, log });
} else {
  const all = JSON.parse(readFileSync(join(folder, 'heard.json'), 'utf8')) as readonly Heard[];
  for (const step of steps) {
    t.test(step.name, async (t) => {
      const heard = all.find(({ name }) => name === step.name);
      t.ok(heard?.change !== undefined, 'the change came', { log: log.slice(-4_000) });
      t.comment(`came ${heard?.afterMs} ms after the end of ${step.command}`);
      if (step.before !== undefined) t.match(heard?.change?.before, step.before);
      if (step.after !== undefined) t.match(heard?.change?.after, step.after);
      t.equal(heard?.change?.actor?.how ?? 'unknown', 'unknown', 'nobody is named');
    });
  }
}

function runInGuest(): Promise<{ readonly status: number; readonly output: string }> {
  const script = (name: string): string => join(import.meta.dirname, name);
  return new Promise((resolve) => {
    execFile(
      script('uml-run.sh'),
      [script('ipvs/guest.sh'), process.execPath, script('ipvs/live.guest.ts')],
      { env: { ...process.env, UML_RES: folder, UML_TIMEOUT_S: '170' }, timeout: 190_000 },
      (error, stdout, stderr) => resolve({ status: error === null ? 0 : typeof error.code === 'number' ? error.code : 1, output: `${stdout}${stderr}` }),
    );
  });
}
