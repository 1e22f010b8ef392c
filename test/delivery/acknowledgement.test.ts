// One acknowledgement as the kernel saw it: the collector's changes are on disk (fdatasync of the write-ahead log) before the frame that acknowledges them is written.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { changeOf, TestAgent } from '../collector/ingest/client.ts';
import { objectsOf, writeObjects } from '../collector/ingest/cluster.ts';
import { freePort } from './ports.ts';

const canTrace = spawnSync('strace', ['-o', '/dev/null', 'true']).status === 0;
t.setTimeout(120_000);

interface Call {
  readonly name: string;
  readonly file: string;
  /** Seconds since 1970 when it began, and when it had ended. */
  readonly from: number;
  readonly to: number;
  readonly text: string;
}

/** The calls of all threads; one that another interrupts in the log is put together again. */
function callsOf(log: string): readonly Call[] {
  const begun = new Map<string, { readonly head: string; readonly from: number }>();
  return log.split('\n').flatMap((line): Call[] => {
    const [, thread = '', at = '', text = ''] = /^(\d+)\s+(\d+\.\d+) (.*)$/.exec(line) ?? [];
    if (text.endsWith('<unfinished ...>')) {
      begun.set(thread, { head: text.slice(0, -'<unfinished ...>'.length), from: Number(at) });
      return [];
    }
    const resumed = /^<\.\.\. \w+ resumed>(.*)$/.exec(text)?.[1];
    const { head = '', from = Number(at) } = resumed === undefined ? {} : (begun.get(thread) ?? {});
    const whole = resumed === undefined ? text : `${head}${resumed}`;
    const found = /^(\w+)\(\d+<([^>]*)>.*<(\d+\.\d+)>$/.exec(whole);
    return found === null ? [] : [{ name: found[1] as string, file: found[2] as string, from, to: from + Number(found[3]), text: whole }];
  });
}

t.test('fdatasync comes before the frame', { skip: canTrace ? false : 'strace is not installed, or nothing may be traced here' }, async (t) => {
  const directory = t.testdir({});
  await writeObjects(join(directory, 'cluster'), objectsOf());
  const [port, log] = [await freePort(), join(directory, 'calls')];
  const program = [process.execPath, '--disable-warning=ExperimentalWarning', join(import.meta.dirname, 'collector.program.ts'), String(port)];
  const words = ['-f', '-ttt', '-T', '-yy', '-s', '4096', '-e', 'trace=write,writev,pwrite64,sendto,sendmsg,fdatasync,fsync', '-o', log];
  const traced = spawn('strace', [...words, ...program, join(directory, 'data'), join(directory, 'cluster')], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [ready] = (await once(traced.stdout, 'data')) as [Buffer];
  const agent = await TestAgent.start(`http://127.0.0.1:${port}`);
  agent.sendChanges([changeOf(1, { after: 'the change that is looked for' })]);
  await agent.until('ack', (ack) => ack.changes === 1);
  await agent.stop();
  const ended = once(traced, 'close');
  // strace itself takes no signal while it traces.
  process.kill(Number(ready.toString().split(' ')[1]), 'SIGTERM');
  await ended;
  const calls = callsOf(readFileSync(log, 'utf8'));
  const written = calls.find(
    ({ name, file, text }) => name.startsWith('pwrite') && file.endsWith('portreeve.db-wal') && text.includes('the change that is looked for'),
  );
  const synced = calls.find(
    ({ name, file, from }) => /^f(data)?sync$/.test(name) && file.endsWith('portreeve.db-wal') && from >= (written?.to ?? Number.POSITIVE_INFINITY),
  );
  const acknowledged = calls.find(({ file, text }) => file.startsWith('TCP') && /\\?"type\\?":\\?"ack\\?",\\?"changes\\?":1/.test(text));
  t.ok(written, 'the change was written to the log');
  t.ok(synced, 'the log was synced after that');
  t.ok(acknowledged, 'the acknowledgement was sent');
  t.ok((acknowledged?.from ?? 0) >= (synced?.to ?? Number.POSITIVE_INFINITY), 'only when the sync had ended');
  for (const call of [written, synced, acknowledged])
    t.comment(`${call?.from.toFixed(6)} ${call?.name} ${call?.file.split('/').at(-1)}, ended ${call?.to.toFixed(6)}`);
});
