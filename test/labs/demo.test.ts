// The whole product on the lab: faults made by hand are found, explained and attributed, also by a collector that was killed in between.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import t from 'tap';
import { labObstacle, userNamespaceWorks } from './cluster.ts';
import { namespaceNames } from './namespaces.ts';
import { ledgerFaults } from './product.ts';

const refused = await labObstacle();
const obstacle = refused === undefined || userNamespaceWorks() ? undefined : refused;
const script = new URL('demo.ts', import.meta.url).pathname;

interface Ended {
  readonly code: number | null;
  readonly pid: number;
  readonly output: string;
}

async function run(env: Record<string, string>, stopAt?: RegExp): Promise<Ended> {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', script], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (bytes) => {
      output += bytes;
      if (stopAt?.test(output)) child.kill('SIGINT');
    });
  }
  const [code] = await once(child, 'close');
  return { code, pid: child.pid ?? 0, output };
}

const leftovers = (pid: number): string[] => namespaceNames().filter((name) => name.includes(`-${pid}-`));

t.test('every fault is found with its cause, its rule and who did it', { skip: obstacle ?? false }, async (t) => {
  const { code, pid, output } = await run({ DEMO_EXIT: '1', DEMO_RESTART: '1' });
  t.equal(code, 0, output);
  t.match(output, /every answer was right/);
  t.same(leftovers(pid), [], 'no namespace is left');
});

t.test('Ctrl-C ends it and leaves nothing', { skip: obstacle ?? false }, async (t) => {
  const { code, pid, output } = await run({}, /an agent runs on each node/);
  t.equal(code, 130, output);
  t.same(leftovers(pid), [], 'no namespace is left');
});

t.test('where no lab can be built, captures of real clusters are replayed and each fault is found', async (t) => {
  const { code, output } = await run({ DEMO_REPLAY: '1' });
  t.equal(code, 0, output);
  for (const cause of ['B06', 'C08', 'A02']) t.match(output, new RegExp(`error +${cause} `));
});

t.test('a ledger with a hole or a repeat is not whole', async (t) => {
  const change = (seq: number, node = 'node1') => ({ node, stream: 'a', seq, at: 0, kind: 'rule' as const, subject: 's', before: null, after: null });
  t.same(ledgerFaults([change(2), change(1), change(1, 'node2'), change(3)]), []);
  t.same(ledgerFaults([change(1), change(3)]), ['node1 a: 3 follows 1']);
  t.same(ledgerFaults([change(1), change(2), change(2)]), ['node1 a: 2 follows 2']);
  t.same(ledgerFaults([change(2)]), ['node1 a: 2 follows nothing']);
});
