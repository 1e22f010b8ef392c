import { once } from 'node:events';
import { createServer } from 'node:http';
import { connect, type Socket } from 'node:net';
import t from 'tap';
import { Connections } from '../../../collector/identity/connections.ts';
import { Refusals } from '../../../collector/identity/refusals.ts';
import { limits } from '../../../shared/limits.ts';

t.test('of connections that are unknown the oldest goes, one that is known stays', async (t) => {
  const connections = new Connections({ ofAddressMax: 2, max: 10 });
  const server = createServer();
  connections.watch(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  const open = async (): Promise<Socket> => {
    const seen = once(server, 'connection');
    const socket = connect(port, '127.0.0.1').on('error', () => {});
    await seen;
    return socket;
  };
  const known = await open();
  connections.know({ remoteAddress: '127.0.0.1', remotePort: (known.address() as { port: number }).port });
  const oldest = await open();
  const gone = once(oldest, 'close');
  const others = [await open(), await open()];
  await gone;
  t.equal(connections.cut, 1);
  t.strictSame(
    [known, ...others].map(({ readable }) => readable),
    [true, true, true],
  );
  for (const socket of [known, ...others]) socket.destroy();
  server.close();
});

t.test('refusals of one sort and address are told up to the limit, and counted in the next minute', async (t) => {
  const refusals = new Refusals();
  const refusal = { who: 'agent', action: 'connect', subject: 'no token', outcome: 'refused' as const, address: '10.0.0.1' };
  const told = Array.from({ length: limits.refusalsToldMax + 5 }, () => refusals.toTell(refusal, 60_000)).filter((each) => each !== undefined);
  t.equal(told.length, limits.refusalsToldMax);
  t.ok(refusals.toTell({ ...refusal, address: '10.0.0.2' }, 60_000), 'another address');
  t.match(refusals.toTell(refusal, 120_000), { subject: /and 5 refusals before/ });
});
