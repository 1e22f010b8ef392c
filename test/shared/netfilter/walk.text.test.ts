// The walk as a text that a person can follow: which hook, table, chain and rule, what it did, and which one decides.
import { join } from 'node:path';
import t from 'tap';
import type { Outcome } from '../../../shared/model/outcome.ts';
import { outcomeText, walkText, wayCount } from '../../../shared/netfilter/walk.text.ts';
import type { Walk } from '../../../shared/netfilter/walk.ts';
import { type DrawnCase, drawnCases, serviceNode, traced } from '../../support/drawn.ts';
import { golden } from '../../support/golden.ts';

const cases = drawnCases();
const walkOf = (name: string): Walk => (cases.find((each) => each.name === name) as DrawnCase).traced.walked;

t.test('captures', async (t) => {
  for (const { name, traced } of cases) golden(t, join(import.meta.dirname, 'drawings', `${name}.txt`), walkText(traced.walked));
});

t.test('the rule that decides stands at the top and is marked on the way', async (t) => {
  for (const name of ['forward-drop', 'nft-reject', 'raw-drop']) {
    const text = walkText(walkOf(name));
    t.match(text.split('\n')[1], /^decided by \S+ \S+ \S+ rule \d+: /);
    t.equal(text.match(/◄ decides/g)?.length, 1);
    t.match(text, /^ {2}► \S+ \d+ .*◄ decides/m);
  }
});

t.test('one way alone is told in full', async (t) => {
  const walked = walkOf('ipvs');
  t.equal(wayCount(walked), 3);
  t.match(walkText(walked), /^ {2}as way 2, up to POSTROUTING 1$/m);
  const alone = walkText(walked, 3);
  t.match(alone, /^way 3 of 3: /);
  t.notMatch(alone, /as way/);
  t.match(alone, /^ {2}PREROUTING +ip mangle PREROUTING/m);
});

t.test('a terminal is told nothing by a comment', async (t) => {
  const node = serviceNode({ endpoints: 1, filter: ['-A FORWARD -m comment --comment "\u001b]0;owned\u0007 \u202e" -j DROP'] });
  const text = walkText(traced(node, 'src=198.51.100.7,dport=30080').walked);
  t.ok(text.includes('\\u{1b}]0;owned\\u{7} \\u{202e}'));
  t.notMatch(text.replaceAll('\n', ''), /[\p{Cc}\p{Cf}]/u);
});

t.test('an outcome in a line', async (t) => {
  const base: Outcome = { verdict: 'forward', dnat: '10.0.0.1:80', masquerade: true, weight: 0.5 };
  const drop = { by: 'rule', family: 'ip', table: 'filter', chain: 'INPUT', rule: 3, text: '-A INPUT -j DROP' } as const;
  t.equal(outcomeText(base), 'forward to 10.0.0.1:80, source address replaced, 50 % of new connections');
  t.equal(
    outcomeText({ ...base, weight: 1, masquerade: false, reply: { verdict: 'drop', decidedBy: drop } }),
    'forward to 10.0.0.1:80, but the answer is lost (drop: ip filter INPUT rule 3: -j DROP)',
  );
  t.equal(
    outcomeText({ ...base, verdict: 'drop', weight: 1, masquerade: false, unless: [drop] }),
    'drop, translated to 10.0.0.1:80, depends on what cannot be judged: ip filter INPUT rule 3: -j DROP',
  );
  t.equal(outcomeText({ verdict: 'reject', rejectWith: 'tcp-reset', dnat: null, masquerade: false, weight: 1 }), 'reject with tcp-reset');
});
