// Sends datagrams as fast as it can: `node flood.program.ts ADDRESS PORT COUNT [SOURCES]`, from 198.18.0.1, 198.18.1.1 … in turn where sources are given.
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';

const [address = '', port, count, sources] = process.argv.slice(2);
const sockets: Socket[] = [];
for (let i = 0; i < Number(sources ?? 1); i++) {
  const socket = createSocket('udp4');
  if (sources !== undefined) socket.bind(0, `198.18.${i}.1`);
  else socket.bind(0);
  await once(socket, 'listening');
  sockets.push(socket);
}
for (let sent = 0; sent < Number(count); sent += 100) {
  const batch = Array.from({ length: Math.min(100, Number(count) - sent) }, (_, i) => {
    const socket = sockets[(sent + i) % sockets.length] as Socket;
    return new Promise((resolve) => socket.send('x', Number(port), address, resolve));
  });
  await Promise.all(batch);
}
for (const socket of sockets) socket.close();
