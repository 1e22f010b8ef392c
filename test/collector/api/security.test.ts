// How often one client may ask: below, at and above the limit; by itself, and by another.
import fastify from 'fastify';
import t from 'tap';
import { addRateLimit, RequestRate } from '../../../collector/api/security.ts';
import { limits } from '../../../shared/limits.ts';

t.test('requests are counted by client and minute', async (t) => {
  const rate = new RequestRate(3);
  const now = 600_000;
  t.strictSame(
    Array.from({ length: 5 }, () => rate.isOver('a', now)),
    [false, false, false, true, true],
  );
  t.equal(rate.isOver('b', now), false, 'another client is another matter');
  t.equal(rate.isOver('a', now + 59_999), true);
  t.equal(rate.isOver('a', now + 60_000), false, 'in the next minute it may ask again');
  const usual = new RequestRate();
  const over = Array.from({ length: limits.apiRequestsPerMinuteMax + 1 }, () => usual.isOver('a', now));
  t.strictSame(over.slice(-3), [false, false, true]);
});

t.test('who asks too often is told to wait', async (t) => {
  const app = fastify();
  addRateLimit(app, new RequestRate(2));
  app.get('/', async () => 'ok');
  const statuses = [];
  for (let i = 0; i < 3; i++) statuses.push((await app.inject('/')).statusCode);
  t.strictSame(statuses, [200, 200, 429]);
  const { headers } = await app.inject('/');
  t.equal(headers['retry-after'], '60');
  await app.close();
});
