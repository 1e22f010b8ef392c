// Carries TCP connections from one network namespace to another: a unix socket in the file system is reachable from both.
//
// In a node's namespace `node relay.ts PORT PATH` listens on 127.0.0.1:PORT and passes each connection to the unix socket PATH; the other end is `relayTo`.
// So an agent reaches a collector that listens on the loopback address of another namespace, and nothing has to leave the machine or be routed.
import { connect, createServer, type Server, type Socket } from 'node:net';

/** Passes connections to the unix socket `path` on to a TCP port of the own loopback. Close the server to end it; open connections end with their peers. */
export function relayTo(path: string, port: () => number): Promise<Server> {
  const server = createServer((socket) => join(socket, connect(port(), '127.0.0.1')));
  return new Promise((resolve, reject) => server.once('error', reject).listen(path, () => resolve(server)));
}

if (import.meta.main) {
  const [port = '', path = ''] = process.argv.slice(2);
  process.title = 'relay';
  createServer((socket) => join(socket, connect(path))).listen(Number(port), '127.0.0.1', () => console.log('ready'));
}

// Either side's end or error is the other's: a collector that is killed must look killed to the agent.
function join(near: Socket, far: Socket): void {
  near.on('error', () => far.destroy()).on('close', () => far.destroy());
  far.on('error', () => near.destroy()).on('close', () => near.destroy());
  near.pipe(far).pipe(near);
}
