// A process that appends changes to a store without end and prints each seq once its append has resolved: the crash test kills it.
import { openSqliteStore as openStore } from '../../../collector/store/sqlite.store.ts';
import { changeOf } from '../ingest/client.ts';

const { store } = await openStore(process.argv[2] as string);
let seq = await store.lastSeq('node1', 'run-1');
for (;;) {
  const batch = Array.from({ length: 5 }, () => changeOf(++seq));
  const sent = [store.appendChanges(batch.slice(0, 3)), store.appendChanges(batch.slice(3))];
  await Promise.all(sent);
  process.stdout.write(`${seq}\n`);
}
