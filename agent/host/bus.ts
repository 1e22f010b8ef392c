// The system bus: asks services of the host that answer there, and hears their signals. Nothing is started by asking, and nothing is changed.
import { access, constants } from 'node:fs/promises';
import { reasonOf } from '../../shared/errors.ts';

/** One question to a service on the bus. */
export interface BusCall {
  /** Well-known name of the service. */
  readonly destination: string;
  readonly path: string;
  readonly interface: string;
  readonly member: string;
  /** Types of the arguments, as D-Bus writes them; absent: none. */
  readonly signature?: string;
  readonly body?: readonly unknown[];
}

export interface BusSignal {
  readonly interface: string;
  readonly member: string;
  readonly body: readonly unknown[];
}

export interface Bus {
  /** The first value of the answer: dictionaries are objects, variants their values. Rejects with what the service or the bus says. */
  call(call: BusCall): Promise<unknown>;
  /** Hears the signals that a match rule describes until the bus is closed. Rejects when the bus refuses the rule. */
  watch(rule: string): Promise<void>;
  close(): Promise<void>;
}

export interface BusOptions {
  readonly onSignal?: (signal: BusSignal) => void;
  /** Called once, when the connection has ended for any reason but `close`. */
  readonly onEnd?: (reason: string) => void;
  /** `systemBusSocket` if absent. */
  readonly socket?: string;
  /** Milliseconds that an answer may take; 5,000 if absent. */
  readonly timeoutMs?: number;
}

/** `absent`: there is no bus here (a small system, or a container that was not given its socket). */
export type BusOutcome = { readonly kind: 'bus'; readonly bus: Bus } | { readonly kind: 'absent' } | { readonly kind: 'failed'; readonly reason: string };

export const systemBusSocket = '/run/dbus/system_bus_socket';

/** Connects to the system bus. Never rejects. The library is loaded only where there is a bus: it costs a megabyte. */
export async function connectBus({ onSignal, onEnd, socket = systemBusSocket, timeoutMs = 5_000 }: BusOptions = {}): Promise<BusOutcome> {
  try {
    await access(socket, constants.F_OK);
  } catch {
    return { kind: 'absent' };
  }
  const { default: dbus } = await import('dbus-native');
  let closed = false;
  // `direct`: the library throws what a bus answers to its own greeting where nobody can catch it, so we greet.
  const client = dbus.createClient({ socket, authMethods: ['EXTERNAL'], timeout: timeoutMs, direct: true });
  const end = (reason: string) => {
    if (closed) return;
    closed = true;
    onEnd?.(reason);
  };
  client.connection.on('error', (error: Error) => end(reasonOf(error)));
  for (const event of ['end', 'close']) client.connection.on(event, () => end('the bus closed the connection'));
  client.connection.on('message', (message: SignalMessage) => {
    if (message.type === signalType && !closed) onSignal?.({ interface: message.interface ?? '', member: message.member ?? '', body: message.body ?? [] });
  });
  const call = async ({ body = [], ...rest }: BusCall): Promise<unknown> =>
    await client.invoke({ ...rest, flags: noAutoStart, ...(rest.signature === undefined ? {} : { body: [...body] }) });
  const bus: Bus = {
    call,
    watch: async (rule) => void (await client.addMatch(rule)),
    close: async () => {
      closed = true;
      await client.close();
    },
  };
  try {
    // The first answer shows that the bus has let us in.
    await call({ destination: 'org.freedesktop.DBus', path: '/org/freedesktop/DBus', interface: 'org.freedesktop.DBus', member: 'Hello' });
    return { kind: 'bus', bus };
  } catch (error) {
    await bus.close();
    return { kind: 'failed', reason: reasonOf(error) };
  }
}

interface SignalMessage {
  readonly type: number;
  readonly interface?: string;
  readonly member?: string;
  readonly body?: readonly unknown[];
}

/** Of the D-Bus specification: the type of a signal, and the flag of a call that must not start a service. */
const signalType = 4;
const noAutoStart = 2;
