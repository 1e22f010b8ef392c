// A pod of the lab: answers on the ports of the captured pods with who it is and whom it sees, so that a client learns which way its connection took.
import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';

const [name = 'pod'] = process.argv.slice(2);
const tcpPorts = [8080, 8443, 9090];
const udpPort = 5353;

process.title = 'pod';
await Promise.all([...tcpPorts.map(listen), bind()]);
console.log('ready');

function listen(port: number): Promise<void> {
  const server = createServer((socket) => {
    socket.on('error', () => socket.destroy());
    socket.end(answer(port, socket.remoteAddress ?? ''));
  });
  return new Promise((resolve) => server.listen(port, '::', resolve));
}

function bind(): Promise<void> {
  const socket = createSocket({ type: 'udp6' });
  socket.on('message', (_message, { address, port }) => socket.send(answer(udpPort, address), port, address));
  return new Promise((resolve) => socket.bind(udpPort, '::', resolve));
}

function answer(port: number, source: string): string {
  return `pod=${name} port=${port} src=${source.replace('::ffff:', '')}\n`;
}
