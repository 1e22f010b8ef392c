// What the walk makes of single rules: each case is a sentence of the model's README, with rules that tell it apart from its neighbours.
import t from 'tap';
import type { Outcome } from '../../../shared/model/outcome.ts';
import { verdictOf } from '../../../shared/netfilter/outcomes.ts';
import type { Walk } from '../../../shared/netfilter/walk.ts';
import { nodeWith, save, send } from '../../support/node.ts';

const client = '203.0.113.5';
const one = (walked: Walk): Outcome => walked.outcomes[0] as Outcome;
const dnat = '-A PREROUTING -p tcp -m tcp --dport 30080 -j DNAT --to-destination 10.244.1.11:8080';

t.test('after DNAT every later match sees the translated port', async (t) => {
  const dropped = nodeWith({ 'iptables-save.txt': save('nat', [dnat]) + save('filter', ['-A FORWARD -p tcp -m tcp --dport 8080 -j DROP']) });
  t.match(one(send(dropped, { from: client, to: '10.9.0.1', port: 30080 })), {
    verdict: 'drop',
    dnat: '10.244.1.11:8080',
    decidedBy: { chain: 'FORWARD', rule: 1 },
  });
  const harmless = nodeWith({ 'iptables-save.txt': save('nat', [dnat]) + save('filter', ['-A INPUT -p tcp -m tcp --dport 30080 -j DROP']) });
  t.match(one(send(harmless, { from: client, to: '10.9.0.1', port: 30080 })), { verdict: 'forward', dnat: '10.244.1.11:8080' });
});

t.test('one walk answers for all sources and names the rule for each part', async (t) => {
  const node = nodeWith({ 'iptables-save.txt': save('filter', ['-A INPUT -s 5.0.0.0/8 -j DROP', '-A INPUT -s 6.0.0.0/8 -j REJECT']) });
  const { outcomes } = send(node, { to: '10.9.0.1', port: 2222 });
  t.same(
    outcomes.map(({ verdict, sources }) => ({ verdict, sources })).sort((a, b) => (a.verdict < b.verdict ? -1 : 1)),
    [
      { verdict: 'drop', sources: ['5.0.0.0/8'] },
      { verdict: 'local', sources: ['1.0.0.0/8', '2.0.0.0/7', '4.0.0.0/8', '7.0.0.0/8', '8.0.0.0/7'] },
      { verdict: 'reject', sources: ['6.0.0.0/8'] },
    ],
  );
});

t.test('statistic rules are branches with weights', async (t) => {
  const lines = [
    '-A PREROUTING -p tcp -m statistic --mode random --probability 0.25 -j DNAT --to-destination 10.244.1.11:80',
    '-A PREROUTING -p tcp -j DNAT --to-destination 10.244.2.11:80',
  ];
  const { outcomes } = send(nodeWith({ 'iptables-save.txt': save('nat', lines) }), { from: client, to: '10.9.0.1', port: 1 });
  t.same(
    outcomes.map(({ dnat, weight }) => [dnat, weight]),
    [
      ['10.244.2.11:80', 0.75],
      ['10.244.1.11:80', 0.25],
    ],
  );
});

t.test('three values', async (t) => {
  const limited = '-A INPUT -m limit --limit 5/min -j';
  const ask = (rules: string, from = client): readonly Outcome[] =>
    send(nodeWith({ 'iptables-save.txt': rules }), { from, to: '10.9.0.1', port: 2222 }).outcomes;
  t.test('a rule that may match and decides makes the answer unknown, and is named', async (t) => {
    const { verdict, unknown } = verdictOf(ask(save('filter', [`${limited} DROP`])));
    t.equal(verdict, 'unknown');
    t.match(unknown, [{ chain: 'INPUT', rule: 1 }]);
  });
  t.test('one that makes no difference is forgotten', async (t) => {
    for (const lines of [[`${limited} LOG`], [`${limited} ACCEPT`], [`${limited} DROP`, '-A INPUT -j DROP'], [`${limited} EMPTY`, 'EMPTY -']]) {
      t.not(verdictOf(ask(save('filter', lines))).verdict, 'unknown', lines.join('; '));
    }
  });
  t.test('an unknown match concerns its own rule only', async (t) => {
    const rules = save('filter', ['-A INPUT -s 5.0.0.0/8 -m whatever --it 1 -j DROP']);
    t.equal(verdictOf(ask(rules)).verdict, 'local');
    t.equal(verdictOf(ask(rules, '5.1.1.1')).verdict, 'unknown');
  });
  t.test('an unknown target may do anything', async (t) => {
    t.equal(verdictOf(ask(save('filter', ['-A INPUT -j WHATEVER', '-A INPUT -j DROP']))).verdict, 'unknown');
  });
  t.test('an effect that cannot be followed clouds all that comes after', async (t) => {
    t.equal(verdictOf(ask(save('mangle', ['-A PREROUTING -j HMARK --hmark-tuple src --hmark-mod 2 --hmark-rnd 1']))).verdict, 'unknown');
  });
  t.test('a truncated dump makes every answer depend on what is missing', async (t) => {
    t.match(ask('*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -s 5.0.0.0/8 -j DROP\n')[0]?.unless, [{ text: /truncated/ }]);
  });
});

t.test('session affinity: a new client is a certain no, a remembered one is shown with weight 0', async (t) => {
  const lines = [
    '-A PREROUTING -p tcp -m recent --rcheck --seconds 10 --name A --rsource -j DNAT --to-destination 10.244.1.99:80',
    '-A PREROUTING -p tcp -j DNAT --to-destination 10.244.1.11:80',
  ];
  const { outcomes } = send(nodeWith({ 'iptables-save.txt': save('nat', lines) }), { from: client, to: '10.9.0.1', port: 1 });
  t.same(
    outcomes.map(({ dnat, weight, unless }) => [dnat, weight, unless?.length ?? 0]),
    [
      ['10.244.1.11:80', 1, 0],
      ['10.244.1.99:80', 0, 1],
    ],
  );
});

t.test('goto returns to the caller of the chain that it leaves', async (t) => {
  const rules = (how: string): string => save('filter', ['-A INPUT -j A', '-A INPUT -j DROP', `-A A ${how} B`, '-A A -j ACCEPT', '-A B -s 9.9.9.9 -j RETURN']);
  t.equal(
    one(send(nodeWith({ 'iptables-save.txt': rules('-j') }), { from: client, to: '10.9.0.1', port: 2222 })).verdict,
    'local',
    'jump: back into A, which accepts',
  );
  t.equal(
    one(send(nodeWith({ 'iptables-save.txt': rules('-g') }), { from: client, to: '10.9.0.1', port: 2222 })).verdict,
    'drop',
    'goto: back into INPUT, which drops',
  );
});

t.test('an accept ends one base chain, a drop of another backend still counts', async (t) => {
  const node = nodeWith({
    'iptables-save.txt': save('filter', ['-A INPUT -j ACCEPT']),
    'iptables-legacy-save.txt': save('filter', ['-A INPUT -p tcp -m tcp --dport 2222 -j DROP']),
  });
  t.match(one(send(node, { from: client, to: '10.9.0.1', port: 2222 })), { verdict: 'drop', decidedBy: { backend: 'legacy' } });
});

t.test('chains of one priority: where their order decides, the answer says so', async (t) => {
  const node = nodeWith({
    'iptables-save.txt': `# Generated by iptables-save v1.8.9 (nf_tables)\n${save('nat', [dnat])}`,
    'iptables-legacy-save.txt': save('nat', ['-A PREROUTING -p tcp -m tcp --dport 30080 -j REDIRECT --to-ports 9']),
  });
  const { outcomes } = send(node, { from: client, to: '10.9.0.1', port: 30080 });
  t.equal(verdictOf(outcomes).verdict, 'unknown');
  t.match(outcomes.map((outcome) => outcome.dnat).sort(), ['10.244.1.11:8080', '10.9.0.1:9']);
});

t.test('routing and settings', async (t) => {
  const off = { 'sysctl.txt': 'net.ipv4.ip_forward = 0\n', 'iptables-save.txt': save('nat', [dnat]) };
  const forwardingOff = one(send(nodeWith(off), { from: client, to: '10.9.0.1', port: 30080 }));
  t.match(forwardingOff, { verdict: 'drop', decidedBy: { by: 'sysctl', text: 'net.ipv4.ip_forward = 0' } });
  const lost = nodeWith({
    'iptables-save.txt': save('nat', ['-A PREROUTING -p tcp -j DNAT --to-destination 10.244.9.9:80']),
    'ip-route.json': '[{"dst":"10.9.0.0/24","dev":"eth0"}]',
  });
  const routeless = one(send(lost, { from: '10.9.0.7', to: '10.9.0.1', port: 30080 }));
  t.match(routeless, { verdict: 'reject', rejectWith: 'icmp-net-unreachable', decidedBy: { text: 'no route to 10.244.9.9' } });
  const strict = nodeWith({ 'sysctl.txt': 'net.ipv4.ip_forward = 1\nnet.ipv4.conf.all.rp_filter = 1\n' });
  t.match(
    one(send(strict, { from: '10.244.1.7', to: '10.9.0.1', port: 2222, iif: 'eth0' })),
    { verdict: 'drop', decidedBy: { by: 'sysctl' } },
    'strict rp_filter',
  );
  t.match(one(send(nodeWith({}), { from: '10.9.0.1', to: '10.9.0.1', port: 2222, iif: 'eth0' })), { verdict: 'drop', decidedBy: { text: /martian/ } });
  t.equal(one(send(nodeWith({}), { from: client, to: '10.9.0.1', port: 99 })).verdict, 'refused', 'nothing listens');
});

t.test('an endpoint that is its own client is a hairpin', async (t) => {
  const masquerade = save('nat', [dnat, '-A POSTROUTING -s 10.244.1.11 -j MASQUERADE']);
  const from = { from: '10.244.1.11', to: '10.9.0.1', port: 30080, vantage: 'pod', iif: 'cni0' } as const;
  t.match(one(send(nodeWith({ 'iptables-save.txt': save('nat', [dnat]) }), from)), { verdict: 'drop', decidedBy: { text: /hairpin/ } });
  t.match(one(send(nodeWith({ 'iptables-save.txt': masquerade }), from)), { verdict: 'forward', masquerade: true });
});

t.test('the answer and the next packet', async (t) => {
  const ask = (rules: string, to = 30080): Outcome => one(send(nodeWith({ 'iptables-save.txt': rules }), { from: client, to: '10.9.0.1', port: to }));
  const lostAnswer = ask(save('nat', [dnat]) + save('filter', ['-A FORWARD -s 10.244.1.11 -j DROP']));
  t.match(lostAnswer, { verdict: 'forward', reply: { verdict: 'drop', decidedBy: { chain: 'FORWARD', rule: 1 } } });
  const established = ['-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT', '-A FORWARD -d 10.244.1.11 -j ACCEPT', 'FORWARD DROP'];
  t.equal(ask(save('nat', [dnat]) + save('filter', established)).reply, undefined, 'an accept of established packets lets it back');
  const onlyNew = ask(save('filter', ['-A INPUT -m conntrack --ctstate NEW -j ACCEPT', 'INPUT DROP']), 2222);
  t.match(onlyNew, { verdict: 'local', later: { verdict: 'drop', decidedBy: { by: 'policy' } } });
  const refusal = ask(save('filter', ['-A OUTPUT -p tcp -m tcp --tcp-flags RST RST -j DROP']), 99);
  t.match(refusal, { verdict: 'refused', reply: { verdict: 'drop' } });
});

t.test('packets that are not tracked are not translated, and an answer that is not tracked keeps its address', async (t) => {
  const untracked = nodeWith({ 'iptables-save.txt': save('raw', ['-A PREROUTING -p tcp -m tcp --dport 30080 -j CT --notrack']) + save('nat', [dnat]) });
  t.match(one(send(untracked, { from: client, to: '10.9.0.1', port: 30080 })), { verdict: 'refused', dnat: null });
  const answer = nodeWith({ 'iptables-save.txt': save('raw', ['-A PREROUTING -i cni0 -j CT --notrack']) + save('nat', [dnat]) });
  t.match(one(send(answer, { from: client, to: '10.9.0.1', port: 30080 })), {
    verdict: 'forward',
    reply: { verdict: 'drop', decidedBy: { text: /not tracked/ } },
  });
});

t.test('ip6tables: UNICAST includes the own addresses, and all types named must hold', async (t) => {
  const verdict = (types: string): string => {
    const rules = `# Generated by ip6tables-save v1.8.9\n${save('filter', [`-A INPUT -m addrtype --dst-type ${types} -j DROP`])}`;
    return one(send(nodeWith({ 'ip6tables-save.txt': rules }), { from: 'fd09::7', to: 'fd09::1', port: 2222 })).verdict;
  };
  t.equal(verdict('UNICAST'), 'drop');
  t.equal(verdict('LOCAL,MULTICAST'), 'local');
  t.equal(verdict('LOCAL'), 'drop');
});
