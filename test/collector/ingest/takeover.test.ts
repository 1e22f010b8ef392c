// That a node was taken from another replica is in the audit log, and that its identity is used twice in the ledger, though the agent did not wait to be welcomed.
import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { Ingest } from '../../../collector/ingest/ingest.ts';
import type { Ownership } from '../../../collector/replicas/ownership.ts';
import { CollectorState } from '../../../collector/state/state.ts';
import { openSqliteStore } from '../../../collector/store/sqlite.store.ts';
import type { AuditRecord } from '../../../collector/store/store.ts';
import type { Change } from '../../../shared/model/change.ts';
import { TestAgent } from './client.ts';
import { listen } from './listen.ts';

t.test('an agent that gives up while its node is being taken', async (t) => {
  const { store } = await openSqliteStore(t.testdir({}));
  const state = new CollectorState({ graceMs: 0 });
  const server = createServer();
  const audited: Omit<AuditRecord, 'at'>[] = [];
  const recorded: Change[] = [];
  let agent: TestAgent | undefined;
  const ownership: Ownership = {
    take: async () => {
      agent?.socket.terminate();
      await sleep(100);
      return { elsewhere: { replica: 'b', address: '192.0.2.7' }, isClone: true };
    },
    fence: () => undefined,
    factsChanged: () => {},
  };
  const ingest = new Ingest(server, {
    state,
    store,
    log: { info: () => {}, warn: () => {}, error: () => {} },
    record: async (changes) => void recorded.push(...changes),
    ownership,
    admit: async () => ({ kind: 'admitted', by: 'nobody' }),
    audit: (record) => audited.push(record),
  });
  const port = await listen(t, { server, ingest, state, store });
  agent = await TestAgent.connect(`http://127.0.0.1:${port}`);
  agent.send({ type: 'hello', node: 'node1', version: '1', bootId: 'b', stream: 's', acknowledged: 0, clock: Date.now(), capabilities: [] });
  await agent.closed;
  for (let tries = 0; tries < 100 && audited.length < 2; tries++) await sleep(20);
  t.match(audited, [
    { who: 'node:node1', action: 'take over session', subject: 'from 192.0.2.7 at the replica b', outcome: 'done', address: '127.0.0.1' },
    { action: 'two agents at once', subject: '192.0.2.7' },
  ]);
  t.match(recorded, [{ kind: 'agent', subject: 'identity of node1' }]);
  t.equal(state.node('node1')?.connected ?? false, false, 'it was not welcomed');
});
