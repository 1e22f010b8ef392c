// Who writes to a node is told: each writer of writers.ts works on a live lab with a real agent and a real collector, and what the collector says of it by its
// live stream must name the process and show the lines. How long each took is printed.
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { actorText, type SequencedChange } from '../../shared/model/change.ts';
import { noBpf } from '../agent/bpf/program.ts';
import { acts } from './acts.ts';
import { buildCluster, type Cluster, labObstacle, type NodeName } from './cluster.ts';
import { followLive, type Live } from './live.ts';
import { type Firewalld, isInstalled, openPlace, type Place, startFirewalld } from './places.ts';

import { type Product, startProduct } from './product.ts';
import { type Told, type Writer, writers } from './writers.ts';

t.setTimeout(240_000);
const obstacle = await labObstacle();
/** On a machine that does other things as well it takes longer than it should; how long it took is said. */
const patienceMs = 15_000;

interface Lab {
  readonly cluster: Cluster;
  readonly product: Product;
  readonly live: Live;
  readonly places: Readonly<Record<NodeName, Place>>;
  readonly firewalld?: Firewalld;
}

if (obstacle !== undefined) t.test('writers', { skip: obstacle }, async () => undefined);
else await play();

async function play(): Promise<void> {
  const lab = await build();
  for (const writer of writers(lab.cluster.directory)) {
    const missing = writer.program === undefined || isInstalled(writer.program) ? undefined : `${writer.program} is not installed`;
    const skip = missing ?? (writer.node === 'node2' && writer.program === 'firewalld' && lab.firewalld === undefined ? 'no system bus' : false);
    await t.test(writer.name, { skip }, async (t) => await happens(t, lab, writer));
  }
  await t.test('a writer like kube-proxy', async (t) => await proxySyncs(t, lab));
}

async function build(): Promise<Lab> {
  const cluster = await buildCluster();
  t.teardown(() => cluster.close());
  const firewalld = isInstalled('firewalld') && isInstalled('dbus-daemon') ? await startFirewalld(cluster, 'node2') : undefined;
  const places = { node1: await openPlace(cluster, 'node1'), node2: firewalld ?? (await openPlace(cluster, 'node2')) };
  const product = await startProduct(cluster, { node1: places.node1.enter, node2: places.node2.enter });
  t.teardown(() => product.close());
  const live = await followLive(product.url);
  t.teardown(() => live.close());
  // Connected, and settled: what agents find at their start is no change.
  for (const deadline = Date.now() + 20_000; !(await product.healthyNodes()).includes('node1') && Date.now() < deadline; ) await sleep(100);
  await quiet(live);
  return { cluster, product, live, places, ...(firewalld === undefined ? {} : { firewalld }) };
}

/** Nothing has come for a while. */
async function quiet(live: Live): Promise<void> {
  for (let known = -1; known !== live.changes.length; ) {
    known = live.changes.length;
    await sleep(700);
  }
}

async function happens(t: Test, lab: Lab, writer: Writer): Promise<void> {
  const place = lab.places[writer.node];
  if (writer.before !== undefined) {
    const prepared = await place.run('bash', '-ec', writer.before);
    t.equal(prepared.exitCode, 0, prepared.stderr);
    await quiet(lab.live);
  }
  const from = lab.live.changes.length;
  const started = performance.now();
  const { pid, exitCode, stderr } = await place.run(...writer.write);
  const ended = performance.now();
  t.equal(exitCode, 0, stderr);
  const found = await lab.live.wait(from, ({ change }) => change.node === writer.node && isTold(change, writer.told), patienceMs);
  t.ok(found !== undefined, 'the change came', {
    came: lab.live.changes
      .slice(from, from + 20)
      .map(({ change }) => ({ ...change, before: change.before?.slice(0, 500), after: change.after?.slice(0, 500) })),
    log: found === undefined ? lab.product.logs().slice(-3_000) : '',
  });
  if (found === undefined) return;
  t.comment(
    `came ${Math.round(found.at - started)} ms after its start, ${Math.round(found.at - ended)} ms after its end: ${actorText(found.change.actor)} (${found.change.actor?.how})`,
  );
  if (noBpf !== false && writer.needsBpf) return t.comment(`SKIPPED: who did it: ${noBpf}`);
  isActor(t, found.change, { told: writer.told, pid: writer.told.daemon ? lab.firewalld?.pid : pid });
}

function isTold({ kind, subject, before, after }: SequencedChange, told: Told): boolean {
  return (
    (told.kind === undefined || kind === told.kind) &&
    (typeof told.subject === 'string' ? subject === told.subject : told.subject.test(subject)) &&
    (told.before === undefined || told.before.test(before ?? '')) &&
    (told.after === undefined || told.after.test(after ?? ''))
  );
}

function isActor(t: Test, { actor, owner }: SequencedChange, { told, pid }: { readonly told: Told; readonly pid: number | undefined }): void {
  const parents = actor?.parents ?? [];
  t.match(actor?.comm ?? '', told.comm, 'the process');
  t.ok([actor?.pid, ...parents.map((each) => each.pid)].includes(pid), `process ${pid}, or a child of it`, { actor });
  if (told.owner !== undefined) t.equal(owner, told.owner, 'whose rule it is');
  if (noBpf !== false) return;
  t.ok(actor !== undefined && told.how.includes(actor.how), `known by ${told.how.join(' or ')}`, { actor });
  if (told.argv !== undefined) t.match(actor?.argv?.join(' ').replace(/^\S*\//, '') ?? '', told.argv, 'its command line');
  if (told.by !== undefined)
    t.ok(
      parents.some(({ comm }) => told.by?.test(comm)),
      `started by ${told.by}`,
      { parents },
    );
}

/** An endpoint goes: kube-proxy takes it out of its Service. */
async function proxySyncs(t: Test, { cluster, live }: Lab): Promise<void> {
  const from = live.changes.length;
  const started = performance.now();
  await acts.at(-1)?.break(cluster);
  const found = await live.wait(from, ({ change }) => change.node === 'node1' && change.owner === 'kube-proxy', patienceMs);
  t.ok(found !== undefined, 'the change came');
  if (found === undefined) return;
  t.comment(`came ${Math.round(found.at - started)} ms after the objects had changed: ${actorText(found.change.actor)} (${found.change.actor?.how})`);
  t.match(found.change.actor?.comm ?? '', /^ip6?tables-rest/, 'the process');
  if (noBpf === false) t.ok((found.change.actor?.parents ?? []).map(({ pid }) => pid).includes(cluster.proxies.node1.pid), 'started by kube-proxy');
}
