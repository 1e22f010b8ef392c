// Lets agents in to a collector's ingest for as long as a test runs.
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Ingest } from '../../../collector/ingest/ingest.ts';
import type { CollectorState } from '../../../collector/state/state.ts';
import type { Store } from '../../../collector/store/store.ts';

interface Listening {
  readonly server: Server;
  readonly ingest: Ingest;
  readonly state: CollectorState;
  readonly store: Store;
}

/** Listens on a loopback address and closes everything with the test; resolves to the port. */
export async function listen(t: Pick<typeof import('tap').t, 'teardown'>, { server, ingest, state, store }: Listening): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(async () => {
    await ingest.close();
    server.closeAllConnections();
    server.close();
    state.close();
    await store.close();
  });
  return (server.address() as AddressInfo).port;
}
