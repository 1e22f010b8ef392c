// Where an agent answers questions on its own node: known to the agent that opens the socket and to those who ask.
import { join } from 'node:path';
import { type Parsed, textOf } from '../command.ts';

/** Where an agent answers if it is not told otherwise: the directory that systemd's RuntimeDirectory=portreeve makes. */
export const runDirectory = '/run/portreeve';
/** Name of the socket in the state or run directory. */
export const socketName = 'agent.sock';

/** The socket that the options name; undefined when they name none. */
export function socketOf(parsed: Parsed): string | undefined {
  const [socket, state] = [textOf(parsed, 'socket'), textOf(parsed, 'state')];
  return socket ?? (state === undefined ? undefined : join(state, socketName));
}
