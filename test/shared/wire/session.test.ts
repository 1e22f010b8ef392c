import fc from 'fast-check';
import t from 'tap';
import { limits } from '../../../shared/limits.ts';
import type { Change, SequencedChange } from '../../../shared/model/change.ts';
import { sameFact } from '../../../shared/model/fact.same.ts';
import type { Fact } from '../../../shared/model/fact.ts';
import { encode } from '../../../shared/wire/codec.ts';
import type { AgentMessage, ChangesMessage, CollectorMessage, StateMessage } from '../../../shared/wire/messages.ts';
import { newSession, type Session, type SessionEffect, type SessionInput, step } from '../../../shared/wire/session.ts';

const identity = { node: 'n1', version: '1', bootId: 'b', stream: 's', startedAt: 1, capabilities: [] };
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

t.test('a digest goes to a collector that compares them and to no other; asked to, the agent sends its state whole', async (t) => {
  const known = facts(sysctl('a', '1'));
  const older = drive(newSession(identity), connected, { kind: 'facts', facts: known, at: 1 }, welcome(0), { kind: 'check' });
  t.notOk(older.sent.some(({ type }) => type === 'digest'));
  const { message } = welcome(0) as Extract<SessionInput, { kind: 'message' }>;
  const newer: SessionInput = { kind: 'message', message: { ...message, capabilities: ['digest'] } as CollectorMessage };
  t.strictSame(drive(newSession(identity), connected, newer, { kind: 'check' }).sent.length, 1, 'before there is a state there is nothing to compare');
  const open = drive(newSession(identity), connected, { kind: 'facts', facts: known, at: 1 }, newer);
  const checked = drive(open.state, { kind: 'check' });
  t.match(checked.sent, [{ type: 'digest', kinds: { sysctl: { count: 1 } } }]);
  const resent = drive(checked.state, { kind: 'message', message: { type: 'resend', reason: 'x' } });
  t.match(resent.sent, [{ type: 'state', full: true, more: false, seq: 2, put: [{ key: 'sysctl/a' }] }]);
  t.strictSame(drive(open.state, { kind: 'disconnected' }, { kind: 'check' }).sent, []);
});

t.test('an empty full state is sent all the same: it clears what the collector had', async (t) => {
  const { sent } = drive(newSession(identity), connected, { kind: 'facts', facts: facts(), at: 1 }, welcome(0));
  t.match(sent.at(-1), { type: 'state', full: true, more: false, put: [], delete: [] });
});

for (const count of [limits.statePartFacts - 1, limits.statePartFacts, limits.statePartFacts + 1]) {
  t.test(`a full state of ${count} facts`, async (t) => {
    const many = facts(...Array.from({ length: count }, (_, i) => sysctl(`n${i}`, 'x')));
    const { sent } = drive(newSession(identity), connected, { kind: 'facts', facts: many, at: 1 }, welcome(0));
    const states = sent.filter((message): message is StateMessage => message.type === 'state');
    t.strictSame(
      states.map(({ more }) => more),
      count > limits.statePartFacts ? [true, false] : [false],
    );
    t.equal(
      states.reduce((sum, { put }) => sum + put.length, 0),
      count,
    );
  });
}

t.test('a full state is sent in parts that keep nobody waiting, and a fact that is larger goes alone', async (t) => {
  const given = facts(sysctl('first', 'x'.repeat(2 * limits.statePartBytes)), ...Array.from({ length: 8 }, (_, i) => sysctl(`n${i}`, 'x'.repeat(20_000))));
  const { sent } = drive(newSession(identity), connected, { kind: 'facts', facts: given, at: 1 }, welcome(0));
  const states = sent.filter((message): message is StateMessage => message.type === 'state');
  t.strictSame(
    states.map(({ put }) => put.length),
    [1, 3, 3, 2],
  );
  t.strictSame(
    states.map(({ full, more }) => [full, more]),
    [
      [true, true],
      [true, true],
      [true, true],
      [true, false],
    ],
  );
});

t.test('large facts and changes are spread over frames that the limit allows', async (t) => {
  const large = facts(...Array.from({ length: 50 }, (_, i) => sysctl(`n${i}`, 'ü'.repeat(20_000))));
  const changes = Array.from({ length: 199 }, () => change('z'.repeat(limits.changeTextBytesMax)));
  const { sent } = drive(newSession(identity), connected, { kind: 'facts', facts: large, at: 1 }, { kind: 'changes', changes }, welcome(0));
  t.doesNotThrow(() => sent.map((message) => encode(message)));
  t.equal(sent.filter(({ type }) => type === 'state').length > 1, true);
});

t.test('text over the limit is cut at a line and says so', async (t) => {
  const text = Array.from({ length: 2_000 }, (_, i) => `-A FORWARD -s 10.0.${i % 256}.1/32 -j DROP`).join('\n');
  const { state } = drive(newSession(identity), { kind: 'changes', changes: [change(text), change('ü'.repeat(limits.changeTextBytesMax))] });
  const [lines, single] = state.outbox.queue.map(({ change: { after } }) => after ?? '');
  t.match(lines, /\n… and \d+ more of 2000 lines$/);
  t.ok(Buffer.byteLength(lines ?? '') <= limits.changeTextBytesMax);
  t.match(single, /ü\n… cut$/);
  t.ok(Buffer.byteLength(single ?? '') <= limits.changeTextBytesMax);
});

t.test('acknowledged changes are forgotten, the others are sent again after what welcome names', async (t) => {
  const open = drive(newSession(identity), connected, welcome(0), { kind: 'changes', changes: ['a', 'b', 'c', 'd'].map(change) });
  t.strictSame(seqs(open.sent), [1, 2, 3, 4]);
  const acked = drive(open.state, { kind: 'message', message: { type: 'ack', changes: 2, state: 0 } });
  t.equal(acked.state.outbox.queue.length, 2);
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
    const [first] = state.outbox.queue;
    t.equal(state.outbox.queue.length <= limits.unacknowledgedChangesMax, true);
    t.equal(first?.change.kind, over > 0 ? 'gap' : 'rule');
    if (over <= 0) return;
    t.equal(first?.change.subject, `changes 1 to ${first?.change.seq}`);
    t.match(first?.change.after, `${first?.change.seq} changes were not kept`);
    t.strictSame(
      state.outbox.queue.map(({ change: { seq } }) => seq),
      Array.from({ length: state.outbox.queue.length }, (_, i) => (first?.change.seq ?? 0) + i),
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
      effects.slice(0, 2).map(({ kind }) => kind),
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

const settled = (effects: readonly SessionEffect[]) =>
  effects.flatMap((effect) => (effect.kind === 'settled' ? [`${effect.place.stream} ${effect.place.seq}`] : []));
const spooledText = (effects: readonly SessionEffect[]) => effects.flatMap((effect) => (effect.kind === 'spool' ? [effect.changes.map(({ seq }) => seq)] : []));
const loads = (effects: readonly SessionEffect[]) => effects.filter((effect) => effect.kind === 'load');

t.test('without a connection changes go to disk, one writing at a time', async (t) => {
  const first = drive(newSession(identity), { kind: 'changes', changes: [change('a')] });
  t.strictSame(spooledText(first.effects), [[1]]);
  const second = drive(first.state, { kind: 'changes', changes: [change('b')] }, { kind: 'changes', changes: [change('c')] });
  t.strictSame(spooledText(second.effects), [], 'the first is still being written');
  const third = drive(second.state, { kind: 'spooled', place: { stream: 's', seq: 1 } });
  t.strictSame(spooledText(third.effects), [[2, 3]]);
  const failed = drive(third.state, { kind: 'unspooled' });
  t.strictSame(spooledText(failed.effects), [], 'a full disk is not tried again at once');
  t.strictSame(spooledText(drive(failed.state, { kind: 'changes', changes: [change('d')] }).effects), [[2, 3, 4]]);
});

t.test('with a connection nothing goes to disk, and what is unacknowledged at its end does', async (t) => {
  const open = drive(newSession(identity), connected, welcome(0), { kind: 'changes', changes: [change('a'), change('b')] });
  t.strictSame(spooledText(open.effects), []);
  const acked = drive(open.state, { kind: 'message', message: { type: 'ack', changes: 1, state: 0 } });
  t.strictSame(settled(acked.effects), ['s 1']);
  t.strictSame(spooledText(drive(acked.state, { kind: 'disconnected' }).effects), [[2]]);
});

t.test('of what is on disk little stays in memory, and it comes back in order before what is new', async (t) => {
  const many = Array.from({ length: limits.queueInMemoryMax + 1 }, (_, i) => change(`${i}`));
  const last = many.length;
  const away = drive(newSession(identity), { kind: 'changes', changes: many }, { kind: 'spooled', place: { stream: 's', seq: last } });
  t.equal(away.state.outbox.queue.length, 0);
  const open = drive(away.state, { kind: 'changes', changes: [change('new')] }, connected, welcome(0));
  t.match(loads(open.effects), [{ load: 1, before: { stream: 's', seq: last + 1 } }]);
  t.strictSame(seqs(open.sent), [], 'what is new waits for what is older');
  const stored = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => ({ ...change('x'), stream: 's', seq: from + i }));
  const half = drive(open.state, { kind: 'loaded', load: 1, changes: stored(1, 400), done: false });
  t.strictSame([seqs(half.sent)[0], seqs(half.sent).at(-1), seqs(half.sent).length], [1, 400, 400]);
  t.match(loads(half.effects), [{ load: 2, after: { stream: 's', seq: 400 } }]);
  const late = drive(half.state, { kind: 'loaded', load: 1, changes: stored(1, 400), done: true });
  t.strictSame(late.effects, [], 'an answer that nobody waits for is not taken');
  const rest = drive(half.state, { kind: 'loaded', load: 2, changes: stored(401, last), done: true });
  t.equal(seqs(rest.sent).includes(last + 1), false, 'a slow collector is not flooded');
  const acked = drive(rest.state, { kind: 'message', message: { type: 'ack', changes: last, state: 0 } });
  t.strictSame(seqs(acked.sent), [last + 1]);
  t.strictSame(settled(acked.effects), [`s ${last}`]);
});

t.test('changes of an earlier run keep their stream and number', async (t) => {
  const earlier = [{ stream: 'old', startedAt: 5, aliveAt: 9 }];
  const waiting = drive(newSession(identity, earlier), { kind: 'changes', changes: [change('new')] }, connected);
  t.match(waiting.sent, [{ type: 'hello', stream: 's', earlier }]);
  const greeted = drive(waiting.state, {
    kind: 'message',
    message: { ...(welcome(0) as { message: Extract<CollectorMessage, { type: 'welcome' }> }).message, earlier: [{ stream: 'old', resumeAfter: 3 }] },
  });
  t.strictSame(settled(greeted.effects), ['old 3', 's 0']);
  const loaded = drive(greeted.state, { kind: 'loaded', load: 1, changes: [4, 5].map((seq) => ({ ...change('x'), stream: 'old', seq })), done: true });
  t.match(loaded.sent, [
    {
      type: 'changes',
      changes: [
        { stream: 'old', seq: 4 },
        { stream: 'old', seq: 5 },
      ],
    },
    { type: 'changes', changes: [{ stream: 's', seq: 1 }] },
  ]);
  const acked = drive(loaded.state, { kind: 'message', message: { type: 'ack', stream: 'old', changes: 5, state: 0 } });
  t.strictSame(settled(acked.effects), ['old 5']);
  t.strictSame(acked.state.earlier, []);
  t.equal(acked.state.outbox.queue.length, 1);
  const wrong = drive(acked.state, { kind: 'message', message: { type: 'ack', stream: 'never', changes: 1, state: 0 } });
  t.match(wrong.effects, [{ kind: 'send' }, { kind: 'reconnect' }]);
});

t.test('a collector that says when to come back', async (t) => {
  const message: CollectorMessage = { type: 'error', code: 'BUSY', message: 'too many agents', retryAfterMs: 5_000 };
  t.match(drive(newSession(identity), connected, { kind: 'message', message }).effects.at(-1), { kind: 'reconnect', afterMs: 5_000 });
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
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('flood' as const), count: fc.integer({ min: 200, max: 700 }) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('write' as const), count: fc.integer({ min: 0, max: 1 }) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('restart' as const), count: fc.constant(0) }) },
  );
  const agreement = fc.property(fc.array(event, { maxLength: 40 }), (events) => {
    const world = new World();
    for (const { kind, count } of events) world[kind](count);
    world.settle();
    return world.agrees();
  });
  t.doesNotThrow(() => fc.assert(agreement, { numRuns: 3000 }));
});

/**
 * An agent, its disk, the wire and a collector. The disk writes when it is told to, or fails; a restart loses what was never written, and only that. The
 * collector stores a stream's changes in order, once each; messages in flight are lost at any disconnection.
 */
class World {
  #run = 0;
  #session = newSession(this.#identity());
  #wire: AgentMessage[] = [];
  #answers: CollectorMessage[] = [];
  readonly #stored = new Map<string, number[]>();
  #disk: SequencedChange[] = [];
  readonly #settled = new Map<string, number>();
  #writing: readonly SequencedChange[] | undefined;
  #facts = new Map<string, Fact>();
  readonly #known = new Map<string, unknown>();
  /** Changes that must arrive: those of streams that are running or whose writing was confirmed. */
  readonly #owed = new Map<string, number>();
  #made = 0;

  change(count: number): void {
    this.#made += count;
    this.#input({ kind: 'changes', changes: Array.from({ length: count }, () => change('x')) });
  }

  flood(count: number): void {
    this.change(count);
  }

  set(value: number): void {
    this.#facts = new Map(Array.from({ length: value }, (_, i) => [`sysctl/${i}`, sysctl(`${i}`, `${value}`)]));
    this.#input({ kind: 'facts', facts: this.#facts, at: 1 });
  }

  /** Lets the disk finish, with success for 0. */
  write(failed: number): void {
    const writing = this.#writing;
    const last = writing?.at(-1);
    if (writing === undefined || last === undefined) return;
    this.#writing = undefined;
    if (failed === 1) return this.#input({ kind: 'unspooled' });
    this.#disk.push(...writing);
    this.#clear();
    this.#owed.set(last.stream, Math.max(last.seq, this.#owed.get(last.stream) ?? 0));
    this.#input({ kind: 'spooled', place: { stream: last.stream, seq: last.seq } });
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

  restart(): void {
    this.#wire = [];
    this.#answers = [];
    // A writing under way may have reached the disk or not; here it has not.
    this.#writing = undefined;
    this.#run++;
    this.#made = 0;
    const streams = [...new Set(this.#disk.map(({ stream }) => stream))];
    this.#session = newSession(
      this.#identity(),
      streams.map((stream) => ({ stream, startedAt: 1, aliveAt: 1 })),
    );
    this.#input({ kind: 'facts', facts: this.#facts, at: 1 });
    this.#input(connected);
  }

  settle(): void {
    this.set(2);
    if (this.#session.phase === 'closed') this.#input(connected);
    for (let i = 0; i < 100_000 && this.#wire.length + this.#answers.length > 0; i++) {
      this.write(0);
      this.deliver(1);
    }
    this.write(0);
  }

  agrees(): boolean {
    this.#owed.set(`run ${this.#run}`, this.#made);
    const isWhole = ([stream, owed]: [string, number]): boolean => (this.#stored.get(stream)?.length ?? 0) >= owed;
    const inOrder = [...this.#stored.values()].every((list) => list.every((seq, i) => seq === i + 1));
    const isEmpty = this.#session.outbox.queue.length === 0 && !this.#session.outbox.backlog && this.#disk.length === 0;
    return inOrder && isEmpty && [...this.#owed].every(isWhole) && JSON.stringify([...this.#known]) === JSON.stringify([...this.#facts]);
  }

  #identity() {
    return { ...identity, stream: `run ${this.#run}` };
  }

  #input(input: SessionInput): void {
    const stepped = step(this.#session, input);
    this.#session = stepped.state;
    for (const effect of stepped.effects) {
      if (effect.kind === 'send') this.#wire.push(effect.message);
      if (effect.kind === 'reconnect') throw new Error(effect.reason);
      if (effect.kind === 'spool') this.#startWriting(effect.changes);
      if (effect.kind === 'settled') {
        this.#settled.set(effect.place.stream, Math.max(effect.place.seq, this.#settled.get(effect.place.stream) ?? 0));
        this.#clear();
      }
      if (effect.kind === 'load') this.#load(effect);
    }
  }

  /** What is settled goes, also where its writing ends only after that. */
  #clear(): void {
    this.#disk = this.#disk.filter(({ stream, seq }) => seq > (this.#settled.get(stream) ?? 0));
  }

  #startWriting(changes: readonly SequencedChange[]): void {
    if (this.#writing !== undefined) throw new Error('a second writing was asked for while one is under way');
    this.#writing = changes;
  }

  #load({ load, after, before }: Extract<SessionEffect, { kind: 'load' }>): void {
    const at = (place: { stream: string; seq: number } | undefined) =>
      this.#disk.findIndex(({ stream, seq }) => stream === place?.stream && seq === place?.seq);
    const end = at(before) < 0 ? this.#disk.length : at(before);
    const changes = this.#disk.slice(at(after) + 1, end);
    this.#input({ kind: 'loaded', load, changes: changes.slice(0, 300), done: changes.length <= 300 });
  }

  #take(message: AgentMessage): void {
    if (message.type === 'hello') this.#greet(message);
    if (message.type === 'changes') this.#store(message);
    if (message.type === 'state') {
      if (message.full) this.#known.clear();
      for (const fact of message.put) this.#known.set(fact.key, fact);
      for (const key of message.delete) this.#known.delete(key);
    }
  }

  #greet(hello: Extract<AgentMessage, { type: 'hello' }>): void {
    const last = (stream: string) => this.#stored.get(stream)?.at(-1) ?? 0;
    const { message } = welcome(last(hello.stream)) as { message: Extract<CollectorMessage, { type: 'welcome' }> };
    this.#answers.push({ ...message, earlier: (hello.earlier ?? []).map(({ stream }) => ({ stream, resumeAfter: last(stream) })) });
  }

  #store({ changes }: ChangesMessage): void {
    const [first] = changes;
    if (first === undefined || changes.some(({ stream }) => stream !== first.stream)) throw new Error('a batch of several streams');
    const stored = this.#stored.get(first.stream) ?? [];
    stored.push(...changes.map(({ seq }) => seq).filter((seq) => seq > (stored.at(-1) ?? 0)));
    this.#stored.set(first.stream, stored);
    this.#answers.push({ type: 'ack', stream: first.stream, changes: stored.at(-1) ?? 0, state: 0 });
  }
}
