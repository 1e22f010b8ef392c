// What an agent's pong says besides that it is alive: whether anything waits that was not sent, and how many frames were sent on this connection. Pure.
import { isAllSent } from './session.outbox.ts';
import type { Session } from './session.ts';

export interface Pong {
  /** The number of the ping, where all that the agent knew until now was sent before. */
  readonly complete?: number;
  /** Frames that were sent before on this connection; absent where a plain WebSocket client answers by itself. */
  readonly frames?: number;
}

/** The answer to a ping: `NUMBER/FRAMES`, or `/FRAMES` while something waits. */
export const pongText = ({ phase, outbox }: Session, { asked, frames }: { readonly asked: string; readonly frames: number }): string =>
  `${phase === 'open' && isAllSent(outbox) ? asked : ''}/${frames}`;

/** Reads an answer; what makes no sense says nothing. */
export function readPong(text: string): Pong {
  const found = /^(\d{0,15})(?:\/(\d{1,15}))?$/.exec(text);
  const [, complete = '', frames] = found ?? [];
  return { ...(complete === '' ? {} : { complete: Number(complete) }), ...(frames === undefined ? {} : { frames: Number(frames) }) };
}
