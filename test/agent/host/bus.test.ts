// The system bus where it is ill: one that says nothing, one that ends, one that lets nobody in. None of them ends the process that asks.
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import t, { type Test } from 'tap';
import { connectBus } from '../../../agent/host/bus.ts';

/** The path of a socket has 107 bytes at most: a test's own folder lies too deep. */
function shortDirectory(t: Test): string {
  const directory = mkdtempSync(join(tmpdir(), 'portreeve-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  return directory;
}

/** Listens in a bus's place. */
async function listen(t: Test, onConnect: (socket: Socket) => void): Promise<string> {
  const path = join(shortDirectory(t), 's');
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket.on('error', () => {}));
    onConnect(socket);
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  t.teardown(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  return path;
}

t.test('there is none', async (t) => t.strictSame(await connectBus({ socket: join(shortDirectory(t), 'none') }), { kind: 'absent' }));

t.test('it says nothing', async (t) => {
  const socket = await listen(t, (peer) => peer.resume());
  t.match(await connectBus({ socket, timeoutMs: 500 }), { kind: 'failed', reason: /./ });
});

t.test('it lets us in and then says nothing', async (t) => {
  const socket = await listen(t, (peer) =>
    peer.on('data', (data: Buffer) => {
      const text = data.toString('latin1');
      if (text.includes('AUTH EXTERNAL')) peer.write('OK 1234deadbeef1234deadbeef1234dead\r\n');
      if (text.includes('NEGOTIATE_UNIX_FD')) peer.write('ERROR\r\n');
    }),
  );
  t.match(await connectBus({ socket, timeoutMs: 500 }), { kind: 'failed', reason: /./ });
});

t.test('it ends at once', async (t) => {
  const socket = await listen(t, (peer) => peer.end());
  t.match(await connectBus({ socket, timeoutMs: 500 }), { kind: 'failed', reason: /./ });
});

const daemon = (process.env.PATH ?? '').split(delimiter).some((directory) => existsSync(join(directory, 'dbus-daemon')));
const policies = {
  open: '<allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/><allow user="*"/>',
  closed: '<deny send_destination="*"/><allow user="*"/>',
};

for (const [name, policy] of Object.entries(policies)) {
  t.test(`a real one, ${name}`, { skip: daemon ? false : 'dbus-daemon is not installed' }, async (t) => {
    const directory = shortDirectory(t);
    const [socket, config] = [join(directory, 's'), join(directory, 'config')];
    writeFileSync(config, `<busconfig><listen>unix:path=${socket}</listen><auth>EXTERNAL</auth><policy context="default">${policy}</policy></busconfig>`);
    const child = spawn('dbus-daemon', [`--config-file=${config}`, '--nofork'], { stdio: 'ignore' });
    t.teardown(() => child.kill());
    for (let tries = 0; tries < 500 && !existsSync(socket); tries++) await new Promise((resolve) => setTimeout(resolve, 20));
    const connected = await connectBus({ socket, timeoutMs: name === 'closed' ? 500 : 20_000 });
    if (name === 'closed') return t.match(connected, { kind: 'failed', reason: /./ });
    t.match(connected, { kind: 'bus' });
    if (connected.kind !== 'bus') return;
    t.equal(
      await connected.bus.call({
        destination: 'org.freedesktop.DBus',
        path: '/org/freedesktop/DBus',
        interface: 'org.freedesktop.DBus',
        member: 'NameHasOwner',
        signature: 's',
        body: ['org.freedesktop.DBus'],
      }),
      true,
    );
    await connected.bus.watch("type='signal',sender='org.freedesktop.DBus'");
    await connected.bus.close();
  });
}
