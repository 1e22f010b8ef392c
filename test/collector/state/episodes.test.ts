// Findings over time: the grace period, news, ends, and what a restart remembers.
import t from 'tap';
import { type Episodes, newEpisodes, onsetsBefore, onsetsOf, stepEpisodes } from '../../../collector/state/episodes.ts';
import type { Finding } from '../../../shared/model/finding.ts';

const finding = (id: string, given: Partial<Finding> = {}): Finding => ({
  id,
  cause: 'C08',
  title: '',
  severity: 'error',
  confidence: 'certain',
  node: 'node1',
  service: '',
  port: 30080,
  protocol: 'tcp',
  family: 4,
  symptom: 'timeout',
  summary: '',
  evidence: [],
  remedy: [],
  ...given,
});

const graceMs = 100;
const step = (episodes: Episodes, now: number, ...found: Finding[]) => stepEpisodes(episodes, { found, now, graceMs });
const kinds = ({ events }: ReturnType<typeof step>): string[] => events.map(({ kind, finding: { id } }) => `${kind} ${id}`);

t.test('a finding opens when it is as old as the grace period, and not before', async (t) => {
  const first = step(newEpisodes([]), 1_000, finding('a'));
  t.match(first, { open: [], pending: [{ id: 'a', since: 1_000 }], events: [], episodes: { dueAt: 1_100 } });
  const early = step(first.episodes, 1_099, finding('a'));
  t.strictSame(kinds(early), []);
  const due = step(early.episodes, 1_100, finding('a'));
  t.strictSame(kinds(due), ['finding-opened a']);
  t.match(due, { open: [{ since: 1_000 }], pending: [], episodes: { dueAt: undefined } });
});

t.test('what heals within the grace period never was', async (t) => {
  const first = step(newEpisodes([]), 1_000, finding('a'));
  const healed = step(first.episodes, 1_050);
  t.strictSame(kinds(healed), []);
  t.match(step(healed.episodes, 1_110, finding('a')).pending, [{ since: 1_110 }], 'and counts anew when it comes back');
});

t.test('a fault that began before it was seen opens at once', async (t) => {
  t.strictSame(kinds(step(newEpisodes([]), 1_000, finding('a', { since: 900 }))), ['finding-opened a']);
  t.match(
    step(newEpisodes([]), 1_000, finding('a', { since: 5_000 })).pending,
    [{ id: 'a' }],
    'a clock ahead of ours does not put it off for longer than the grace period',
  );
});

t.test('news are told, rising counters are not, and the end is', async (t) => {
  const decider = (packets: string) => ({ evidence: [{ witness: 'rules' as const, text: '', decider: { by: 'rule' as const, text: '-j DROP', packets } }] });
  const open = step(newEpisodes([]), 1_000, finding('a', { since: 0, ...decider('1') }));
  const counted = step(open.episodes, 1_001, finding('a', { since: 0, ...decider('2') }));
  t.strictSame(kinds(counted), []);
  t.equal(counted.open[0]?.evidence[0]?.decider?.packets, '2', 'yet shown');
  const worse = step(counted.episodes, 1_002, finding('a', { since: 0, summary: 'worse' }));
  t.strictSame(kinds(worse), ['finding-changed a']);
  t.strictSame(kinds(step(worse.episodes, 1_003)), ['finding-closed a']);
});

t.test('a finding that was open before a restart is neither reopened nor dated anew', async (t) => {
  const before = newEpisodes([{ finding: finding('a', { since: 10 }), openedAt: 10, closedAt: null }]);
  const again = step(before, 1_000, finding('a'));
  t.strictSame(
    kinds(again).filter((kind) => kind.startsWith('finding-opened')),
    [],
  );
  t.match(again.open, [{ since: 10 }]);
});

t.test('the onset of a drift lasts while it does, is forgotten when it ends, and outlives a restart', (t) => {
  const [web, api] = [{ key: 'nodeport/tcp/4/30080' }, { key: 'nodeport/tcp/4/30081' }];
  const first = onsetsOf(new Map(), [web], 1_000);
  const second = onsetsOf(first, [web, api], 2_000);
  t.same(
    [...second],
    [
      ['nodeport/tcp/4/30080', 1_000],
      ['nodeport/tcp/4/30081', 2_000],
    ],
  );
  t.same([...onsetsOf(onsetsOf(second, [api], 3_000), [web, api], 4_000).values()], [4_000, 2_000]);
  t.same([...onsetsBefore([finding('a', { since: 500 }), finding('b', { port: 0, protocol: '', since: 500 })])], [['nodeport/tcp/4/30080', 500]]);
  t.end();
});
