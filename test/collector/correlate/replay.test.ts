// A day of thousands of changes is played with incidents in it: of each the change that caused it must come first, whatever else went on at the time.
import t from 'tap';
import { type Correlated, correlate } from '../../../collector/correlate/index.ts';
import type { Change } from '../../../shared/model/change.ts';
import { dayEnd, dayOf, hour, minute, nodes } from './day.ts';

const seeds = [1, 2, 3, 4, 5, 6, 7, 8];
const by = (comm: string) => ({ pid: 4711, comm, how: 'nft-generation' }) as const;

interface Incident {
  readonly name: string;
  /** When it is noticed, after the start of the day. */
  readonly atMs: number;
  readonly causes: (at: number) => readonly Change[];
  readonly service?: string;
  readonly mentions?: readonly string[];
  readonly window: 'usual' | 'extended' | 'gradual';
  readonly reason: RegExp;
}

const drop = (port: number): string => `-A FORWARD -p tcp -m tcp --dport ${port} -j DROP`;
const onNode = (at: number, more: Partial<Change>): Change => ({
  at,
  node: 'node2',
  kind: 'rule',
  subject: 'ip filter FORWARD',
  before: null,
  after: null,
  owner: 'admin',
  actor: by('iptables'),
  ...more,
});

const incidents: readonly Incident[] = [
  {
    name: 'an administrator drops a port, six minutes before anybody notices',
    atMs: 5 * hour,
    causes: (at) => [onNode(at - 6 * minute, { after: drop(8080) })],
    service: 'shop/web',
    mentions: ['30080', '8080'],
    window: 'usual',
    reason: /it drops or rejects more than before/,
  },
  {
    name: "the Service's nodePort is changed, a quarter of an hour before",
    atMs: 11 * hour,
    causes: (at) => [
      {
        at: at - 15 * minute,
        node: '',
        kind: 'service',
        subject: 'Service shop/web',
        before: 'ports: http 80/tcp → 8080 nodePort 30080',
        after: 'ports: http 80/tcp → 8080 nodePort 30090',
      },
    ],
    service: 'shop/web',
    mentions: ['30080'],
    window: 'usual',
    reason: /it changes ports/,
  },
  {
    name: 'an address goes, a minute before',
    atMs: 17 * hour,
    causes: (at) => [onNode(at - minute, { kind: 'address', subject: 'interface eth0', before: '192.0.2.12/24', after: null, actor: by('ip') })],
    mentions: ['30080', '192.0.2.12'],
    window: 'usual',
    reason: /it takes away 192\.0\.2\.12\/24/,
  },
  {
    name: 'a rule of 25 minutes ago',
    atMs: 9 * hour,
    causes: (at) => [onNode(at - 25 * minute, { after: drop(30080) })],
    mentions: ['30080'],
    window: 'extended',
    reason: /25 min before, window 30 min/,
  },
  {
    name: 'a setting of 100 minutes ago',
    atMs: 15 * hour,
    causes: (at) => [onNode(at - 100 * minute, { kind: 'policy', subject: 'ip filter INPUT', before: 'ACCEPT', after: 'DROP 30080', actor: by('ansible') })],
    mentions: ['30080'],
    window: 'extended',
    reason: /100 min before, window 120 min/,
  },
  {
    name: 'rules become tighter over seven hours',
    atMs: 20 * hour,
    causes: (at) =>
      [9, 7, 5, 3].map((hours, index) =>
        onNode(at - hours * hour, { before: index === 0 ? null : drop(8000 + index), after: [drop(8000 + index), drop(8001 + index)].join('\n') }),
      ),
    window: 'gradual',
    reason: /the firewall became tighter in 4 steps within 6 h/,
  },
  {
    name: 'one node is set otherwise than the others',
    atMs: 19 * hour,
    causes: (at) => [onNode(at - 6 * hour, { kind: 'sysctl', subject: 'net.ipv4.vs.conntrack', before: '1', after: '0', actor: by('sysctl') })],
    window: 'gradual',
    reason: /net\.ipv4\.vs\.conntrack is 0 here since 6 h before, and not on 2 other nodes/,
  },
];

for (const { name, atMs, causes, window, reason, service, mentions = [] } of incidents) {
  t.test(name, (t) => {
    for (const seed of seeds) {
      const at = dayEnd - 24 * hour + atMs;
      const cause = causes(at);
      const changes = [...dayOf({ seed, rollouts: 1_500 }), ...cause].sort((a, b) => a.at - b.at);
      t.ok(changes.length > 9_000, `${changes.length} changes`);
      const { candidates } = correlate(changes, { at, node: 'node2', mentions, ...(service === undefined ? {} : { service }) });
      const [first] = candidates;
      t.equal(first?.change, cause.at(-1), `seed ${seed}: ${text({ candidates, notFound: [] })}`);
      t.equal(first?.window, window);
      t.match(first?.reasons.join(', '), reason);
    }
    t.end();
  });
}

t.test('kube-proxy that follows later and later', (t) => {
  for (const seed of seeds) {
    const changes = dayOf({ seed, rollouts: 300, syncMs: (hours) => 200 * 2 ** (hours / 4) });
    const { candidates } = correlate(changes, { at: dayEnd, node: 'node2', mentions: ['30080'] });
    t.match(candidates[0], { window: 'gradual', reasons: [/kube-proxy follows changes of endpoints later and later: 0\.\d s at first, \d+\.\d s at last/] });
  }
  t.end();
});

t.test('on a quiet day nothing stands out, and that is said', (t) => {
  for (const seed of seeds) {
    const changes = dayOf({ seed, rollouts: 1_500 });
    for (const [index, node] of nodes.entries()) {
      const found = correlate(changes, { at: dayEnd - 6 * hour + index * 7 * minute, node, service: 'shop/web', mentions: ['30080'] });
      t.ok(
        found.candidates.every(({ score }) => score < 0.5),
        text(found),
      );
      t.match(found.notFound.at(-1), /^nothing that stands out/);
    }
  }
  t.end();
});

function text({ candidates }: Correlated): string {
  return candidates
    .slice(0, 3)
    .map(({ score, change, reasons }) => `${score} ${change.subject}: ${reasons.join(', ')}`)
    .join('\n');
}
