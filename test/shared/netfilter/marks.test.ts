// Rules that mark again what is marked are passed over; all others are judged.
import t from 'tap';
import { marksAgain } from '../../../shared/netfilter/marks.ts';
import type { State } from '../../../shared/netfilter/packet.ts';
import type { Table } from '../../../shared/netfilter/ruleset.ts';
import { nodeWith, save } from '../../support/node.ts';

/** Whether the first rule of FORWARD does nothing to a packet of a mark. */
const passedOver = (mark: number, ...lines: readonly string[]): boolean => passedOverBy({ mark, assumptions: [] }, lines);

function passedOverBy(state: Pick<State, 'mark' | 'assumptions'>, lines: readonly string[]): boolean {
  const [table] = nodeWith({ 'iptables-save.txt': save('mangle', lines) }).tables as [Table];
  const rule = table.chains.get('FORWARD')?.rule(0);
  return rule !== undefined && marksAgain(table, rule, state as State);
}

const endpoint = '-A FORWARD -s 10.244.1.11/32';

t.test('a mark that the packet has', (t) => {
  const masq = '-A MASQ -j MARK --set-xmark 0x4000/0x4000';
  t.ok(passedOver(0x4000, `${endpoint} -j MASQ`, masq));
  t.ok(passedOver(0x4001, `${endpoint} -j MASQ`, masq), 'with others');
  t.ok(passedOver(0x4000, `${endpoint} -j MARK --set-xmark 0x4000/0x4000`), 'set by the rule itself');
  t.ok(passedOver(0x4000, `${endpoint} -p tcp -m tcp --dport 80 -i eth0 -j MASQ`, masq), 'whatever else the rule looks at');
  t.ok(passedOver(0x4000, `${endpoint} -j MASQ`, '-A MASQ -p tcp -j MARK --set-xmark 0x4000/0x4000', masq), 'by several rules');
  t.end();
});

t.test('a rule that does something', (t) => {
  const masq = '-A MASQ -j MARK --set-xmark 0x4000/0x4000';
  t.notOk(passedOver(0, `${endpoint} -j MASQ`, masq), 'a mark that the packet has not');
  t.notOk(passedOver(0x8000, `${endpoint} -j MASQ`, masq), 'another mark');
  t.notOk(passedOver(0x4000, `${endpoint} -j MASQ`, masq, '-A MASQ -j MARK --set-xmark 0x1/0x1'), 'a second mark');
  t.notOk(passedOver(0x4000, `${endpoint} -j MASQ`, masq, '-A MASQ -j ACCEPT'), 'a verdict behind the mark');
  t.notOk(passedOver(0x4000, `${endpoint} -j MASQ`, masq, '-A MASQ -p udp -j DROP'), 'a verdict for others');
  t.notOk(passedOver(0x4000, `${endpoint} -j MASQ`, '-A MASQ -j ELSEWHERE', '-A ELSEWHERE -j DROP'), 'a jump');
  t.notOk(passedOver(0x4000, `${endpoint} -j MASQ`, '-A MASQ -m limit --limit 5/min -j MARK --set-xmark 0x4000/0x4000'), 'a mark by chance');
  t.notOk(passedOver(0x4000, `${endpoint} -m limit --limit 5/min -j MASQ`, masq), 'a jump by chance');
  t.notOk(passedOver(0x4000, `${endpoint} -m recent --name seen --rcheck --rsource -j MASQ`, masq), 'a jump for clients that were seen');
  t.notOk(passedOver(0x4000, `${endpoint} -g MASQ`, masq), 'a goto');
  const doubt = { decider: { by: 'rule', text: '-m limit' }, matched: true } as const;
  t.notOk(passedOverBy({ mark: 0x4000, assumptions: [doubt] }, [`${endpoint} -j MASQ`, masq]), 'of a packet that only some rule gave the mark to');
  t.notOk(passedOver(0x4000, `${endpoint} -j NOWHERE`), 'a target that is not known');
  t.notOk(passedOver(0x4000, '-A FORWARD -j MASQ', masq), 'for all sources, which need not be told apart anyway');
  t.notOk(passedOver(0x4000, `${endpoint} -j DROP`));
  t.notOk(passedOver(0x4000, endpoint), 'without a target');
  t.end();
});
