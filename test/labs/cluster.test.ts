// The lab is judged by the captured cluster: real connections must meet what they met there.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import t from 'tap';
import { buildCluster, labObstacle } from './cluster.ts';
import { namespaceNames, sweep } from './namespaces.ts';

interface Recorded {
  readonly label: string;
  readonly proto: 'tcp' | 'udp';
  readonly to: string;
  readonly outcome: string;
  readonly answers?: Readonly<Record<string, number>>;
}

const obstacle = await labObstacle();

t.test('clients of the lab meet what clients of the captured cluster met', { skip: obstacle ?? false }, async (t) => {
  const cluster = await buildCluster();
  t.teardown(() => cluster.close());
  const recorded: readonly Recorded[] = JSON.parse(readFileSync(new URL('../fixtures/01-healthy-iptables-nft/traffic.json', import.meta.url), 'utf8'));
  const meetings = await cluster.meet(recorded.map(({ proto, to }) => ({ protocol: proto, to, timeoutMs: 1_000 })));
  for (const [index, record] of recorded.entries()) {
    const met = meetings[index];
    t.equal(met?.outcome, record.outcome, `${record.label}: ${record.to} is ${record.outcome}`);
    // Which pod answers is left to chance, but the answers possible are those recorded for both: own pod with the bridge as source, other pod with the node.
    if (record.label.startsWith('web@') && record.answers !== undefined)
      t.ok(Object.keys(record.answers).includes(met?.answer ?? ''), `${record.label} was answered by ${met?.answer}`);
  }

  const [direct] = await cluster.meet([{ protocol: 'tcp', to: '172.31.0.11:30080' }]);
  t.equal(direct?.outcome, 'ok');
  cluster.edit('endpointslices.json', (items) =>
    items.map((slice) => (slice.metadata.labels['kubernetes.io/service-name'] === 'web' ? { ...slice, endpoints: null, ports: null } : slice)),
  );
  const refused = await until(async () => (await cluster.meet([{ protocol: 'tcp', to: '172.31.0.12:30080' }]))[0]?.outcome, 'refused');
  t.equal(refused, 'refused', 'a Service without endpoints refuses');

  const pids = Object.values(cluster.proxies).map(({ pid }) => pid);
  await cluster.close();
  t.same(
    namespaceNames().filter((name) => name.includes(`-${process.pid}-`)),
    [],
    'every namespace is gone',
  );
  t.notOk(
    pids.some((pid) => existsSync(`/proc/${pid}`)),
    'every process is gone',
  );
  t.notOk(existsSync(cluster.directory), 'the directory is gone');
});

async function until<T>(read: () => Promise<T>, wanted: T): Promise<T> {
  const deadline = Date.now() + 20_000;
  for (;;) {
    const found = await read();
    if (found === wanted || Date.now() > deadline) return found;
  }
}

t.test('what a killed lab leaves behind is removed by the next one', { skip: obstacle ?? false }, async (t) => {
  const body = `import { Namespaces } from ${JSON.stringify(new URL('./namespaces.ts', import.meta.url).href)};
    const lab = new Namespaces();
    const name = await lab.add('left');
    const sleeper = await lab.start(name, ['sleep', '1000']);
    console.log(name, sleeper.pid);
    setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', body], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [first] = await once(child.stdout, 'data');
  const [name, pid] = String(first).trim().split(' ');
  child.kill('SIGKILL');
  await once(child, 'exit');
  t.ok(namespaceNames().includes(name ?? ''), 'it is still there');
  t.ok(sweep().includes(name ?? ''), 'it is found');
  t.notOk(namespaceNames().includes(name ?? ''), 'and gone');
  t.equal(await until(async () => existsSync(`/proc/${pid}`), false), false, 'with the process in it');
});
