// What a daemon says to its service manager, over a pipe in place of the datagram socket that portreeve-launch leaves open (a real systemd hears it in
// test/packaging/installed.test.ts).
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import t from 'tap';

const program = fileURLToPath(new URL('service.program.ts', import.meta.url));

t.test('ready, alive, reloading, stopping', async (t) => {
  const env = { ...process.env, PORTREEVE_NOTIFY_FD: '3', WATCHDOG_USEC: '300000' };
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', program], { env, stdio: ['ignore', 'ignore', 'inherit', 'pipe'] });
  let said = '';
  child.stdio[3]?.on('data', (chunk: Buffer) => (said += chunk.toString('utf8')));
  const until = async (pattern: RegExp): Promise<void> => {
    for (const deadline = Date.now() + 10_000; !pattern.test(said) && Date.now() < deadline; ) await new Promise((resolve) => setTimeout(resolve, 10));
    t.match(said, pattern);
  };
  await until(/READY=1\nSTATUS=doing nothing/);
  await until(/WATCHDOG=1[\s\S]*WATCHDOG=1/);
  for (const which of ['a reload', 'a reload that fails']) {
    said = '';
    child.kill('SIGHUP');
    await until(/RELOADING=1\nMONOTONIC_USEC=\d+\n[\s\S]*READY=1\nSTATUS=doing nothing/);
    t.equal(child.exitCode, null, `${which} ends nothing`);
  }
  said = '';
  child.kill('SIGTERM');
  const [code] = await once(child, 'exit');
  t.equal(code, 0);
  t.match(said, /STOPPING=1/);
});

t.test('without a service manager nothing is said, and SIGHUP ends the process', async (t) => {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', program], {
    env: { ...process.env, PORTREEVE_NOTIFY_FD: '' },
    stdio: ['ignore', 'ignore', 'inherit', 'pipe'],
  });
  let said = '';
  child.stdio[3]?.on('data', (chunk: Buffer) => (said += chunk.toString('utf8')));
  await new Promise((resolve) => setTimeout(resolve, 500));
  child.kill('SIGHUP');
  const [, signal] = await once(child, 'exit');
  t.equal(signal, 'SIGHUP');
  t.equal(said, '');
});
