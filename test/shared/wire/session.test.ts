import fc from 'fast-check';
import t from 'tap';
import { limits } from '../../../shared/limits.ts';
import type { Change } from '../../../shared/model/change.ts';
import type { Fact } from '../../../shared/model/fact.ts';
import { encode } from '../../../shared/wire/codec.ts';
import type { AgentMessage, ChangesMessage, CollectorMessage, StateMessage } from '../../../shared/wire/messages.ts';
import { newSession, type Session, type SessionEffect, type SessionInput, sameFact, step } from '../../../shared/wire/session.ts';

const identity = { node: 'n1', version: '1', bootId: 'b', stream: 's', capabilities: [] };
const change = (text: string): Change => ({ at: 1, node: 'n1', kind: 'rule', subject: 'ip filter FORWARD', before: null, after: text });
const sysctl = (name: string, value: string): Fact => ({ kind: 'sysctl', key: `sysctl/${name}`, name, value });
const facts = (...list: readonly Fact[]): ReadonlyMap<string, Fact> => new Map(list.map((fact) => [fact.key, fact]));
const welcome = (resumeAfter: number): SessionInput => ({
  kind: 'message',
  message: { type: 'welcome', session: 'x', resumeAfter, limits: { frameBytesMax: limits.frameBytesMax, heartbeatMs: 1 } },
});

function drive(state: Session, ...inputs: readonly SessionInput[]): { state: Session; sent: AgentMessage[]; effects: SessionEffect[] } {
  const effects: SessionEffect[] = [];
  let now = state;
  for (const input of inputs) {
    const stepped = step(now, input);
    now = stepped.state;
    effects.push(...stepped.effects);
  }
  return { state: now, effects, sent: effects.flatMap((effect) => (effect.kind === 'send' ? [effect.message] : [])) };
}

const connected: SessionInput = { kind: 'connected', clock: 5 };
const seqs = (sent: readonly AgentMessage[]): number[] => sent.flatMap((message) => (message.type === 'changes' ? message.changes.map(({ seq }) => seq) : []));

t.test('hello goes first and nothing else before welcome', async (t) => {
  const { sent } = drive(
    newSession(identity),
    connected,
    { kind: 'facts', facts: facts(sysctl('a', '1')), at: 1 },
    { kind: 'changes', changes: [change('x')] },
  );
  t.match(sent, [{ type: 'hello', node: 'n1', stream: 's', acknowledged: 0, clock: 5 }]);
  t.equal(sent.length, 1);
});

t.test('after welcome a full state, then what differs, then nothing', async (t) => {
  const first = drive(newSession(identity), connected, { kind: 'facts', facts: facts(sysctl('a', '1'), sysctl('b', '1')), at: 1 }, welcome(0));
  t.match(first.sent.at(-1), { type: 'state', full: true, more: false, seq: 1 });
  const second = drive(first.state, { kind: 'facts', facts: facts(sysctl('a', '2')), at: 2 });
  t.match(second.sent, [{ type: 'state', full: false, seq: 2, put: [{ key: 'sysctl/a', value: '2' }], delete: ['sysctl/b'] }]);
  t.strictSame(drive(second.state, { kind: 'facts', facts: facts(sysctl('a', '2')), at: 3 }).sent, []);
});

t.test('an empty full state is sent all the same: it clears what the collector had', async (t) => {
  const { sent } = drive(newSession(identity), connected, { kind: 'facts', facts: facts(), at: 1 }, welcome(0));
  t.match(sent.at(-1), { type: 'state', full: true, more: false, put: [], delete: [] });
});

for (const count of [limits.stateFactsMax - 1, limits.stateFactsMax, limits.stateFactsMax + 1]) {
  t.test(`a full state of ${count} facts`, async (t) => {
    const many = facts(...Array.from({ length: count }, (_, i) => sysctl(`n${i}`, 'x')));
    const { sent } = drive(newSession(identity), connected, { kind: 'facts', facts: many, at: 1 }, welcome(0));
    const states = sent.filter((message): message is StateMessage => message.type === 'state');
    t.strictSame(
      states.map(({ more }) => more),
      count > limits.stateFactsMax ? [true, false] : [false],
    );
    t.equal(
      states.reduce((sum, { put }) => sum + put.length, 0),
      count,
    );
  });
}

t.test('large facts and changes are spread over frames that the limit allows', async (t) => {
  const large = facts(...Array.from({ length: 50 }, (_, i) => sysctl(`n${i}`, 'ü'.repeat(20_000))));
  const changes = Array.from({ length: 199 }, () => change('z'.repeat(limits.changeTextBytesMax)));
  const { sent } = drive(newSession(identity), connected, { kind: 'facts', facts: large, at: 1 }, { kind: 'changes', changes }, welcome(0));
  t.doesNotThrow(() => sent.map(encode));
  t.equal(sent.filter(({ type }) => type === 'state').length > 1, true);
});

t.test('text over the limit is cut at a line and says so', async (t) => {
  const text = Array.from({ length: 2_000 }, (_, i) => `-A FORWARD -s 10.0.${i % 256}.1/32 -j DROP`).join('\n');
  const { state } = drive(newSession(identity), { kind: 'changes', changes: [change(text), change('ü'.repeat(limits.changeTextBytesMax))] });
  const [lines, single] = state.queue.map(({ change: { after } }) => after ?? '');
  t.match(lines, /\n… and \d+ more of 2000 lines$/);
  t.ok(Buffer.byteLength(lines ?? '') <= limits.changeTextBytesMax);
  t.match(single, /ü\n… cut$/);
  t.ok(Buffer.byteLength(single ?? '') <= limits.changeTextBytesMax);
});

t.test('acknowledged changes are forgotten, the others are sent again after what welcome names', async (t) => {
  const open = drive(newSession(identity), connected, welcome(0), { kind: 'changes', changes: ['a', 'b', 'c', 'd'].map(change) });
  t.strictSame(seqs(open.sent), [1, 2, 3, 4]);
  const acked = drive(open.state, { kind: 'message', message: { type: 'ack', changes: 2, state: 0 } });
  t.equal(acked.state.queue.length, 2);
  const again = drive(acked.state, { kind: 'disconnected' }, connected, welcome(3));
  t.match(again.sent[0], { type: 'hello', acknowledged: 2 });
  t.strictSame(seqs(again.sent), [4]);
});

t.test('a slow collector gets four batches and the next with each acknowledgement', async (t) => {
  const changes = Array.from({ length: limits.changesBatchMax * 6 }, (_, i) => change(`${i}`));
  const open = drive(newSession(identity), connected, welcome(0), { kind: 'changes', changes });
  t.equal(seqs(open.sent).at(-1), limits.changesBatchMax * 4);
  const more = drive(open.state, { kind: 'message', message: { type: 'ack', changes: limits.changesBatchMax, state: 0 } });
  t.strictSame([seqs(more.sent)[0], seqs(more.sent).at(-1)], [limits.changesBatchMax * 4 + 1, limits.changesBatchMax * 5]);
});

for (const over of [-1, 0, 1]) {
  t.test(`the queue at its limit ${over < 0 ? '' : '+'}${over}`, async (t) => {
    const changes = Array.from({ length: limits.unacknowledgedChangesMax + over }, (_, i) => change(`${i}`));
    const { state } = drive(newSession(identity), { kind: 'changes', changes });
    const [first] = state.queue;
    t.equal(state.queue.length <= limits.unacknowledgedChangesMax, true);
    t.equal(first?.change.kind, over > 0 ? 'gap' : 'rule');
    if (over <= 0) return;
    t.equal(first?.change.subject, `changes 1 to ${first?.change.seq}`);
    t.match(first?.change.after, `${first?.change.seq} changes were not kept`);
    t.strictSame(
      state.queue.map(({ change: { seq } }) => seq),
      Array.from({ length: state.queue.length }, (_, i) => (first?.change.seq ?? 0) + i),
    );
  });
}

t.test('what breaks the protocol is answered with an error and a new connection', async (t) => {
  const open = drive(newSession(identity), connected, welcome(0));
  const cases: readonly CollectorMessage[] = [
    { type: 'ack', changes: 7, state: 0 },
    { type: 'welcome', session: 'again', resumeAfter: 0, limits: { frameBytesMax: 1, heartbeatMs: 1 } },
  ];
  for (const message of cases) {
    const { effects, state } = drive(open.state, { kind: 'message', message });
    t.strictSame(
      effects.map(({ kind }) => kind),
      ['send', 'reconnect'],
      message.type,
    );
    t.equal(state.phase, 'closed');
    t.strictSame(drive(state, { kind: 'message', message }).effects, [], 'what still arrives is not read');
  }
  t.strictSame(
    drive(newSession(identity), connected, { kind: 'message', message: { type: 'ack', changes: 0, state: 0 } }).effects.map(({ kind }) => kind),
    ['send', 'send', 'reconnect'],
  );
});

t.test('what an earlier run left goes on under its numbers', async (t) => {
  const left = [4, 5].map((seq) => ({ ...change(`${seq}`), stream: 's', seq }));
  const waiting = drive(newSession(identity, left), { kind: 'changes', changes: [change('new')] }, connected);
  t.match(waiting.sent, [{ type: 'hello', acknowledged: 3 }]);
  t.strictSame(seqs(drive(waiting.state, welcome(3)).sent), [4, 5, 6]);
  t.strictSame(seqs(drive(waiting.state, welcome(4)).sent), [5, 6]);
  const ahead = drive(waiting.state, welcome(9));
  t.strictSame(seqs(ahead.sent), [10], 'the collector has more than was left: only what is new is sent, after it');
  t.strictSame(seqs(drive(ahead.state, { kind: 'disconnected' }, connected, welcome(9)).sent), [10]);
});

t.test('packets that a fact counts are no difference', async (t) => {
  const nodePort = (packets: string, text = 'x') => ({ kind: 'nodeport', outcomes: { external: [{ decidedBy: { text, packets } }] } });
  t.equal(sameFact(nodePort('1'), nodePort('2')), true);
  t.equal(sameFact(nodePort('1'), nodePort('1', 'y')), false);
  t.equal(sameFact({ a: [1] }, { a: [1, 2] }), false);
  t.equal(sameFact({ a: undefined }, { b: undefined }), false);
});

// The collector's store as the protocol defines it: changes of a stream in order, once each. Messages in flight are lost at any disconnection.
t.test('any loss of connections ends with every change stored once, in order', async (t) => {
  const event = fc.oneof(
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('change' as const), count: fc.integer({ min: 1, max: 3 }) }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('deliver' as const), count: fc.integer({ min: 1, max: 4 }) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('lose' as const), count: fc.constant(0) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('set' as const), count: fc.integer({ min: 0, max: 3 }) }) },
  );
  const agreement = fc.property(fc.array(event, { maxLength: 40 }), (events) => {
    const world = new World();
    for (const { kind, count } of events) world[kind](count);
    world.settle();
    return world.agrees();
  });
  t.doesNotThrow(() => fc.assert(agreement, { numRuns: 300 }));
});

class World {
  #session = newSession(identity);
  #wire: AgentMessage[] = [];
  #answers: CollectorMessage[] = [];
  #stored: number[] = [];
  #facts = new Map<string, Fact>();
  #known = new Map<string, unknown>();
  #changes = 0;

  change(count: number): void {
    this.#changes += count;
    this.#input({ kind: 'changes', changes: Array.from({ length: count }, () => change('x')) });
  }

  set(value: number): void {
    this.#facts = new Map(Array.from({ length: value }, (_, i) => [`sysctl/${i}`, sysctl(`${i}`, `${value}`)]));
    this.#input({ kind: 'facts', facts: this.#facts, at: 1 });
  }

  deliver(count: number): void {
    for (let i = 0; i < count; i++) {
      const message = this.#wire.shift();
      if (message !== undefined) this.#take(message);
      // Answers come back a message later, so that a connection can end between storing and acknowledging.
      const answer = message === undefined || this.#answers.length > 1 ? this.#answers.shift() : undefined;
      if (answer !== undefined) this.#input({ kind: 'message', message: answer });
    }
  }

  lose(): void {
    this.#wire = [];
    this.#answers = [];
    this.#input({ kind: 'disconnected' });
    this.#input(connected);
  }

  settle(): void {
    this.set(2);
    if (this.#session.phase === 'closed') this.#input(connected);
    while (this.#wire.length + this.#answers.length > 0) this.deliver(1);
  }

  agrees(): boolean {
    const inOrder = this.#stored.length === this.#changes && this.#stored.every((seq, i) => seq === i + 1);
    return inOrder && this.#session.queue.length === 0 && JSON.stringify([...this.#known]) === JSON.stringify([...this.#facts]);
  }

  #input(input: SessionInput): void {
    const stepped = step(this.#session, input);
    this.#session = stepped.state;
    for (const effect of stepped.effects) {
      if (effect.kind === 'send') this.#wire.push(effect.message);
      if (effect.kind === 'reconnect') throw new Error(effect.reason);
    }
  }

  #take(message: AgentMessage): void {
    if (message.type === 'hello') this.#answer(welcome(this.#stored.at(-1) ?? 0));
    if (message.type === 'changes') this.#store(message);
    if (message.type === 'state') {
      if (message.full) this.#known.clear();
      for (const fact of message.put) this.#known.set(fact.key, fact);
      for (const key of message.delete) this.#known.delete(key);
    }
  }

  #store(message: ChangesMessage): void {
    this.#stored.push(...message.changes.map(({ seq }) => seq));
    this.#answers.push({ type: 'ack', changes: this.#stored.at(-1) ?? 0, state: 0 });
  }

  #answer(input: SessionInput): void {
    if (input.kind === 'message') this.#answers.push(input.message);
  }
}
