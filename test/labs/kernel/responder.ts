// A host of the arena: answers on its TCP and UDP ports with who it is, on which port, and whom it sees.
import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';
import { networkInterfaces } from 'node:os';
import { tcpPorts, udpPorts } from './ports.ts';

const [who = 'host'] = process.argv.slice(2);
process.title = `responder ${who}`;

const answer = (port: number, source: string): string => `${JSON.stringify({ who, port, source: source.replace('::ffff:', '') })}\n`;

for (const port of tcpPorts) {
  const server = createServer((socket) => {
    socket.on('error', () => socket.destroy());
    socket.end(answer(port, socket.remoteAddress ?? ''));
  });
  await new Promise<void>((resolve) => server.listen({ port, host: '::', backlog: 1024 }, resolve));
}
// A socket for each address: one for all of them would answer from an address that the kernel chooses anew.
const own = Object.values(networkInterfaces()).flatMap((each) => each ?? []);
for (const port of udpPorts) {
  for (const { address, family, scopeid } of own) {
    const socket = createSocket(family === 'IPv6' ? 'udp6' : 'udp4');
    socket.on('message', (_message, remote) => socket.send(answer(port, remote.address), remote.port, remote.address));
    socket.on('error', () => undefined);
    if (scopeid === undefined || scopeid === 0) await new Promise<void>((resolve) => socket.bind(port, address, resolve));
  }
}
process.stdout.write('ready\n');
