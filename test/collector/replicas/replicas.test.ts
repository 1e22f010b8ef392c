// Two collectors as processes on one real PostgreSQL: every one answers everything, one is killed, and nothing is lost or said twice.
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { identityOf } from '../../../agent/host/identity.ts';
import { Uplink } from '../../../agent/uplink.ts';
import { ask } from '../../../cli/ask.ts';
import { noPostgres, TestPostgres } from '../../support/postgres.ts';
import { nodesOf, writeCluster } from './facts.ts';
import { CollectorProcess, eventually, LedgerAgent } from './processes.ts';

// Servers and processes start slowly on a busy machine.
t.setTimeout(300_000);

const missing = noPostgres();
if (missing === undefined) await testReplicas();
else t.test('replicas on PostgreSQL', { skip: missing }, () => {});

async function testReplicas(): Promise<void> {
  const server = await TestPostgres.start();
  t.teardown(() => server.close());

  t.test('two replicas: one answer, and after kill -9 of one nothing is lost and nothing said twice', async (t) => {
    const directory = t.testdir({});
    await writeCluster(directory, 6);
    const databaseUrl = server.newDatabase('replicas');
    const [a, b] = await Promise.all(['a', 'b'].map((name) => CollectorProcess.start({ directory, name, databaseUrl })));
    if (a === undefined || b === undefined) throw new Error('two were started');
    t.teardown(() => Promise.all([a.end('SIGKILL'), b.end('SIGKILL')]));
    const agents = nodesOf(6).map((node) => new LedgerAgent(node, [a.agentUrl, b.agentUrl]));
    t.teardown(() => Promise.all(agents.map((agent) => agent.close())));
    for (const [index, agent] of agents.entries())
      agent.report(index % 2 === 0 ? 'drop' : 'forward', [{ kind: 'sysctl', key: 'sysctl/x', name: 'x', value: String(index) }]);
    const at = (collector: CollectorProcess) => agents.filter(({ uplink }) => uplink.status.url.startsWith(collector.agentUrl) && uplink.status.connected);
    await eventually('all are connected', () => at(a).length + at(b).length, { fits: (count) => count === agents.length });
    t.ok(at(a).length > 0 && at(b).length > 0, `the agents are spread: ${at(a).length} and ${at(b).length}`);

    const blocked = ['node1', 'node3', 'node5'];
    for (const collector of [a, b])
      await eventually('the findings are known everywhere', () => collector.get('findings'), {
        fits: ({ items }) => blocked.every((node) => items.some((item: { node: string }) => item.node === node)) && items.length === 3,
      });
    await sameAnswers(t, [a, b]);
    t.match(await b.get('explain?node=node1&port=30080'), { connected: true, text: /node1/ });
    const archive = Buffer.from('the files of node1').toString('base64');
    for (const collector of [a, b]) t.match(await collector.post('capture', { node: 'node1' }), { node: 'node1', archive }, 'and captured from anywhere');
    for (const node of nodesOf(6))
      for (const collector of [a, b])
        t.match(await collector.post('trace', { node, packet: { dport: '30080' } }), { result: { walkedOn: node } }, `${node} is traced from anywhere`);
    const replicas = (await a.get('replicas')).items as readonly {
      readonly leader: boolean;
      readonly alive: boolean;
      readonly agents: number;
      readonly self: boolean;
      readonly address: string;
    }[];
    t.equal(replicas.filter(({ alive }) => alive).length, 2);
    t.equal(replicas.filter(({ leader }) => leader).length, 1, 'one leads');
    t.equal(
      replicas.reduce((sum, each) => sum + each.agents, 0),
      6,
    );

    // The leader is the one that is killed: what one does for all has to go on as well.
    const [killed, left] = replicas.find(({ leader }) => leader)?.self === true ? [a, b] : [b, a];
    const moving = at(killed).length;
    const killedAt = performance.now();
    await killed.end('SIGKILL');
    await eventually('the agents have moved', () => at(left).length, { fits: (count) => count === agents.length });
    t.comment(`${moving} agents had moved ${Math.round(performance.now() - killedAt)} ms after the kill`);
    await eventually('a new leader', () => left.get('replicas'), {
      fits: ({ items }) => items.some((item: { self: boolean; leader: boolean }) => item.self && item.leader),
    });
    t.comment(`it led ${Math.round(performance.now() - killedAt)} ms after the kill`);
    agents[1]?.report('drop');
    await eventually('a finding after the kill', () => left.get('findings'), {
      fits: ({ items }) => items.some(({ node }: { node: string }) => node === 'node2'),
    });
    agents[0]?.report('forward');
    await eventually('a finding of before ends', () => left.get('findings'), {
      fits: ({ items }) => !items.some(({ node }: { node: string }) => node === 'node1'),
    });

    for (const agent of agents) agent.rest();
    await eventually('everything is acknowledged', () => agents.reduce((sum, { uplink }) => sum + uplink.unacknowledged, 0), { fits: (count) => count === 0 });
    const counts = server.sql(
      "SELECT node || ' ' || count(*) || ' ' || count(DISTINCT seq) || ' ' || max(seq) FROM changes WHERE kind = 'rule' GROUP BY node ORDER BY node",
      'replicas',
    );
    t.strictSame(
      counts.split('\n'),
      agents.map(({ node, made }) => `${node} ${made} ${made} ${made}`),
      'every change is there once',
    );
    t.equal(server.sql('SELECT count(*) FROM gaps', 'replicas'), '0', 'and no gap');
    const episodes = server.sql("SELECT node || ' ' || count(*) || ' ' || count(closed_at) FROM findings GROUP BY node ORDER BY node", 'replicas');
    t.strictSame(episodes.split('\n'), ['node1 1 1', 'node2 1 0', 'node3 1 0', 'node5 1 0'], 'each finding once');
  });

  t.test('a replica that was only asleep finds its nodes owned by another, and writes nothing of them', async (t) => {
    const directory = t.testdir({});
    await writeCluster(directory, 4);
    const databaseUrl = server.newDatabase('asleep');
    const [a, b] = await Promise.all(['a', 'b'].map((name) => CollectorProcess.start({ directory, name, databaseUrl })));
    if (a === undefined || b === undefined) throw new Error('two were started');
    t.teardown(() => Promise.all([a.end('SIGKILL'), b.end('SIGKILL')]));
    const agents = nodesOf(4).map((node) => new LedgerAgent(node, [a.agentUrl, b.agentUrl], { everyMs: 10, heartbeatMs: 400 }));
    t.teardown(() => Promise.all(agents.map((agent) => agent.close())));
    for (const agent of agents) agent.report('drop');
    const at = (collector: CollectorProcess) => agents.filter(({ uplink }) => uplink.status.url.startsWith(collector.agentUrl) && uplink.status.connected);
    await eventually('all are connected', () => at(a).length + at(b).length, { fits: (count) => count === 4 });
    await eventually('the findings are there', () => b.get('findings'), { fits: ({ items }) => items.length === 4 });
    // The connections by which they hear of each other are cut: what was missed is looked for when they stand again.
    server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' OR query = 'SELECT 1'");
    agents[0]?.report('drop', [{ kind: 'sysctl', key: 'sysctl/news', name: 'news', value: '1' }]);
    for (const collector of [a, b])
      await eventually('news after a cut', () => collector.get('nodes/node1'), {
        fits: ({ facts }) => facts.some(({ key }: { key: string }) => key === 'sysctl/news'),
      });
    // On a busy machine agents have moved before, and a replica writes a moment later that an agent is with it: what is asked for is what it says when it falls asleep.
    const takeovers = (): number =>
      Number(server.sql("SELECT count(*) FROM audit WHERE action = 'take over session' AND subject LIKE '%at the replica%'", 'asleep'));
    const connected = (): number => Number(server.sql("SELECT count(*) FROM node_states WHERE node <> '' AND connected = 1", 'asleep'));
    await eventually('each agent is known to be somewhere', () => (at(a).length + at(b).length === 4 ? connected() : 0), { fits: (count) => count === 4 });
    const takenBefore = takeovers();
    // Agents choose by chance: it may be that none has to move.
    const moving = at(a).length;
    await a.end('SIGSTOP');
    await eventually('the agents have moved', () => at(b).length, { fits: (count) => count === 4 });
    // Some of what was sent to the sleeper waits in its sockets, and it will try to store it.
    for (const agent of agents) agent.report('forward');
    await eventually('the findings end', () => b.get('findings'), { fits: ({ items }) => items.length === 0 });
    // The audit log is not waited for.
    for (let tries = 0; tries < 100 && takeovers() - takenBefore < moving; tries++) await new Promise((resolve) => setTimeout(resolve, 100));
    const taken = server.sql("SELECT who || ' ' || subject || ' ' || at FROM audit WHERE action = 'take over session' ORDER BY at", 'asleep');
    t.ok(
      takeovers() - takenBefore >= moving,
      `who takes a session over from another replica is in the audit log: ${moving} moved, ${takenBefore} before: ${taken}`,
    );
    await a.end('SIGCONT');
    await eventually('the sleeper knows what has happened', () => a.get('findings'), { fits: ({ items }) => items.length === 0 });
    for (const agent of agents) agent.rest();
    await eventually('everything is acknowledged', () => agents.reduce((sum, { uplink }) => sum + uplink.unacknowledged, 0), { fits: (count) => count === 0 });
    await sameAnswers(t, [a, b]);
    const counts = server.sql(
      "SELECT node || ' ' || count(*) || ' ' || count(DISTINCT seq) || ' ' || max(seq) FROM changes WHERE kind = 'rule' GROUP BY node ORDER BY node",
      'asleep',
    );
    t.strictSame(
      counts.split('\n'),
      agents.map(({ node, made }) => `${node} ${made} ${made} ${made}`),
    );
    t.equal(server.sql('SELECT count(*) FROM findings', 'asleep'), '4', 'no finding was opened again by the sleeper');
    t.equal(server.sql('SELECT count(*) FROM gaps', 'asleep'), '0');
  });

  t.test('a replica that has come a moment ago is known: who takes its agents over says so', async (t) => {
    const directory = t.testdir({});
    await writeCluster(directory, 4);
    const databaseUrl = server.newDatabase('young');
    const [older, younger] = [
      await CollectorProcess.start({ directory, name: 'older', databaseUrl }),
      await CollectorProcess.start({ directory, name: 'younger', databaseUrl }),
    ];
    t.teardown(() => Promise.all([older.end('SIGKILL'), younger.end('SIGKILL')]));
    const start = (collector: CollectorProcess): readonly LedgerAgent[] => {
      const agents = nodesOf(4).map((node) => new LedgerAgent(node, [collector.agentUrl], { everyMs: 1_000 }));
      t.teardown(() => Promise.all(agents.map((agent) => agent.close())));
      return agents;
    };
    for (const agent of start(younger)) agent.report('forward');
    // Not the younger's word: what the older one makes of it.
    await eventually('its nodes are shown as connected', () => older.get('nodes'), {
      fits: ({ items }) => items.filter(({ agent }: { agent: string }) => agent === 'connected').length === 4,
      seconds: 2,
    });
    await younger.end('SIGSTOP');
    start(older);
    const told = "SELECT count(DISTINCT who) FROM audit WHERE action = 'take over session' AND subject LIKE '%at the replica%'";
    await eventually('the audit log says whom they were taken from', () => server.sql(told, 'young'), { fits: (count) => count === '4' });
    await younger.end('SIGCONT');
  });

  t.test('replicas that start at once have one authority and one first token, and an agent that one enrols is known to the other', async (t) => {
    const directory = t.testdir({});
    await writeCluster(directory, 2);
    const databaseUrl = server.newDatabase('identity');
    const [a, b] = await Promise.all(['a', 'b'].map((name) => CollectorProcess.start({ directory, name, databaseUrl, more: ['--tls'] })));
    if (a === undefined || b === undefined) throw new Error('two were started');
    t.teardown(() => Promise.all([a.end('SIGKILL'), b.end('SIGKILL')]));
    const tokens = [a, b].flatMap((collector) => /pra_\S+/.exec(collector.printed())?.[0] ?? []);
    t.equal(tokens.length, 1, 'one of them has printed a token');
    const ca = ['a', 'b'].map((name) => readFileSync(join(directory, name, 'ca.crt'), 'utf8'));
    t.equal(ca[0], ca[1]);
    const authorityFile = join(directory, 'a', 'ca.crt');
    const tokenFile = join(directory, 'token');
    writeFileSync(tokenFile, tokens[0] as string);
    const askAt = (collector: CollectorProcess, path: string, asked: object = {}) => ask({ url: collector.address, tokenFile, authorityFile }, path, asked);
    const { token } = await askAt(a, 'tokens', { method: 'POST', body: { kind: 'join', node: 'node1', ttlMs: 60_000 } });
    const urls = [a, b].map(({ address }) => new URL(address));
    const dead = new URL('https://127.0.0.1:1');
    const identity = { collectors: [dead, ...urls], node: 'node1', directory: join(directory, 'agent'), authorities: [], joinToken: String(token) };
    const secrets = await identityOf(identity, Date.now());
    for (const collector of [a, b]) {
      const uplink = new Uplink({
        collector: collector.agentUrl,
        identity: { node: 'node1', version: '1', bootId: 'b', stream: 's', startedAt: Date.now(), capabilities: [] },
        secrets: () => secrets,
        begunAt: performance.now(),
        onWant: () => {},
        onTrace: () => ({}),
        onNotice: () => {},
      });
      await eventually('the agent is let in', () => uplink.status.connected, { fits: Boolean });
      await uplink.close();
    }
    // An operator revokes at one replica, while the agent is connected to the other.
    const agent = new Uplink({
      collector: b.agentUrl,
      identity: { node: 'node1', version: '1', bootId: 'b', stream: 's', startedAt: Date.now(), capabilities: [] },
      secrets: () => secrets,
      begunAt: performance.now(),
      onWant: () => {},
      onTrace: () => ({}),
      onNotice: () => {},
    });
    t.teardown(() => agent.close());
    const connectedAt = async (collector: CollectorProcess) =>
      ((await askAt(collector, 'nodes')).items as readonly { name: string; agent: string }[]).find(({ name }) => name === 'node1')?.agent;
    await eventually('the other replica knows that it is connected', () => connectedAt(a), { fits: (state) => state === 'connected' });
    await askAt(a, 'nodes/node1/identity', { method: 'DELETE' });
    await eventually('its session at the other replica ends', () => agent.status.connected, { fits: (connected) => !connected });
    await eventually('and it stays out', () => connectedAt(b), { fits: (state) => state === 'disconnected' });
    const { items: audit } = (await askAt(b, 'audit')) as { items: readonly { action: string }[] };
    t.ok(audit.some(({ action }) => action === 'revoke identity'));
  });

  t.test('the primary is killed and its synchronous standby promoted: the replicas carry on, and nothing acknowledged is lost', async (t) => {
    const directory = t.testdir({});
    await writeCluster(directory, 3);
    const primary = await TestPostgres.start();
    const standby = await TestPostgres.start({ standbyOf: primary });
    t.teardown(() => Promise.all([primary.close(), standby.close()]));
    primary.sql("ALTER SYSTEM SET synchronous_standby_names = '*'");
    primary.sql('SELECT pg_reload_conf()');
    await eventually('the standby follows', () => primary.sql("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"), {
      fits: (count) => count === '1',
    });
    const databaseUrl = `postgres://postgres@${primary.host},${standby.host}/postgres`;
    const [a, b] = await Promise.all(['a', 'b'].map((name) => CollectorProcess.start({ directory, name, databaseUrl })));
    if (a === undefined || b === undefined) throw new Error('two were started');
    t.teardown(() => Promise.all([a.end('SIGKILL'), b.end('SIGKILL')]));
    const agents = nodesOf(3).map((node) => new LedgerAgent(node, [a.agentUrl, b.agentUrl]));
    t.teardown(() => Promise.all(agents.map((agent) => agent.close())));
    for (const agent of agents) agent.report('drop');
    for (const collector of [a, b]) await eventually('the findings are there', () => collector.get('findings'), { fits: ({ items }) => items.length === 3 });
    await primary.kill();
    const killedAt = performance.now();
    standby.promote();
    for (const agent of agents) agent.report('forward');
    for (const collector of [a, b]) await eventually('the findings end', () => collector.get('findings'), { fits: ({ items }) => items.length === 0 });
    for (const agent of agents) agent.rest();
    await eventually('everything is acknowledged', () => agents.reduce((sum, { uplink }) => sum + uplink.unacknowledged, 0), { fits: (count) => count === 0 });
    t.comment(`everything was stored ${Math.round(performance.now() - killedAt)} ms after the primary was killed`);
    const counts = standby.sql(
      "SELECT node || ' ' || count(*) || ' ' || count(DISTINCT seq) || ' ' || max(seq) FROM changes WHERE kind = 'rule' GROUP BY node ORDER BY node",
    );
    t.strictSame(
      counts.split('\n'),
      agents.map(({ node, made }) => `${node} ${made} ${made} ${made}`),
    );
    t.equal(standby.sql('SELECT count(*) FROM findings'), '3');
    await eventually('one leads', () => a.get('replicas'), {
      fits: ({ items }) => items.filter((item: { alive: boolean; leader: boolean }) => item.alive && item.leader).length === 1,
    });
  });

  t.test('changes of the cluster are written once, and not lost with the leader', async (t) => {
    const directory = t.testdir({});
    await writeCluster(directory, 2);
    const databaseUrl = server.newDatabase('cluster');
    const [a, b] = await Promise.all(['a', 'b'].map((name) => CollectorProcess.start({ directory, name, databaseUrl })));
    if (a === undefined || b === undefined) throw new Error('two were started');
    t.teardown(() => Promise.all([a.end('SIGKILL'), b.end('SIGKILL')]));
    const leads = async (collector: CollectorProcess): Promise<boolean> =>
      (await collector.get('replicas')).items.some((item: { self: boolean; leader: boolean }) => item.self && item.leader);
    await eventually('one leads', async () => (await leads(a)) || (await leads(b)), { fits: Boolean });
    const service = join(directory, 'cluster', 'more.json');
    const serviceOf = (name: string, nodePort: number) =>
      JSON.stringify({
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { namespace: 'shop', name },
        spec: { type: 'NodePort', clusterIPs: ['10.96.0.11'], ipFamilies: ['IPv4'], ports: [{ port: 80, nodePort, protocol: 'TCP' }] },
      });
    const written = () => server.sql("SELECT count(*) FROM changes WHERE kind = 'service' AND subject LIKE '%shop/%'", 'cluster');
    writeFileSync(service, serviceOf('one', 30_081));
    await eventually('the ledger tells of it', written, { fits: (count) => count === '1' });
    const [leader, other] = (await leads(a)) ? [a, b] : [b, a];
    await leader.end('SIGKILL');
    rmSync(service);
    await eventually('the new leader tells of what nobody wrote', written, { fits: (count) => count === '2' });
    t.match((await other.get('changes?kind=service')).items, [
      { subject: 'Service shop/one', after: null },
      { subject: 'Service shop/one', before: null },
    ]);
  });
}

/** Both tell the same of everything, but for how old it is. */
async function sameAnswers(t: Pick<typeof import('tap').t, 'pass' | 'fail'>, [a, b]: readonly [CollectorProcess, CollectorProcess]): Promise<void> {
  for (const path of [
    'nodes',
    'nodeports',
    'services',
    'matrix',
    'register',
    'findings',
    'nodes/node1',
    'nodes/node2',
    'nodes/node6',
    'explain?node=node1&port=30080',
    'explain?node=node2&port=30080',
    'gaps',
  ]) {
    const plain = async (collector: CollectorProcess) => JSON.stringify(await collector.get(path), without);
    const differs = async (): Promise<string> => {
      const [ofA, ofB] = [await plain(a), await plain(b)];
      const at = [...ofA].findIndex((character, i) => character !== ofB[i]);
      return ofA === ofB ? '' : `${ofA.slice(Math.max(0, at - 80), at + 80)} ↔ ${ofB.slice(Math.max(0, at - 80), at + 80)}`;
    };
    await eventually(`both say the same of ${path}`, differs, { fits: (difference) => difference === '', seconds: 10 }).then(
      () => t.pass(`both say the same of ${path}`),
      (error: Error) => t.fail(error.message),
    );
  }
}

/** Ages, and what each measures by itself. */
const passing: ReadonlySet<string> = new Set(['view', 'viewAgeMs', 'stateAt', 'since', 'heardAt', 'programming']);
const without = (key: string, value: unknown): unknown => (passing.has(key) ? undefined : value);
