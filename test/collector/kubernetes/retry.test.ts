// What follows on each kind of failure.
import t from 'tap';
import { ApiRefusal } from '../../../collector/kubernetes/request.ts';
import { Expired, type Standing, type Step, stepAfter } from '../../../collector/kubernetes/retry.ts';

const refused = (status: number, retryAfterMs = 0): ApiRefusal => new ApiRefusal(status, `the API answered ${status}`, retryAfterMs);
const broken = Object.assign(new Error('socket hang up'), { code: 'ECONNRESET' });
const watching: Standing = { listed: true, failures: 0, during: 'watch' };
const listing: Standing = { listed: false, failures: 0, during: 'list' };

interface Case {
  readonly name: string;
  readonly error: unknown;
  readonly standing: Standing;
  readonly expect: Partial<Record<keyof Step, unknown>>;
}

const cases: readonly Case[] = [
  { name: 'one broken watch is resumed without a word', error: broken, standing: watching, expect: { next: 'resume', reason: undefined, renew: false } },
  { name: 'the second is told', error: broken, standing: { ...watching, failures: 1 }, expect: { next: 'resume', reason: 'socket hang up' } },
  { name: 'the third puts the version in doubt', error: broken, standing: { ...watching, failures: 2 }, expect: { next: 'relist' } },
  { name: 'a list that fails is read again', error: broken, standing: listing, expect: { next: 'relist', reason: 'socket hang up' } },
  { name: '410 in the stream is no fault', error: new Expired('too old'), standing: watching, expect: { next: 'relist', reason: undefined } },
  { name: '410 at the start of a watch neither', error: refused(410), standing: watching, expect: { next: 'relist', reason: undefined } },
  { name: '410 again and again waits longer', error: refused(410), standing: { ...watching, failures: 5 }, expect: { jitterMs: 8_000 } },
  { name: '429 waits as long as it is told to', error: refused(429, 7_000), standing: watching, expect: { next: 'resume', leastMs: 7_000, reason: /429/ } },
  { name: '500', error: refused(500), standing: watching, expect: { next: 'resume', reason: /500/ } },
  { name: '401 reads the credentials anew', error: refused(401), standing: watching, expect: { renew: true } },
  {
    name: 'so does a certificate that is not trusted',
    error: Object.assign(new Error('unable to verify'), { code: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' }),
    standing: listing,
    expect: { renew: true },
  },
  { name: '403 to a list: not to be had for now', error: refused(403), standing: listing, expect: { next: 'unreadable', leastMs: 60_000 } },
  { name: '404 likewise', error: refused(404), standing: listing, expect: { next: 'unreadable' } },
  { name: '403 to a watch: listed now and then', error: refused(403), standing: watching, expect: { next: 'poll', leastMs: 30_000 } },
  { name: 'pauses grow, and have an end', error: broken, standing: { ...listing, failures: 50 }, expect: { jitterMs: 30_000 } },
];
for (const { name, error, standing, expect } of cases) {
  t.test(name, (t) => {
    const step = stepAfter(error, standing, 30_000);
    t.match(step, Object.fromEntries(Object.entries(expect).filter(([, value]) => value !== undefined)));
    if ('reason' in expect && expect.reason === undefined) t.notOk('reason' in step);
    t.end();
  });
}
