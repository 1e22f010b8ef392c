// Sends packets from a namespace and says what became of each: reads one JSON probe a line, writes one JSON observation a line.
import { createSocket } from 'node:dgram';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import type { Observation, Probe } from './probe.ts';

process.title = 'prober';
createInterface({ input: process.stdin }).on('line', (line) => {
  const probe = JSON.parse(line) as Probe;
  const sent = probe.protocol === 'tcp' ? overTcp(probe) : overUdp(probe);
  void sent.then((observation) => process.stdout.write(`${JSON.stringify(observation)}\n`));
});
process.stdout.write('ready\n');

/** A connection; `met` is `ok` when the handshake is through, with the answer of whoever took it if that came too. */
function overTcp(probe: Probe): Promise<Observation> {
  return new Promise((resolve) => {
    let connected = false;
    let text = '';
    const socket = connect({ host: probe.to, port: probe.port, localAddress: probe.from, localPort: probe.fromPort });
    const finish = (observation: Omit<Observation, 'id'>): void => {
      clearTimeout(timer);
      socket.removeAllListeners();
      socket.on('error', () => undefined);
      socket.resetAndDestroy();
      resolve({ id: probe.id, ...observation });
    };
    const timer = setTimeout(() => finish(connected ? { met: 'ok' } : { met: 'timeout' }), probe.timeoutMs);
    socket.on('connect', () => (connected = true));
    socket.on('data', (data) => {
      text += String(data);
      if (text.endsWith('\n')) finish({ met: 'ok', answer: JSON.parse(text) });
    });
    socket.on('error', (error: NodeJS.ErrnoException) => finish(connected ? { met: 'ok' } : met(error.code ?? '')));
    socket.on('close', () => finish(connected ? { met: 'ok' } : { met: 'timeout' }));
  });
}

function overUdp(probe: Probe): Promise<Observation> {
  return new Promise((resolve) => {
    const socket = createSocket(probe.to.includes(':') ? 'udp6' : 'udp4');
    const finish = (observation: Omit<Observation, 'id'>): void => {
      clearTimeout(timer);
      socket.removeAllListeners();
      socket.on('error', () => undefined);
      socket.close();
      resolve({ id: probe.id, ...observation });
    };
    const timer = setTimeout(() => finish({ met: 'timeout' }), probe.timeoutMs);
    socket.on('error', (error: NodeJS.ErrnoException) => finish(met(error.code ?? '')));
    socket.on('message', (message) => finish({ met: 'ok', answer: JSON.parse(String(message)) }));
    socket.bind({ port: probe.fromPort, address: probe.from }, () => {
      socket.connect(probe.port, probe.to, (error?: Error) => {
        if (error === undefined || error === null) socket.send('?', (failed) => failed && finish(met((failed as NodeJS.ErrnoException).code ?? '')));
      });
    });
  });
}

/** EPERM is how a process learns that its own packet was dropped in output. */
function met(code: string): Omit<Observation, 'id'> {
  if (code === 'ECONNREFUSED' || code === 'ECONNRESET') return { met: 'refused' };
  if (code === 'EPERM' || code === 'ETIMEDOUT') return { met: 'timeout' };
  if (code === 'EHOSTUNREACH' || code === 'ENETUNREACH' || code === 'EACCES' || code === 'ENOPROTOOPT') return { met: 'unreachable' };
  return { met: 'error', error: code };
}
