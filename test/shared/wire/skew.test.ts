// Versions apart: a collector takes agents that are up to two minor versions older than itself, and such agents understand it (docs/upgrade.md). Each minor version
// that was released has left a recording of what an agent and a collector of it said; those of the last three must be understood now.
import { globSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import WebSocket from 'ws';
import { version } from '../../../agent/version.ts';
import { decodeFromAgent, decodeFromCollector } from '../../../shared/wire/codec.ts';
import { subprotocol } from '../../../shared/wire/messages.ts';
import { getJson, startCollector } from '../../collector/ingest/cluster.ts';

interface Line {
  readonly from: 'agent' | 'collector';
  readonly frame: { readonly type: string; readonly [name: string]: unknown };
}

const recordings = globSync('recorded/*.ndjson', { cwd: import.meta.dirname })
  .map((file) => ({
    minor: basename(file, '.ndjson'),
    lines: readFileSync(`${import.meta.dirname}/${file}`, 'utf8')
      .trim()
      .split('\n'),
  }))
  .map(({ minor, lines }) => ({ minor, lines: lines.map((line) => JSON.parse(line) as Line) }))
  .sort((a, b) => Number(b.minor.split('.')[1]) - Number(a.minor.split('.')[1]))
  .slice(0, 3);
const decode = ({ from, frame }: Line): { readonly kind: string } => (from === 'agent' ? decodeFromAgent : decodeFromCollector)(JSON.stringify(frame));

t.test('this minor version has a recording', async (t) => {
  t.equal(recordings[0]?.minor, version.replace(/\.\d+$/, ''), 'node test/labs/record-wire.ts makes it');
  t.same(
    [...new Set(recordings[0]?.lines.map(({ frame }) => frame.type))].sort(),
    ['ack', 'changes', 'hello', 'state', 'want', 'welcome'],
    'with every kind of frame of a session',
  );
});

for (const { minor, lines } of recordings) {
  t.test(`what ${minor} says is understood`, async (t) => {
    for (const line of lines) t.equal(decode(line).kind, 'message', `${line.from}: ${line.frame.type}`);
  });

  t.test(`fields that ${minor} does not know do no harm`, async (t) => {
    const anything = fc.record({
      line: fc.constantFrom(...lines),
      name: fc.string({ minLength: 1, maxLength: 20 }).map((name) => `later-${name}`),
      value: fc.jsonValue(),
    });
    fc.assert(fc.property(anything, ({ line, name, value }) => decode({ ...line, frame: { ...line.frame, [name]: value } }).kind === 'message'));
    t.pass('frames of either side with a further field are taken');
  });

  t.test(`an agent of ${minor} is served by this collector`, async (t) => {
    const collector = await startCollector(t.testdir());
    t.teardown(() => collector.close());
    const socket = new WebSocket(`${collector.address.replace('http', 'ws')}/agent`, subprotocol, { perMessageDeflate: false });
    const heard: Line['frame'][] = [];
    const ended = new Promise<number>((resolve) => socket.once('close', resolve));
    socket.on('message', (data) => heard.push(JSON.parse(data.toString())));
    await new Promise((resolve) => socket.once('open', resolve));
    const said = lines.filter(({ from }) => from === 'agent').map(({ frame }) => frame);
    for (const frame of said) socket.send(JSON.stringify(frame));
    const last = Math.max(...said.filter(({ type }) => type === 'changes').flatMap((frame) => (frame['changes'] as { seq: number }[]).map(({ seq }) => seq)));
    const isAcknowledged = (): boolean => heard.some((frame) => frame.type === 'ack' && (frame['changes'] as number) >= last);
    for (const deadline = Date.now() + 5_000; !isAcknowledged() && Date.now() < deadline; ) await new Promise((resolve) => setTimeout(resolve, 25));
    t.ok(isAcknowledged(), 'its changes are stored', { heard });
    t.notOk(
      heard.some(({ type }) => type === 'error'),
      'nothing is refused',
    );
    for (const frame of heard) t.equal(decodeFromCollector(JSON.stringify(frame)).kind, 'message');
    const { items } = await getJson(collector.address, 'changes?limit=100');
    t.ok(
      items.some(({ node, subject }: { node: string; subject: string }) => node === 'node1' && /FORWARD/.test(subject)),
      'and are in the ledger',
    );
    const nodes = (await getJson(collector.address, 'nodes')).items;
    t.match(
      nodes.find(({ name }: { name: string }) => name === 'node1'),
      { agent: 'connected' },
    );
    socket.close();
    await ended;
  });
}
