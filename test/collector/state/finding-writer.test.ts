// Findings reach the store in the order in which they were told, however long each write takes, and through a time without a store.
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import t from 'tap';
import { soleOwner } from '../../../collector/replicas/ownership.ts';
import { FindingWriter } from '../../../collector/state/finding-writer.ts';
import type { LiveEvent } from '../../../collector/state/state.ts';
import { failure } from '../../../shared/errors.ts';
import { finding } from '../store/contract.ts';

// Many commits and processes, which take their time on a busy machine.
t.setTimeout(180_000);

/** A store whose calls take as long as they like, and may fail; it keeps what it was told last of each finding. */
function slowStore(failing: () => boolean, delay: () => number) {
  const open = new Map<string, string>();
  const calls: string[] = [];
  const act = async (name: string, write: () => void): Promise<void> => {
    await sleep(delay());
    if (failing()) throw failure('STORE_FAILED', ['x', 'it is away']);
    calls.push(name);
    write();
  };
  return {
    open,
    calls,
    upsertFindings: (records: readonly { readonly finding: { readonly id: string; readonly summary: string } }[]) =>
      act('upsert', () => {
        for (const { finding } of records) open.set(finding.id, finding.summary);
      }),
    closeFindings: (ids: readonly string[]) =>
      act('close', () => {
        for (const id of ids) open.delete(id);
      }),
  };
}

function stateOf() {
  const listeners = new Set<(event: LiveEvent) => void>();
  return {
    subscribe: (listener: (event: LiveEvent) => void) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    tell: (event: LiveEvent) => {
      for (const listener of listeners) listener(event);
    },
  };
}

t.test('after any history the store holds what was told last', async (t) => {
  const seed = Number(process.env['SEED'] ?? 11);
  const step = fc.record({
    id: fc.constantFrom('a', 'b', 'c'),
    node: fc.constantFrom('node1', 'node2'),
    word: fc.nat(),
    closes: fc.boolean(),
    pause: fc.boolean(),
    fails: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
      let failing = false;
      const store = slowStore(
        () => failing,
        () => Math.random() * 3,
      );
      const state = stateOf();
      const writer = new FindingWriter({ state, store, ownership: soleOwner, onFailure: () => {}, retryMs: 2 });
      const wanted = new Map<string, string>();
      for (const { id, node, word, closes, pause, fails } of steps) {
        failing = fails;
        const own = finding(`${node}/${id}`, { node, summary: String(word) });
        if (closes) wanted.delete(own.id);
        else wanted.set(own.id, own.summary);
        state.tell({ kind: closes ? 'finding-closed' : 'finding-changed', finding: own, at: word });
        if (pause) await sleep(2);
      }
      failing = false;
      await sleep(15);
      await writer.close();
      return JSON.stringify([...store.open].sort()) === JSON.stringify([...wanted].sort());
    }),
    { seed, numRuns: 60 },
  );
  t.pass(`seed ${seed}`);
});

t.test('many at once are few calls, what other replicas found is theirs to write, and a node that was lost is left alone', async (t) => {
  const state = stateOf();
  const store = slowStore(
    () => false,
    () => 5,
  );
  let isLost = false;
  const ownership = {
    ...soleOwner,
    fence: () => {
      if (isLost) throw failure('LEASE_LOST', ['node1']);
      return undefined;
    },
  };
  const failures: unknown[] = [];
  const writer = new FindingWriter({ state, store, ownership, onFailure: (error) => failures.push(error) });
  for (let i = 0; i < 500; i++) state.tell({ kind: 'finding-opened', finding: finding(`f${i}`), at: 1 });
  state.tell({ kind: 'finding-opened', finding: finding('theirs'), at: 1, elsewhere: true });
  await sleep(60);
  t.equal(store.open.size, 500);
  t.ok(store.calls.length <= 3, `${store.calls.length} calls`);
  isLost = true;
  state.tell({ kind: 'finding-closed', finding: finding('f1'), at: 1 });
  await writer.close();
  t.ok(store.open.has('f1'));
  t.strictSame(failures, []);
});
