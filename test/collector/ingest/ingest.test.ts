// Agents over real WebSockets against a running collector: order of messages, acknowledgement, and what ends a session.

import t from 'tap';
import WebSocket from 'ws';
import { limits } from '../../../shared/limits.ts';
import { subprotocol } from '../../../shared/wire/messages.ts';
import { changeOf, nodePortFact, TestAgent } from './client.ts';
import { endpoints, getJson, startCollector, until } from './cluster.ts';

t.test('an agent is welcomed and told what to judge', async (t) => {
  const collector = await startCollector(t.testdir());
  t.teardown(() => collector.close());
  const agent = await TestAgent.start(collector.address);
  t.match(await agent.until('welcome'), { resumeAfter: 0 });
  t.strictSame(await agent.until('want'), {
    type: 'want',
    peers: ['172.31.0.12'],
    podNetworks: ['10.244.1.0/24', '10.244.2.0/24'],
    nodePorts: [{ protocol: 'tcp', family: 4, port: 30080 }],
  });
  await agent.stop();
});

t.test('changes are acknowledged once stored, kept once, and a reconnect resumes behind them', async (t) => {
  const collector = await startCollector(t.testdir());
  t.teardown(() => collector.close());
  const agent = await TestAgent.start(collector.address);
  agent.sendChanges([changeOf(1), changeOf(2)]);
  await agent.until('ack', (ack) => ack.changes === 2);
  t.equal((await getJson(collector.address, 'changes')).items.length, 2, 'stored by the time of the acknowledgement');
  agent.sendChanges([changeOf(2), changeOf(3)]);
  await agent.until('ack', (ack) => ack.changes === 3);
  await agent.stop();
  const again = await TestAgent.start(collector.address);
  t.equal((await again.until('welcome')).resumeAfter, 3);
  const { items } = await getJson(collector.address, 'changes');
  t.strictSame(
    items.map(({ seq }: { seq: number }) => seq),
    [3, 2, 1],
    'a repeated change is stored once',
  );
  const fresh = await TestAgent.start(collector.address, { node: 'node2', stream: 'run-1' });
  t.equal((await fresh.until('welcome')).resumeAfter, 0, 'the same stream name on another node is another stream');
  await Promise.all([again.stop(), fresh.stop()]);
});

t.test('a hole in a stream becomes a gap in the ledger, unless the agent tells of it itself', async (t) => {
  const collector = await startCollector(t.testdir());
  t.teardown(() => collector.close());
  const agent = await TestAgent.start(collector.address);
  agent.sendChanges([changeOf(1), changeOf(5)]);
  await agent.until('ack', (ack) => ack.changes === 5);
  agent.sendChanges([changeOf(9, { kind: 'gap', subject: 'spool', covers: 3, gap: { reason: 'spool-full', from: 1, to: 2 } }), changeOf(10)]);
  await agent.until('ack', (ack) => ack.changes === 10);
  const { items } = await getJson(collector.address, 'changes?kind=gap');
  const own = items.filter(({ stream }: { stream: string }) => stream !== 'run-1');
  t.match(own, [{ node: 'node1', after: /^changes 2 to 4 never arrived/ }]);
  t.equal(own.length, 1);
  await agent.stop();
});

t.test('what breaks the protocol ends that session and no other', async (t) => {
  const collector = await startCollector(t.testdir());
  t.teardown(() => collector.close());
  const bystander = await TestAgent.start(collector.address, { node: 'node2' });
  const cases: readonly { readonly name: string; readonly send: (agent: TestAgent) => void; readonly says: RegExp }[] = [
    { name: 'no JSON', send: (agent) => agent.socket.send('{'), says: /malformed JSON/ },
    { name: 'an unknown type', send: (agent) => agent.socket.send('{"type":"nonsense"}'), says: /"nonsense"/ },
    {
      name: 'a second hello',
      send: (agent) => agent.send({ type: 'hello', node: 'node1', version: '', bootId: '', stream: 'x', acknowledged: 0, clock: 0, capabilities: [] }),
      says: /twice/,
    },
    { name: 'a change of another node', send: (agent) => agent.sendChanges([changeOf(1, { node: 'node2' })]), says: /"node2" from the agent of node1/ },
    { name: 'a first state that is not full', send: (agent) => agent.sendFacts([], { full: false }), says: /must be full/ },
    {
      name: 'a fact of a wrong shape',
      send: (agent) => agent.sendFacts([{ ...nodePortFact(30080, 'drop', endpoints), outcomes: { external: [{ verdict: 'perhaps' }] } } as never]),
      says: /nodeport\/tcp\/4\/30080.*outcomes/,
    },
  ];
  for (const { name, send, says } of cases) {
    const agent = await TestAgent.start(collector.address);
    send(agent);
    t.match((await agent.until('error')).message, says, name);
    t.equal(await agent.closed, 4400, `${name}: closed`);
  }
  const silent = await TestAgent.connect(collector.address);
  silent.sendChanges([changeOf(1)]);
  t.match((await silent.until('error')).message, /first message must be hello/);
  bystander.sendChanges([changeOf(1, { node: 'node2' })]);
  await bystander.until('ack', (ack) => ack.changes === 1);
  t.equal((await getJson(collector.address, 'changes')).items.length, 1, 'nothing of the refused frames was stored');
  await bystander.stop();
});

t.test('a newer session of a node replaces the older', async (t) => {
  const collector = await startCollector(t.testdir());
  t.teardown(() => collector.close());
  const older = await TestAgent.start(collector.address);
  const newer = await TestAgent.start(collector.address, { stream: 'run-2' });
  t.match(await older.until('error'), { code: 'SESSION_REPLACED' });
  await older.closed;
  const { items } = await getJson(collector.address, 'nodes');
  t.equal(items[0].agent, 'connected', 'the end of the older does not disconnect the node');
  await newer.stop();
  const gone = await until(
    () => getJson(collector.address, 'nodes'),
    (answer) => answer.items[0].agent === 'disconnected',
  );
  t.equal(gone.items[0].agent, 'disconnected');
});

t.test('a full state in parts is taken over as a whole', async (t) => {
  const collector = await startCollector(t.testdir());
  t.teardown(() => collector.close());
  const agent = await TestAgent.start(collector.address);
  const facts = async () => (await getJson(collector.address, 'nodes/node1')).facts.map(({ key }: { key: string }) => key);
  const sysctl = (name: string) => ({ kind: 'sysctl' as const, key: `sysctl/${name}`, name, value: '1' });
  agent.sendFacts([sysctl('a')], { seq: 1, more: true });
  await agent.until('ack', (ack) => ack.state === 1);
  t.strictSame(await facts(), [], 'a part is not shown');
  agent.sendFacts([sysctl('b')], { seq: 2 });
  await agent.until('ack', (ack) => ack.state === 2);
  t.strictSame(await facts(), ['sysctl/a', 'sysctl/b']);
  agent.sendFacts([sysctl('c')], { seq: 3, full: false, delete: ['sysctl/a'] });
  await agent.until('ack', (ack) => ack.state === 3);
  t.strictSame(await facts(), ['sysctl/b', 'sysctl/c']);
  agent.sendFacts([{ kind: 'from-the-future', key: 'future/1' } as never, sysctl('d')], { seq: 4, full: false });
  await agent.until('ack', (ack) => ack.state === 4);
  t.strictSame(await facts(), ['sysctl/b', 'sysctl/c', 'sysctl/d'], 'a kind that is not known is left out');
  await agent.stop();
});

t.test('an agent that does not answer heartbeats is cut off', async (t) => {
  const collector = await startCollector(t.testdir(), { heartbeatMs: 100 });
  t.teardown(() => collector.close());
  const agent = await TestAgent.start(collector.address);
  agent.socket.pause();
  const { items } = await until(
    () => getJson(collector.address, 'nodes'),
    (answer) => answer.items[0].agent === 'disconnected',
  );
  t.equal(items[0].agent, 'disconnected');
  agent.socket.terminate();
});

t.test('only agents are admitted', async (t) => {
  const collector = await startCollector(t.testdir());
  t.teardown(() => collector.close());
  const url = collector.address.replace('http', 'ws');
  const refusal = (path: string, protocol: string, headers = {}): Promise<string> =>
    new Promise((resolve) => new WebSocket(`${url}${path}`, protocol, { headers }).on('error', (error) => resolve(error.message)));
  t.match(await refusal('/agent', subprotocol, { origin: 'https://evil.example' }), /403/, 'a page in a browser');
  t.match(await refusal('/other', subprotocol), /404/);
  t.match(await refusal('/agent', 'portreeve.v0'), /400/);
});

t.test('a flood of changes is read as fast as it is stored, and nothing of it is lost', async (t) => {
  const collector = await startCollector(t.testdir(), { heartbeatMs: 500 });
  t.teardown(() => collector.close());
  const agent = await TestAgent.start(collector.address);
  const batches = 100;
  for (let batch = 0; batch < batches; batch++)
    agent.sendChanges(Array.from({ length: limits.changesBatchMax }, (_, index) => changeOf(batch * limits.changesBatchMax + index + 1)));
  await agent.until('ack', (ack) => ack.changes === batches * limits.changesBatchMax);
  t.match(await (await fetch(`${collector.address}/metrics`)).text(), `portreeve_changes_total ${batches * limits.changesBatchMax}\n`);
  await agent.stop();
});

t.test('a frame over the limit ends the session, one at the limit does not', async (t) => {
  const collector = await startCollector(t.testdir());
  t.teardown(() => collector.close());
  const padded = (bytes: number): string => {
    const message = JSON.stringify({ type: 'error', code: 'TEST', message: 'x' });
    return message + ' '.repeat(bytes - message.length);
  };
  const agent = await TestAgent.start(collector.address);
  agent.socket.send(padded(limits.frameBytesMax));
  agent.sendChanges([changeOf(1)]);
  await agent.until('ack', (ack) => ack.changes === 1);
  agent.socket.send(padded(limits.frameBytesMax + 1));
  t.equal(await agent.closed, 1009);
});

t.test('a trigger is found in the ledger of before a restart', async (t) => {
  const directory = t.testdir();
  const first = await startCollector(directory);
  const agent = await TestAgent.start(first.address);
  const rule = '-A FORWARD -p tcp -m tcp --dport 8080 -j DROP';
  agent.sendChanges([
    changeOf(1, { before: '-P FORWARD ACCEPT', after: `-P FORWARD ACCEPT\n${rule}`, actor: { how: 'nft-generation', comm: 'iptables', pid: 4711 } }),
  ]);
  await agent.until('ack', (ack) => ack.changes === 1);
  await first.close();
  const second = await startCollector(directory);
  t.teardown(() => second.close());
  const again = await TestAgent.start(second.address);
  again.sendFacts([nodePortFact(30080, 'drop', endpoints)]);
  const { items } = await until(
    () => getJson(second.address, 'findings'),
    (answer) => answer.items.length > 0,
  );
  t.match(items, [{ trigger: { seq: 1 }, actor: { pid: 4711 } }]);
  await again.stop();
});

t.test('an agent that has to wait for its turn hears that the collector lives, although its own pings are not read', async (t) => {
  const collector = await startCollector(t.testdir(), { heartbeatMs: 1_000 });
  t.teardown(() => collector.close());
  const agent = await TestAgent.start(collector.address);
  const put = Array.from({ length: limits.stateFactsMax }, (_, i) => ({ kind: 'sysctl', key: `sysctl/${i}`, name: `${i}`, value: 'x'.repeat(1_500) }));
  // More than it may use at once: the last of them wait for seconds.
  for (let seq = 1; seq <= 40; seq++) agent.send({ type: 'state', seq, full: true, more: false, at: 1, put, delete: [] });
  let pongs = 0;
  agent.socket.on('pong', () => void pongs++);
  t.ok(
    await until(
      async () => pongs > 8,
      (heard) => heard,
    ),
    'they come by themselves',
  );
  t.notOk(
    agent.received.some((message) => message.type === 'ack' && message.state === 40),
    'while it waits',
  );
  agent.socket.terminate();
});
