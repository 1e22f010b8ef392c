// A client of the lab: makes the connections it is told, one after another, and prints what it met as one line of JSON.
import { createSocket } from 'node:dgram';
import { connect } from 'node:net';

/** One connection to make: `to` is `ADDRESS:PORT`, with brackets around an IPv6 address. */
export interface Probe {
  readonly protocol: 'tcp' | 'udp';
  readonly to: string;
  readonly timeoutMs?: number;
}

/** What the client met, in the words of the captured traffic records. */
export interface Meeting extends Probe {
  readonly outcome: 'ok' | 'refused' | 'timeout' | 'unreachable';
  /** First line of the answer, where there was one. */
  readonly answer?: string;
  readonly error?: string;
  readonly ms: number;
}

if (import.meta.main) {
  const probes: readonly Probe[] = JSON.parse(process.argv[2] ?? '[]');
  const meetings: Meeting[] = [];
  for (const probe of probes) meetings.push(await meet(probe));
  console.log(JSON.stringify(meetings));
}

async function meet(probe: Probe): Promise<Meeting> {
  const start = performance.now();
  const result = await (probe.protocol === 'tcp' ? meetTcp(probe) : meetUdp(probe));
  return { ...probe, ...result, ms: Math.round(performance.now() - start) };
}

type Result = Pick<Meeting, 'outcome' | 'answer' | 'error'>;

function meetTcp(probe: Probe): Promise<Result> {
  return new Promise((resolve) => {
    const socket = connect({ ...target(probe), noDelay: true });
    const finish = (result: Result): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(result);
    };
    const timer = setTimeout(() => finish({ outcome: 'timeout', error: 'timed out' }), probe.timeoutMs ?? 2_000);
    // A health check port speaks HTTP and waits to be asked; a pod answers whatever it is sent.
    socket.on('connect', () => socket.write('GET / HTTP/1.0\r\n\r\n'));
    socket.on('data', (bytes) => finish({ outcome: 'ok', answer: bodyOf(bytes.toString()) }));
    socket.on('error', (error) => finish(failed(error)));
    socket.on('end', () => finish({ outcome: 'refused', error: 'closed without an answer' }));
  });
}

function meetUdp(probe: Probe): Promise<Result> {
  return new Promise((resolve) => {
    const { host, port } = target(probe);
    const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
    const finish = (result: Result): void => {
      clearTimeout(timer);
      socket.close();
      resolve(result);
    };
    const timer = setTimeout(() => finish({ outcome: 'timeout', error: 'timed out' }), probe.timeoutMs ?? 2_000);
    socket.on('message', (bytes) => finish({ outcome: 'ok', answer: bodyOf(bytes.toString()) }));
    socket.on('error', (error) => finish(failed(error)));
    socket.connect(port, host, () => socket.send('who'));
  });
}

function target({ to }: Probe): { readonly host: string; readonly port: number } {
  const colon = to.lastIndexOf(':');
  return { host: to.slice(0, colon).replaceAll(/[[\]]/g, ''), port: Number(to.slice(colon + 1)) };
}

function failed(error: NodeJS.ErrnoException): Result {
  const outcome = error.code === 'ECONNREFUSED' ? 'refused' : error.code === 'ETIMEDOUT' ? 'timeout' : 'unreachable';
  return { outcome, error: error.code ?? error.message };
}

function bodyOf(text: string): string {
  return (text.split('\r\n\r\n').at(-1) ?? text).trim();
}
