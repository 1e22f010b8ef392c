// Who is told of findings: on changes of state, within a budget, in order, again after a failure, and never more than waits.
import { createHmac } from 'node:crypto';
import { createServer } from 'node:http';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { alertmanagerChannel } from '../../../collector/notify/alertmanager.ts';
import { Budgets, eventBudget } from '../../../collector/notify/budget.ts';
import { type OpenByCause, stepStates } from '../../../collector/notify/changes-of-state.ts';
import { eventChannel } from '../../../collector/notify/kubernetes-events.ts';
import { type Channel, Notifier, Unwelcome } from '../../../collector/notify/notifier.ts';
import { receiverUrl } from '../../../collector/notify/post.ts';
import { webhookChannel } from '../../../collector/notify/webhook.ts';
import type { LiveEvent } from '../../../collector/state/state.ts';
import { limits } from '../../../shared/limits.ts';
import type { Finding } from '../../../shared/model/finding.ts';

const findingOf = (node: string, more: Partial<Finding> = {}): Finding => ({
  id: `${node}/nodeport/tcp/4/30080/C08`,
  cause: 'C08',
  title: 'a rule drops',
  severity: 'error',
  confidence: 'certain',
  node,
  service: 'shop/web:http',
  port: 30080,
  protocol: 'tcp',
  family: 4,
  symptom: 'timeout',
  summary: 'shop/web times out',
  evidence: [],
  remedy: ['iptables -D FORWARD 1'],
  since: 1_000,
  ...more,
});
const opened = (finding: Finding): LiveEvent => ({ kind: 'finding-opened', finding, at: 2_000 });
const closed = (finding: Finding): LiveEvent => ({ kind: 'finding-closed', finding, at: 3_000 });

t.test('a Service changes its state with the first finding of a cause and the last', async (t) => {
  const [one, two] = [findingOf('node1'), findingOf('node2')];
  let open: OpenByCause = new Map();
  const states = [opened(one), opened(two), closed(one), closed(one), closed(two), opened(findingOf('node1', { severity: 'info' }))].map((event) => {
    const step = stepStates(open, event);
    open = step.open;
    return step.change?.state;
  });
  t.strictSame(states, ['broken', undefined, undefined, undefined, 'mended', undefined]);
  await fc.assert(
    fc.property(fc.array(fc.record({ node: fc.constantFrom('a', 'b', 'c'), isOpen: fc.boolean() }), { maxLength: 40 }), (events) => {
      let all: OpenByCause = new Map();
      const told: string[] = [];
      for (const { node, isOpen } of events) {
        const step = stepStates(all, (isOpen ? opened : closed)(findingOf(node)));
        all = step.open;
        if (step.change !== undefined) told.push(step.change.state);
      }
      return told.every((state, index) => state === (index % 2 === 0 ? 'broken' : 'mended')) && (told.length % 2 === 1) === all.size > 0;
    }),
  );
});

t.test('a budget of 25, then one in five minutes, for each object', async (t) => {
  const budgets = new Budgets();
  const taken = (object: string, now: number) => budgets.take(object, now);
  t.equal(Array.from({ length: 30 }, () => taken('shop/web', 0)).filter(Boolean).length, eventBudget.burst);
  t.notOk(taken('shop/web', eventBudget.refillMs - 1));
  t.ok(taken('shop/web', eventBudget.refillMs + 1));
  t.notOk(taken('shop/web', eventBudget.refillMs + 2));
  t.ok(taken('shop/db', 0), 'another has its own');
});

t.test('events on the Service', async (t) => {
  const created: object[] = [];
  const channel = eventChannel({
    create: async (namespace, event) => created.push({ namespace, ...event }),
    uidOf: (service) => (service === 'shop/web' ? 'u1' : undefined),
    now: () => Date.parse('2026-01-01T00:00:00.5Z'),
  });
  const say = async (event: LiveEvent) => {
    const words = channel.words(event);
    if (words !== undefined) await channel.send(words, AbortSignal.timeout(1_000));
  };
  await say(opened(findingOf('node1', { summary: 'x'.repeat(3_000) })));
  await say(opened(findingOf('node2')));
  await say(opened(findingOf('node1', { id: 'n', service: '', cause: 'D01' })));
  await say(opened(findingOf('node1', { id: 'm', service: 'shop/gone' })));
  await say(closed(findingOf('node1')));
  await say(closed(findingOf('node2')));
  t.match(created, [
    {
      namespace: 'shop',
      kind: 'Event',
      type: 'Warning',
      reason: 'NodePortUnreachable',
      involvedObject: { kind: 'Service', namespace: 'shop', name: 'web', uid: 'u1' },
      firstTimestamp: '2026-01-01T00:00:00Z',
      metadata: { generateName: 'web.', namespace: 'shop' },
    },
    { type: 'Normal', reason: 'NodePortReachable' },
  ]);
  t.equal(created.length, 2);
  t.ok((created[0] as { message: string }).message.length <= 1_024);
  const before = eventChannel({ create: async () => undefined, uidOf: () => 'u1', open: [findingOf('node1')] });
  t.equal(before.words(opened(findingOf('node2'))), undefined, 'of what was broken before a start no event is made');
  before.words(closed(findingOf('node2')));
  t.match(before.words(closed(findingOf('node1'))), { reason: 'NodePortReachable' });
});

/** A receiver that answers what it is told to and keeps what it got. */
async function receiver(t: Test, answers: number[]) {
  const got: { readonly body: string; readonly headers: Record<string, unknown> }[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk) => {
      body += String(chunk);
    });
    request.on('end', () => {
      got.push({ body, headers: request.headers });
      response.writeHead(answers.shift() ?? 200).end('no');
    });
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  t.teardown(() => server.close());
  return { got, url: new URL(`http://127.0.0.1:${(server.address() as { port: number }).port}/hook`) };
}

const settled = async (fits: () => boolean) => {
  for (const deadline = Date.now() + 5_000; !fits() && Date.now() < deadline; ) await new Promise((resolve) => setTimeout(resolve, 5));
};

function notifierOf(channel: Channel, speaks: () => boolean = () => true) {
  const listeners: ((event: LiveEvent) => void)[] = [];
  const warnings: object[] = [];
  const notifier = new Notifier({
    state: {
      subscribe: (listener) => {
        listeners.push(listener);
        return () => listeners.splice(0);
      },
    },
    channels: [channel],
    log: { warn: (details) => warnings.push(details) },
    retryMs: 1,
    speaks,
  });
  const count = (outcome: string) => notifier.samples.find(({ labels }) => labels['outcome'] === outcome)?.value;
  return { notifier, warnings, count, tell: (event: LiveEvent) => void listeners.map((listener) => listener(event)) };
}

t.test('a webhook is told in order, again after a failure, with a signature', async (t) => {
  const { got, url } = await receiver(t, [503, 200, 400, 200]);
  const { notifier, warnings, count, tell } = notifierOf(webhookChannel({ url, secret: 's3cret' }));
  tell(opened(findingOf('node1')));
  tell(opened(findingOf('node2')));
  tell(closed(findingOf('node1')));
  tell({ kind: 'judged', node: 'node1' });
  await settled(() => notifier.waiting === 0);
  t.strictSame(
    got.map(({ body }) => {
      const { event, finding } = JSON.parse(body);
      return `${event} ${finding.node}`;
    }),
    ['finding-opened node1', 'finding-opened node1', 'finding-opened node2', 'finding-closed node1'],
    'the first is said twice, the one that is not taken at all once',
  );
  t.strictSame([count('sent'), count('failed'), count('dropped')], [2, 1, 0]);
  t.equal(warnings.length, 2, 'told once for each time that it stopped working');
  for (const { body, headers } of got) t.equal(headers['x-portreeve-signature'], `sha256=${createHmac('sha256', 's3cret').update(body).digest('hex')}`);
  notifier.close();
});

t.test('what waits is bounded, and the oldest is left out', async (t) => {
  const said: unknown[] = [];
  let release: () => void = () => undefined;
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  const channel: Channel = {
    name: 'slow',
    words: (event) => ('at' in event ? event.at : undefined),
    send: async (words) => {
      await held;
      said.push(words);
    },
  };
  const { notifier, count, tell } = notifierOf(channel);
  for (let at = 0; at < limits.notificationsMax + 5; at++) tell({ kind: 'node', node: 'n', connected: true, at });
  t.equal(notifier.waiting, limits.notificationsMax);
  release();
  await settled(() => notifier.waiting === 0);
  t.equal(count('dropped'), 5);
  t.equal(said.at(-1), limits.notificationsMax + 4);
  notifier.close();
});

t.test('Alertmanager is told again while a finding lasts', async (t) => {
  const now = 10_000;
  const channel = alertmanagerChannel({ url: receiverUrl('alertmanager', 'http://127.0.0.1:9093/am/'), open: [findingOf('node9')], now: () => now });
  t.match(channel.words(opened(findingOf('node1'))), [
    { labels: { alertname: 'NodePortUnreachable', node: 'node1' }, startsAt: '1970-01-01T00:00:01.000Z', endsAt: '1970-01-01T00:04:10.000Z' },
  ]);
  const [standing] = (channel.standing?.() ?? []) as object[][];
  t.match(standing, [{ labels: { node: 'node9' } }, { labels: { node: 'node1' } }], 'those of before a restart as well');
  t.match(channel.words(closed(findingOf('node1'))), [{ endsAt: '1970-01-01T00:00:03.000Z' }]);
  t.equal(channel.words(opened(findingOf('node2', { severity: 'info' }))), undefined);
  t.throws(() => receiverUrl('alertmanager', 'ftp://x'), { code: 'USAGE' });
  t.ok(new Unwelcome(500, 'x') instanceof Error);
});

t.test('of several collectors whoever finds something tells of it, and one alone of what is of all nodes', async (t) => {
  for (const { ofAll, speaks, said } of [
    { ofAll: false, speaks: false, said: ['here'] },
    { ofAll: false, speaks: true, said: ['here'] },
    { ofAll: true, speaks: false, said: [] },
    { ofAll: true, speaks: true, said: ['here', 'there'] },
  ]) {
    const sent: unknown[] = [];
    const followed: string[] = [];
    const channel: Channel = {
      name: 'test',
      ofAll,
      words: (event) => {
        if (!('finding' in event)) return undefined;
        followed.push(event.finding.node);
        return event.finding.node;
      },
      send: async (words) => void sent.push(words),
    };
    const { notifier, tell } = notifierOf(channel, () => speaks);
    tell(opened(findingOf('here')));
    tell({ kind: 'finding-opened', finding: findingOf('there'), at: 2_000, elsewhere: true });
    await settled(() => notifier.waiting === 0);
    notifier.close();
    t.strictSame([sent, followed], [said, ['here', 'there']], `of all ${ofAll}, speaks ${speaks}`);
  }
});
