// A collector whose memory of a node is wrong finds out by the agent's digest, and has the state sent whole again; older peers are left in peace.
import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { Uplink } from '../../../agent/uplink.ts';
import { Ingest } from '../../../collector/ingest/ingest.ts';
import { soleOwner } from '../../../collector/replicas/ownership.ts';
import { CollectorState } from '../../../collector/state/state.ts';
import { openSqliteStore } from '../../../collector/store/sqlite.store.ts';
import { digestOf } from '../../../shared/model/fact.digest.ts';
import type { Fact } from '../../../shared/model/fact.ts';
import { nodePortFact, TestAgent } from './client.ts';
import { endpoints } from './cluster.ts';
import { listen } from './listen.ts';

const sysctl = (name: string, value = '1'): Fact => ({ kind: 'sysctl', key: `sysctl/${name}`, name, value });

async function start(t: Pick<typeof import('tap').t, 'testdir' | 'teardown'>) {
  const { store } = await openSqliteStore(t.testdir({}));
  const state = new CollectorState({ graceMs: 0 });
  const server = createServer();
  const told: string[] = [];
  const log = { info: () => {}, warn: () => {}, error: (_details: object, text: string) => told.push(text) };
  const ingest = new Ingest(server, {
    state,
    store,
    log,
    record: async () => {},
    ownership: soleOwner,
    admit: async () => ({ kind: 'admitted', by: 'nobody' }),
    audit: () => {},
  });
  const port = await listen(t, { server, ingest, state, store });
  return { state, told, address: `http://127.0.0.1:${port}` };
}

t.test('what a collector has lost or kept too long is put right by the next check', async (t) => {
  const { state, told, address } = await start(t);
  const uplink = new Uplink({
    collector: address.replace('http', 'ws'),
    identity: { node: 'node1', version: '1', bootId: 'b', stream: 's', startedAt: 1, capabilities: [] },
    begunAt: performance.now(),
    onWant: () => {},
    onTrace: () => ({}),
    onNotice: () => {},
    checkMs: 40,
  });
  t.teardown(() => uplink.close());
  const facts = [sysctl('a'), sysctl('b'), nodePortFact(30_080, 'forward', endpoints)];
  uplink.take({ kind: 'facts', facts: new Map(facts.map((fact) => [fact.key, fact])), at: Date.now() });
  const holds = () =>
    JSON.stringify(digestOf(state.node('node1')?.facts.values() ?? [])) === JSON.stringify(digestOf([facts[2] as Fact, facts[0] as Fact, facts[1] as Fact]));
  const settles = async (): Promise<boolean> => {
    for (let tries = 0; !holds() && tries < 200; tries++) await sleep(20);
    return holds();
  };
  t.ok(await settles());
  await sleep(150);
  t.strictSame(told, [], 'nothing is asked for while all is well');
  state.changeFacts('node1', { put: [], delete: ['sysctl/a'] });
  t.notOk(holds());
  t.ok(await settles(), 'a fact that was lost');
  state.changeFacts('node1', { put: [sysctl('ghost')], delete: [] });
  t.ok(await settles(), 'one that is no more');
  state.changeFacts('node1', { put: [nodePortFact(30_080, 'drop', endpoints)], delete: [] });
  t.ok(await settles(), 'one that is old');
  t.equal(told.length, 3);
});

t.test('an agent whose digest never fits is asked three times, one that sends none never', async (t) => {
  const { address } = await start(t);
  const agent = await TestAgent.start(address);
  t.teardown(() => agent.stop());
  t.match(await agent.until('welcome'), { capabilities: ['zstd', 'digest'] });
  agent.sendFacts([sysctl('a')]);
  agent.send({ type: 'digest', kinds: { ...digestOf([sysctl('a')]), 'from-the-future': { count: 9, sum: 9 } } });
  for (let i = 0; i < 6; i++) agent.send({ type: 'digest', kinds: digestOf([sysctl('b')]) });
  agent.sendFacts([sysctl('c')], { seq: 2, full: false });
  await agent.until('ack', ({ state }) => state === 2);
  const asked = agent.received.filter(({ type }) => type === 'resend');
  t.match(asked, [{ reason: /sysctl/ }, {}, {}]);
  t.equal(asked.length, 3);
});
