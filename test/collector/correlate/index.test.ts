import t from 'tap';
import { changeThatMade, changeThatRemoved, classOf, correlate } from '../../../collector/correlate/index.ts';
import type { Change } from '../../../shared/model/change.ts';
import { rule } from '../compare/facts.ts';

const minute = 60_000;
const onset = 200 * minute;
const change = (minutesBefore: number, more: Partial<Change> = {}): Change => ({
  at: onset - minutesBefore * minute,
  node: 'node1',
  kind: 'rule',
  subject: 'ip filter FORWARD',
  before: null,
  after: '-A FORWARD -j DROP',
  owner: 'admin',
  ...more,
});
const best = (changes: readonly Change[], more = {}) => correlate(changes, { at: onset, node: 'node1', ...more }).candidates[0];

t.test('each class has its window', (t) => {
  const classes: readonly (readonly [Partial<Change>, string, number])[] = [
    [{}, 'firewall', 10],
    [{ kind: 'process', subject: 'process firewalld' }, 'firewall', 10],
    [{ kind: 'process', subject: 'process kube-proxy' }, 'kube-proxy', 5],
    [{ owner: 'kube-proxy' }, 'kube-proxy', 5],
    [{ kind: 'address', subject: 'interface eth0' }, 'interface', 10],
    [{ kind: 'service', node: '', subject: 'Service shop/web' }, 'service', 30],
    [{ kind: 'process', subject: 'process flanneld' }, 'cni', 60],
    [{ kind: 'rule', subject: 'security group sg-1' }, 'security group', 10],
  ];
  for (const [more, name, minutes] of classes) {
    t.equal(classOf(change(0, more)), name);
    t.equal(best([change(minutes, more)])?.window, 'usual', `${name} at ${minutes} min`);
    // What kube-proxy writes all day is looked at in its own window alone.
    t.equal(best([change(minutes + 0.1, more)])?.window, more.owner === 'kube-proxy' ? undefined : 'extended', `${name} just outside`);
  }
  t.equal(classOf(change(0, { kind: 'listener' })), undefined);
  t.end();
});

t.test('wider windows are looked at one after another, until something stands out', (t) => {
  const found = (...changes: readonly Change[]) => correlate(changes, { at: onset, node: 'node1', mentions: ['30080'] });
  const named = (minutes: number): Change => change(minutes, { after: '-A FORWARD -p tcp --dport 30080 -j DROP' });
  const near = change(5);
  const far = named(20);
  t.same(
    found(far, near).candidates.map((each) => each.change),
    [near],
    'what stands out in its own window ends the search',
  );
  const routine = change(3, { owner: 'kube-proxy', subject: 'ip nat KUBE-SVC-X', before: null, after: '-A KUBE-SVC-X -j KUBE-SEP-Y' });
  t.match(found(far, routine).candidates, [
    { change: far, window: 'extended', reasons: ['it names 30080', 'it drops or rejects more than before', /20 min before, window 30 min/] },
    { change: routine, window: 'usual' },
  ]);
  t.match(found(named(100)).candidates, [{ window: 'extended', reasons: [/./, /./, /window 120 min/] }]);
  t.same(found(named(121)).candidates, []);
  t.ok((found(named(20)).candidates[0]?.score ?? 0) > (found(named(100)).candidates[0]?.score ?? 1), 'the wider, the less likely');
  t.end();
});

t.test('changes after the onset and of other nodes do not count; nearer ones and those that name the Service weigh more', (t) => {
  t.same(correlate([change(-1), change(1, { node: 'node2' })], { at: onset, node: 'node1' }).candidates, []);
  t.equal(best([change(8), change(1)])?.change.at, onset - minute);
  const named = change(8, { after: '-A KUBE-NODEPORTS --comment "shop/web:http"' });
  t.equal(best([change(7, { after: '-A KUBE-NODEPORTS' }), named], { service: 'shop/web' })?.change, named);
  t.match(best([named], { service: 'shop/web' })?.reasons, ['it names shop/web', /a firewall change 8 min before, window 10 min/]);
  t.end();
});

t.test('a clock that is wrong is put right', (t) => {
  const late = change(-30);
  t.same(correlate([late], { at: onset, node: 'node1' }).candidates, []);
  const clockOffsetsMs = new Map([['node1', 31 * minute]]);
  t.match(correlate([late], { at: onset, node: 'node1', clockOffsetsMs }).candidates, [{ change: late, reasons: [/./, /60 s before, window 10 min/] }]);
  const object = change(-30, { node: '', kind: 'service', subject: 'Service shop/web' });
  t.same(correlate([object], { at: onset, node: 'node1', clockOffsetsMs }).candidates, [], 'the clock of the collector is right');
  t.end();
});

t.test('what was looked for and not found is said, and where the ledger is not whole', (t) => {
  const { notFound } = correlate([change(3, { kind: 'address', subject: 'interface eth0', before: '10.0.0.1/24', after: null })], { at: onset, node: 'node1' });
  t.same(notFound, ['no change of firewall (10 min), kube-proxy (5 min), service (30 min), security group (10 min), cni (60 min), network policy (30 min)']);
  const gap = change(40, { kind: 'gap', subject: 'ledger of node1', after: 'the agent was down' });
  t.match(correlate([gap], { at: onset, node: 'node1' }).notFound, [
    'the ledger is not whole 40 min before (the agent was down)',
    /^no change of firewall/,
    'nothing that stands out in 10, 30, 120 min or as a trend of 24 h',
  ]);
  t.end();
});

t.test('causation: the latest change that brought the deciding line into its chain', (t) => {
  const decider = rule('FORWARD', '-p tcp --dport 8080 -j DROP');
  const made = change(3, { after: `-A FORWARD -j ACCEPT\n${decider.text}` });
  const elsewhere = change(2, { subject: 'ip filter INPUT', after: decider.text });
  const already = change(1, { before: decider.text, after: `${decider.text}\n-A FORWARD -j LOG` });
  t.equal(changeThatMade([made, elsewhere, already], 'node1', decider), made);
  t.equal(changeThatMade([made], 'node2', decider), undefined);
  const policy = change(1, { kind: 'policy', before: 'ACCEPT', after: 'DROP' });
  t.equal(changeThatMade([made, policy], 'node1', { by: 'policy', family: 'ip', table: 'filter', chain: 'FORWARD', text: 'policy DROP' }), policy);
  const sysctl = change(1, { kind: 'sysctl', subject: 'net.ipv4.ip_forward', before: '1', after: '0' });
  t.equal(changeThatMade([sysctl], 'node1', { by: 'sysctl', text: 'net.ipv4.ip_forward = 0' }), sysctl);
  t.end();
});

t.test('causation: the latest change that took a line away', (t) => {
  const line = '-A KUBE-NODEPORTS -p tcp --dport 30080 -j KUBE-EXT-X';
  const removed = change(3, { subject: 'ip nat KUBE-NODEPORTS', before: line, after: null });
  const rewritten = change(2, { subject: 'ip nat KUBE-NODEPORTS', before: line, after: line.replace('EXT-X', 'EXT-Y') });
  t.equal(changeThatRemoved([removed, rewritten], 'node1', ['KUBE-NODEPORTS', '30080']), removed);
  t.equal(changeThatRemoved([removed], 'node1', ['KUBE-NODEPORTS', '3008']), undefined, 'a number is a whole word');
  t.equal(changeThatRemoved([removed], 'node1', []), undefined);
  t.end();
});
