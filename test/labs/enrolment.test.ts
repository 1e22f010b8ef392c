// A machine that knows nothing enrols over TLS in three commands: a namespace of its own, a network between, the real programs.
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { objectsOf, writeObjects } from '../collector/ingest/cluster.ts';
import { Namespaces } from './namespaces.ts';

const launcher = new URL('../../cli/portreeve', import.meta.url).pathname;
const skip = process.getuid?.() === 0 ? false : 'network namespaces need root';

t.setTimeout(120_000);

t.test('three commands: a collector, a join token, an agent', { skip }, async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'portreeve-enrolment-'));
  const namespaces = new Namespaces();
  t.teardown(async () => {
    await namespaces.close();
    rmSync(directory, { recursive: true, force: true });
  });
  const [centre, edge] = [await namespaces.add('centre'), await namespaces.add('edge')];
  await namespaces.ip(centre, ['link add c0 type veth peer name e0', `link set e0 netns ${edge}`, 'addr add 192.0.2.1/24 dev c0', 'link set c0 up']);
  await namespaces.ip(edge, ['addr add 192.0.2.2/24 dev e0', 'link set e0 up']);
  await writeObjects(join(directory, 'cluster'), objectsOf());

  // 1
  const data = join(directory, 'collector');
  const collector = await namespaces.start(
    centre,
    [launcher, 'collector', '--listen', '192.0.2.1:7300', '--data', data, '--cluster', join(directory, 'cluster')],
    {
      ready: /collector listens on https:/,
    },
  );
  const printed = /administrator's token \(shown once\): (pra_\S+)\nfingerprint of the authority: ([0-9a-f]{64})/.exec(collector.output());
  t.ok(printed, 'the first start prints the first token and the fingerprint');
  const adminToken = join(directory, 'admin-token');
  writeFileSync(adminToken, printed?.[1] ?? '');
  const server = ['--server', 'https://192.0.2.1:7300', '--token-file', adminToken, '--ca-file', join(data, 'ca.crt')];

  // 2
  const created = await namespaces.run(centre, [launcher, 'token', 'create', '--node', 'node1', '--ttl', '1h', ...server]);
  t.match(created, { exitCode: 0, stdout: new RegExp(`^prj_\\w{8}_[\\w-]{32}_${printed?.[2]}$`), stderr: /portreeve agent --collector/ });
  const joinToken = join(directory, 'join-token');
  writeFileSync(joinToken, created.stdout);

  // 3: nothing but the token has gone to the other machine.
  const state = join(directory, 'agent');
  const words = ['agent', '--collector', 'wss://192.0.2.1:7300', '--node', 'node1', '--state', state, '--join-token-file', joinToken];
  const agent = await namespaces.start(edge, [launcher, ...words]);
  const nodes = async () => (await namespaces.run(centre, [launcher, 'get', 'nodes', '-o', 'json', ...server])).stdout;
  let answer = '';
  for (let tries = 0; tries < 60 && !/"agent": "connected"/.test(answer); tries++) {
    await sleep(250);
    answer = await nodes();
  }
  t.match(
    JSON.parse(answer || '{}'),
    {
      items: [
        { name: 'node1', agent: 'connected' },
        { name: 'node2', agent: 'never' },
      ],
    },
    agent.output(),
  );
  t.equal(statSync(join(state, 'identity', 'node1', 'key.pem')).mode & 0o777, 0o600);

  // Another machine with the same token, and one that asks somebody else than the collector the token is for.
  const thief = await namespaces.run(edge, [launcher, ...words.map((word) => (word === state ? join(directory, 'thief') : word))]);
  t.match(thief, { exitCode: 2, stderr: /used before/ });
  writeFileSync(
    joinToken,
    created.stdout.replace(/.$/, (last) => (last === '0' ? '1' : '0')),
  );
  const misled = await namespaces.run(edge, [launcher, ...words.map((word) => (word === state ? join(directory, 'misled') : word))]);
  t.match(misled, { exitCode: 2, stderr: /is not the collector that the join token is for/ });
  t.notMatch(
    readFileSync(join(data, 'portreeve.db')).toString('latin1'),
    new RegExp(created.stdout.slice(13, 45)),
    'the store has the hash of the token alone',
  );

  // Nothing goes in the clear but on loopback.
  const plain = await namespaces.run(edge, [launcher, 'agent', '--collector', 'ws://192.0.2.1:7300', '--node', 'node1']);
  t.match(plain, { exitCode: 2, stderr: /not a loopback address/ });
});
