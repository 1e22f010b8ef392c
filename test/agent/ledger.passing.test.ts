// What came and went between two readings, told from the monitor's lines and from nothing twice.
import { deepStrictEqual, ok } from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { addTold, nothingUnsettled, settle, type Unsettled } from '../../agent/ledger.passing.ts';
import type { RuleEvent, Transaction } from '../../agent/ledger.ts';
import type { RuleChange } from '../../shared/netfilter/diff.ts';

const forward = 'ip filter FORWARD';
const add = (handle: number, text = `dport ${handle} drop`, chain = forward): RuleEvent => ({ op: 'add', chain, handle, text });
const remove = (handle: number, chain = forward): RuleEvent => ({ op: 'delete', chain, handle });
const transaction = (at: number, comm: string, ...rules: readonly RuleEvent[]): Transaction => ({
  at,
  generation: at,
  actor: { pid: at, comm, how: 'nft-generation' },
  touched: new Set(rules.map(({ chain }) => chain)),
  rules,
});
const told = (...transactions: readonly Transaction[]): Unsettled => transactions.reduce(addTold, nothingUnsettled);
const shows = (...after: readonly string[]): RuleChange[] => [
  { kind: 'rule', backend: 'iptables-nft', family: 'ip', table: 'filter', object: 'FORWARD', subject: forward, before: null, after, owner: 'admin' },
];
/** A chain that holds no more than is shown to have come, or these lines. */
const reading = (startedAt: number, differences: readonly RuleChange[] = [], lines = differences.flatMap(({ after }) => after ?? [])) => ({
  node: 'n1',
  startedAt,
  hasRead: () => true,
  differences,
  linesOf: () => lines,
});

t.test('a rule that came and went is two entries, each with who did it', async (t) => {
  const { changes, unsettled } = settle(told(transaction(10, 'iptables', add(5)), transaction(20, 'ufw', remove(5))), reading(100));
  const text = 'dport 5 drop  # gone again after 0.0 s, before the chain was read; handle 5';
  t.match(changes, [
    { at: 10, node: 'n1', kind: 'rule', subject: forward, before: null, after: text, actor: { comm: 'iptables' }, owner: 'admin' },
    { at: 20, subject: forward, before: text, after: null, actor: { comm: 'ufw' } },
  ]);
  t.equal(unsettled.size, 0);
});

t.test('a rule that stays, or was there before, is left to the comparison', async (t) => {
  t.strictSame(settle(told(transaction(10, 'iptables', add(5), remove(3))), reading(100, shows('-A FORWARD -j X'))).changes, []);
});

t.test('a rule that is replaced keeps its handle: what it was came and went', async (t) => {
  const { changes } = settle(told(transaction(10, 'a', add(5, 'one')), transaction(20, 'b', remove(5), add(5, 'two'))), reading(100, shows('-A FORWARD two')));
  t.match(changes, [{ after: /^one / }, { before: /^one / }]);
  t.equal(changes.length, 2);
});

t.test('without handles, rules are told apart by their text', async (t) => {
  const rule = (op: 'add' | 'delete', text: string): RuleEvent => ({ op, chain: forward, text });
  const { changes } = settle(
    told(transaction(1, 'iptables', rule('add', '-A FORWARD -j X'), rule('add', '-A FORWARD -j Y'), rule('delete', '-A FORWARD -j X'))),
    reading(9, shows('-A FORWARD -j Y')),
  );
  t.match(changes, [{ after: /-j X/ }, { before: /-j X/ }]);
});

t.test('a chain that was not read waits', async (t) => {
  const waiting = settle(told(transaction(10, 'a', add(5)), transaction(11, 'a', remove(5))), { ...reading(100), hasRead: () => false });
  t.strictSame(waiting.changes, []);
  t.equal(settle(waiting.unsettled, reading(200)).changes.length, 2);
});

t.test('a rule that a reading may have seen or not', async (t) => {
  const during = told(transaction(150, 'a', add(5)));
  const missed = settle(during, reading(100));
  t.strictSame(missed.changes, []);
  const next = addTold(missed.unsettled, transaction(160, 'a', remove(5)));
  t.equal(settle(next, reading(300)).changes.length, 2, 'it was not in the reading, so its going is told with its coming');
  const seen = settle(during, reading(100, shows('-A FORWARD dport 5')));
  t.equal(seen.unsettled.size, 0);
  t.strictSame(settle(addTold(seen.unsettled, transaction(160, 'a', remove(5))), reading(300)).changes, [], 'it was: the comparison has told it');
  const both = settle(told(transaction(150, 'a', add(5)), transaction(151, 'a', remove(5))), reading(100, shows('-A FORWARD dport 5')));
  t.strictSame(both.changes, [], 'read between the two');
});

t.test("kube-proxy's writing is one entry", async (t) => {
  const chain = 'ip nat KUBE-SVC-A';
  const sync = [1, 2, 3].map((at) => transaction(at, 'iptables-nft-re', ...(at > 1 ? [remove(at - 1, chain)] : []), add(at, 'x', chain)));
  t.match(settle(told(...sync), reading(100)).changes, [
    { kind: 'chain', subject: 'ip kube-proxy', owner: 'kube-proxy', after: '2 rules came and went again before their chains were read: KUBE-SVC-A' },
  ]);
  const person = settle(told(transaction(1, 'iptables', add(1, 'x', chain)), transaction(2, 'iptables', remove(1, chain))), reading(100));
  t.equal(person.changes.length, 2, "a person's is not");
});

for (const count of [49, 50, 51]) {
  t.test(`${count} at once`, async (t) => {
    const events = Array.from({ length: count }, (_, i) => [transaction(i, 'a', add(i)), transaction(i, 'a', remove(i))]).flat();
    const { changes } = settle(told(...events), reading(1_000));
    t.equal(changes.length, count > 50 ? 101 : count * 2);
    if (count > 50) t.match(changes.at(-1), { after: '1 rules came and went again before their chains were read: FORWARD' });
  });
}

t.test('every rule that came and went is told once, whenever readings are made', async () => {
  const step = fc.oneof(
    { weight: 3, arbitrary: fc.constant('add' as const) },
    { weight: 3, arbitrary: fc.constant('delete' as const) },
    { weight: 1, arbitrary: fc.constant('read' as const) },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const [standing, shown, expected]: [number[], Set<number>, number[]] = [[], new Set(), []];
      let unsettled = nothingUnsettled;
      let clock = 0;
      const found: string[] = [];
      const read = (): void => {
        const fresh = standing.filter((handle) => !shown.has(handle));
        const result = settle(unsettled, reading(++clock, fresh.length === 0 ? [] : shows(...fresh.map(String))));
        for (const handle of fresh) shown.add(handle);
        unsettled = result.unsettled;
        found.push(...result.changes.flatMap(({ after }) => (after === null ? [] : [/handle (\d+)/.exec(after)?.[1] ?? ''])));
      };
      for (const each of steps) {
        clock++;
        if (each === 'read') read();
        else if (each === 'add') {
          standing.push(clock);
          unsettled = addTold(unsettled, transaction(clock, 'a', add(clock)));
        } else {
          const gone = standing.shift();
          if (gone === undefined) continue;
          if (!shown.has(gone)) expected.push(gone);
          unsettled = addTold(unsettled, transaction(clock, 'a', remove(gone)));
        }
      }
      read();
      deepStrictEqual(found.sort(), expected.map(String).sort());
    }),
  );
});

t.test('a rule that nobody told of takes no place of one that was told', async (t) => {
  const passed = told(transaction(10, 'a', add(5)), transaction(20, 'a', remove(5)));
  t.equal(settle(passed, reading(100, shows('-A FORWARD -p tcp --dport 7 -j DROP'))).changes.length, 2, 'gone before the reading began');
  const during = told(transaction(110, 'a', add(5)), transaction(120, 'a', remove(5)));
  t.equal(settle(during, reading(100, shows('-A FORWARD -p tcp --dport 7 -j DROP'))).changes.length, 2, 'gone while it went on');
  t.equal(settle(during, reading(100, shows('-A FORWARD -p tcp --dport 5 -j DROP'))).changes.length, 0, 'read between the two');
  const begun = told(transaction(10, 'a', add(5)), transaction(110, 'a', remove(5)));
  t.equal(settle(begun, reading(100, shows('-A FORWARD -p tcp --dport 7 -j DROP'))).changes.length, 2, 'told before and gone while it went on');
});

t.test('a rule that nobody heard going', async (t) => {
  const heard = told(transaction(10, 'a', add(5)));
  t.match(settle(heard, reading(100)).changes, [
    { at: 10, before: null, after: 'dport 5 drop  # gone again before the chain was read, and nobody heard when; handle 5', actor: { comm: 'a' } },
  ]);
  const putBack = told(transaction(10, 'a', remove(4), add(5)));
  t.strictSame(settle(putBack, reading(100, [], ['-A FORWARD -p tcp --dport 5 -j DROP'])).changes, [], 'one that stands where an alike one stood is there');
});

t.test('a rule that went and was put back where it stood is two entries', async (t) => {
  const stood = ['-A FORWARD -p tcp --dport 5 -j DROP'];
  const back = told(transaction(1_000, 'cron', remove(4)), transaction(1_500, 'ansible', add(5)));
  const text = 'dport 5 drop';
  t.match(settle(back, reading(2_000, [], stood)).changes, [
    { at: 1_000, subject: forward, before: text, after: null, actor: { comm: 'cron' } },
    { at: 1_500, subject: forward, before: null, after: `${text}  # put back after 0.5 s, before the chain was read; handle 5`, actor: { comm: 'ansible' } },
  ]);
  const gone: RuleChange = { ...(shows()[0] as RuleChange), before: ['-A FORWARD -p tcp --dport 9 -j DROP'], after: null };
  const one = told(transaction(10, 'a', remove(3)), transaction(20, 'b', remove(4)), transaction(30, 'b', add(5)));
  t.match(
    settle(one, reading(100, [gone], stood)).changes,
    [
      { before: text, actor: undefined },
      { after: /put back/, actor: { comm: 'b' } },
    ],
    'another is gone, and whose deletion was whose is not known',
  );
  const read = settle(told(transaction(10, 'a', remove(4))), reading(100, [{ ...gone, before: stood }]));
  t.strictSame(settle(addTold(read.unsettled, transaction(110, 'b', add(5))), reading(200, shows(...stood))).changes, [], 'read between the two');
  const during = settle(told(transaction(150, 'a', remove(4))), reading(100, [], stood));
  t.equal(settle(addTold(during.unsettled, transaction(210, 'b', add(5))), reading(300, [], stood)).changes.length, 2, 'read before both');
});

t.test('who writes a chain anew takes no rule away', async (t) => {
  const stood = ['-A FORWARD -p tcp --dport 5 -j DROP', '-A FORWARD -p tcp --dport 6 -j DROP'];
  const anew = (at: number, ...was: readonly number[]) =>
    transaction(at, 'x', ...was.map((handle) => remove(handle)), add(at, 'dport 5'), add(at + 1, 'dport 6'));
  t.strictSame(settle(told(anew(10, 1, 2)), reading(100, [], stood)).changes, []);
  t.notOk(
    settle(told(anew(10, 1, 2), anew(20, 10, 11)), reading(100, [], stood)).changes.some(({ after }) => after?.includes('put back')),
    'nor twice',
  );
  const firewalld = told(transaction(10, 'firewalld', remove(1)), transaction(20, 'firewalld', add(5)));
  t.strictSame(settle(firewalld, reading(100, [], stood)).changes, [], 'a reload of firewalld is told as such');
  const proxy = 'ip nat KUBE-SVC-A';
  const syncs = told(transaction(10, 'iptables-nft-re', remove(1, proxy)), transaction(20, 'iptables-nft-re', add(5, 'dport 5', proxy)));
  t.match(settle(syncs, reading(100, [], stood)).changes, [{ after: '1 rules went and were put back before their chains were read: KUBE-SVC-A' }]);
});

t.test('every rule that went and was put back is told, whenever readings are made', async () => {
  const step = fc.oneof(fc.constant('delete' as const), fc.constant('restore' as const), fc.constant('begin' as const), fc.constant('end' as const));
  fc.assert(
    fc.property(fc.array(fc.tuple(step, fc.nat(4)), { maxLength: 40 }), (steps) => {
      let standing = [11, 12, 13, 14, 15].map((port) => ({ port, handle: port }));
      let known = standing;
      let begun: { readonly at: number; readonly standing: typeof standing } | undefined;
      const removed: { readonly port: number; readonly at: number }[] = [];
      let [unsettled, clock, isCertain] = [nothingUnsettled, 100, true];
      const [done, found] = [
        { deleted: 0, added: 0 },
        { deleted: 0, added: 0 },
      ];
      const line = ({ port }: { readonly port: number }) => `-A FORWARD -p tcp --dport ${port} -j DROP`;
      const end = (): void => {
        if (begun === undefined) return;
        const now = begun.standing;
        const gone = known.filter(({ port }) => !now.some((each) => each.port === port)).map(line);
        const came = now.filter(({ port }) => !known.some((each) => each.port === port)).map(line);
        const differences: RuleChange[] = gone.length + came.length === 0 ? [] : [{ ...(shows()[0] as RuleChange), before: gone, after: came }];
        const result = settle(unsettled, reading(begun.at, differences, now.map(line)));
        unsettled = result.unsettled;
        found.deleted += gone.length + result.changes.filter(({ after }) => after === null).length;
        found.added += came.length + result.changes.filter(({ after }) => after !== null).length;
        [known, begun] = [now, undefined];
      };
      for (const [each, choice] of [...steps, ['end', 0], ['begin', 0], ['end', 0]] as const) {
        clock++;
        // Where a chain is written to while it is read, an end may be told twice.
        if (begun !== undefined && (each === 'delete' || each === 'restore')) isCertain = false;
        if (each === 'begin') begun ??= { at: clock, standing };
        else if (each === 'end') end();
        else if (each === 'delete' && standing.length > 0) {
          const at = choice % standing.length;
          const { port, handle } = standing[at] as (typeof standing)[number];
          removed.push({ port, at });
          standing = standing.toSpliced(at, 1);
          unsettled = addTold(unsettled, transaction(clock, 'a', remove(handle)));
          done.deleted++;
        } else if (each === 'restore' && removed.length > 0) {
          const { port, at } = removed.pop() as (typeof removed)[number];
          standing = standing.toSpliced(at, 0, { port, handle: clock });
          unsettled = addTold(unsettled, transaction(clock, 'a', add(clock, `dport ${port} drop`)));
          done.added++;
        }
      }
      const isTold = isCertain ? found.deleted === done.deleted && found.added === done.added : found.deleted >= done.deleted && found.added >= done.added;
      ok(isTold, JSON.stringify({ isCertain, found, done }));
    }),
    { numRuns: Number(process.env.RUNS ?? 2_000) },
  );
});

t.test('a policy that changes is no rule', async (t) => {
  const policy: RuleChange = { ...(shows('-P FORWARD DROP')[0] as RuleChange), kind: 'policy' };
  t.equal(settle(told(transaction(110, 'a', add(5)), transaction(120, 'a', remove(5))), reading(100, [policy])).changes.length, 2);
});

/** What the kernel, a monitor and the agent may do next. */
type Step = 'add' | 'delete' | 'tell' | 'begin' | 'snapshot' | 'end' | 'die' | 'hear';

t.test('of every rule that came and went both ends are told, or nobody listened at that end', async () => {
  const steps: readonly { readonly weight: number; readonly step: Step }[] = [
    { weight: 5, step: 'add' },
    { weight: 5, step: 'delete' },
    { weight: 6, step: 'tell' },
    { weight: 2, step: 'begin' },
    { weight: 2, step: 'snapshot' },
    { weight: 2, step: 'end' },
    { weight: 1, step: 'die' },
    { weight: 2, step: 'hear' },
  ];
  const step = fc.oneof(...steps.map(({ weight, step: each }) => ({ weight, arbitrary: fc.tuple(fc.constant(each), fc.nat(9)) })));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (all) => {
      const life = new Life();
      for (const [each, choice] of all) life.step(each, choice);
      for (const each of ['hear', 'snapshot', 'end', 'begin', 'snapshot', 'end'] as const) life.step(each, 99);
      deepStrictEqual(life.missing(), []);
    }),
    { numRuns: Number(process.env.RUNS ?? 2_000) },
  );
});

/** A chain, a monitor that tells of it late or dies, and readings that take their time. Everything has a moment of its own. */
class Life {
  readonly #ends: { readonly handle: number; readonly op: 'add' | 'delete'; readonly at: number }[] = [];
  readonly #gaps: { readonly from: number; readonly to: number }[] = [];
  /** Those of which no reading has told yet. */
  #deaf: { readonly from: number; readonly to: number }[] = [];
  readonly #ledger = { add: new Set<number>(), delete: new Set<number>() };
  #standing: readonly number[] = [];
  #untold: RuleEvent[] = [];
  #unsettled = nothingUnsettled;
  #deafSince: number | undefined;
  #reading: { readonly startedAt: number; snapshot: readonly number[] | undefined } | undefined;
  #known: readonly number[] = [];
  #clock = 0;

  step(step: Step, choice: number): void {
    this.#clock++;
    if (step === 'add') this.#write('add', this.#clock, choice);
    else if (step === 'delete' && this.#standing.length > 0) this.#write('delete', this.#standing[choice % this.#standing.length] as number, choice);
    else if (step === 'tell') for (let i = 0; i <= choice && this.#untold.length > 0; i++) this.#tell();
    else if (step === 'begin') this.#reading ??= { startedAt: this.#clock, snapshot: undefined };
    else if (step === 'snapshot' && this.#reading !== undefined) this.#reading.snapshot ??= this.#standing;
    else if (step === 'end' && this.#reading?.snapshot !== undefined) this.#end(this.#reading.startedAt, this.#reading.snapshot);
    else if (step === 'die' && this.#deafSince === undefined) {
      while (this.#untold.length > 0) this.#tell();
      this.#deafSince = this.#clock;
    } else if (step === 'hear' && this.#deafSince !== undefined) {
      this.#deaf.push({ from: this.#deafSince, to: this.#clock });
      this.#deafSince = undefined;
    }
  }

  missing(): readonly unknown[] {
    const untold = this.#ends.filter(({ handle, op }) => !this.#ledger[op].has(handle));
    const passed = untold.filter(({ handle }) => this.#ends.some((end) => end.handle === handle && end.op === 'delete'));
    return passed.filter(({ at }) => !this.#gaps.some(({ from, to }) => from <= at && at <= to));
  }

  #write(op: 'add' | 'delete', handle: number, choice: number): void {
    if (op === 'delete') this.#standing = this.#standing.filter((each) => each !== handle);
    else this.#standing = choice % 2 === 0 ? [handle, ...this.#standing] : [...this.#standing, handle];
    this.#ends.push({ handle, op, at: this.#clock });
    if (this.#deafSince === undefined) this.#untold.push(op === 'add' ? add(handle) : remove(handle));
  }

  #tell(): void {
    this.#unsettled = addTold(this.#unsettled, transaction(this.#clock, 'a', this.#untold.shift() as RuleEvent));
  }

  #end(startedAt: number, snapshot: readonly number[]): void {
    // The agent waits for what has been told of the reading's time.
    while (this.#untold.length > 0) this.#tell();
    const [added, removed] = [snapshot.filter((each) => !this.#known.includes(each)), this.#known.filter((each) => !snapshot.includes(each))];
    const lines = (handles: readonly number[]) => (handles.length === 0 ? null : handles.map((handle) => `-A FORWARD -p tcp --dport ${handle} -j DROP`));
    const difference: RuleChange = { ...(shows()[0] as RuleChange), before: lines(removed), after: lines(added) };
    const differences = added.length + removed.length === 0 ? [] : [difference];
    const { unsettled, changes } = settle(this.#unsettled, reading(startedAt, differences, lines(snapshot) ?? []));
    this.#unsettled = unsettled;
    for (const handle of added) this.#ledger.add.add(handle);
    for (const handle of removed) this.#ledger.delete.add(handle);
    for (const { before, after } of changes) this.#ledger[after === null ? 'delete' : 'add'].add(Number(/handle (\d+)/.exec(after ?? before ?? '')?.[1]));
    this.#known = snapshot;
    this.#reading = undefined;
    const { past = [], now = [] } = Object.groupBy(this.#deaf, ({ to }) => (to <= startedAt ? 'past' : 'now'));
    this.#gaps.push(...past.map(({ from }) => ({ from, to: this.#clock })));
    this.#deaf = now;
  }
}
