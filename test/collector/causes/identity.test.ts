// E01: what the ledger tells of agents that are not who they say becomes a finding of the node, for a day.
import t from 'tap';
import { diagnoseNode } from '../../../collector/causes/index.ts';
import { noObjects } from '../../../collector/kubernetes/objects.ts';
import type { Change } from '../../../shared/model/change.ts';

const now = 1_700_000_000_000;
const act = (given: Partial<Change> = {}): Change => ({
  at: now - 60_000,
  node: 'node1',
  kind: 'agent',
  subject: 'identity of node1',
  before: null,
  after: 'the agent of node1 (192.0.2.7) spoke for node2',
  ...given,
});
const found = (changes: readonly Change[]) => diagnoseNode({ node: 'node1', facts: new Map(), expectations: [], drifts: [], objects: noObjects, changes, now });

t.test('one that spoke for another node', async (t) => {
  t.match(found([act()]), [
    {
      cause: 'E01',
      node: 'node1',
      port: 0,
      severity: 'warning',
      summary: /192\.0\.2\.7.* spoke for node2/,
      trigger: { kind: 'agent' },
      remedy: [/get changes/, /token revoke --node node1/],
    },
  ]);
  const both = found([act(), act({ at: now - 1_000, after: 'two agents speak for node1 at once' })]);
  t.equal(both.length, 1, 'several acts are one finding');
  t.match(both[0], { summary: /two agents/, evidence: [{ text: /spoke for node2/ }, { text: /two agents/ }] });
});

t.test('what is no such thing', async (t) => {
  t.strictSame(found([]), []);
  t.strictSame(found([act({ at: now - 86_400_001 })]), [], 'a day later it is history');
  t.strictSame(found([act({ node: 'node2', subject: 'identity of node2' })]), []);
  t.strictSame(found([act({ kind: 'rule' })]), []);
});
