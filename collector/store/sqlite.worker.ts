// The thread that owns the SQLite file: takes all requests that wait, commits them together, answers after the commit.
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { reasonOf } from '../../shared/errors.ts';
import { openDatabase } from './sqlite.ts';
import type { Reply, Request } from './store.ts';

if (parentPort === null) throw new Error('the store thread is started by openStore');
const port = parentPort;
const opened = tryOpen((workerData as { file: string }).file);

if (opened !== undefined) {
  const { database, setAside } = opened;
  answer({ kind: 'opened', ...(setAside === undefined ? {} : { setAside }) });
  port.on('message', (first: Request) => {
    const requests = [first, ...waitingRequests()];
    for (const reply of database.commit(requests)) answer(reply);
    if (requests.some(({ method }) => method === 'close')) port.close();
  });
}

function tryOpen(file: string): ReturnType<typeof openDatabase> | undefined {
  try {
    return openDatabase(file, Date.now());
  } catch (error) {
    answer({ kind: 'unusable', reason: reasonOf(error) });
    return undefined;
  }
}

function waitingRequests(): Request[] {
  const requests: Request[] = [];
  for (let next = receiveMessageOnPort(port); next !== undefined; next = receiveMessageOnPort(port)) requests.push(next.message as Request);
  return requests;
}

function answer(reply: Reply): void {
  port.postMessage(reply);
}
