import t from 'tap';
import { pongText, readPong } from '../../../shared/wire/pong.ts';
import { newSession } from '../../../shared/wire/session.ts';

t.test('an answer says whether anything waits and how many frames were sent', async (t) => {
  const session = newSession({ node: 'n', version: '1', bootId: 'b', stream: 's', startedAt: 1, capabilities: [] });
  t.strictSame(readPong(pongText({ ...session, phase: 'open' }, { asked: '7', frames: 3 })), { complete: 7, frames: 3 });
  t.strictSame(readPong(pongText(session, { asked: '7', frames: 3 })), { frames: 3 }, 'before the welcome');
  const waiting = { ...session, phase: 'open' as const, outbox: { ...session.outbox, backlog: true } };
  t.strictSame(readPong(pongText(waiting, { asked: '7', frames: 3 })), { frames: 3 });
});

t.test('what a plain client answers, and nonsense', async (t) => {
  t.strictSame(readPong('7'), { complete: 7 });
  for (const text of ['', 'x', '1/2/3', '-1', '1e9/4']) t.strictSame(readPong(text), {}, text);
});
