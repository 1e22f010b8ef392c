import t from 'tap';
import { counterCommand, readCounter } from '../../../agent/bpf/counter.parse.ts';
import type { Decider } from '../../../shared/model/outcome.ts';

const rule: Decider = {
  by: 'rule',
  family: 'ip',
  table: 'filter',
  chain: 'FORWARD',
  rule: 2,
  backend: 'iptables-nft',
  text: '-A FORWARD -p tcp -m tcp --dport 8081 -m comment --comment "a -c 3 4 -j b" -j REJECT --reject-with icmp-port-unreachable',
};
const policy: Decider = { by: 'policy', family: 'ip6', table: 'filter', chain: 'INPUT', backend: 'legacy', text: 'policy DROP' };
const native: Decider = { by: 'rule', family: 'inet', table: 'x', chain: 'y', handle: 2, backend: 'nft', text: 'tcp dport 1 counter drop' };

// As iptables 1.8.9 and nft 1.0.6 print them.
const printed = '-A FORWARD -p tcp -m tcp --dport 8081 -m comment --comment "a -c 3 4 -j b" -c 7 420 -j REJECT --reject-with icmp-port-unreachable\n';
const listed =
  'table inet x {\n\tchain y { # handle 1\n\t\ttcp dport 2 counter packets 9 bytes 1 # handle 12\n\t\ttcp dport 1 counter packets 5 bytes 300 drop # handle 2\n\t}\n}\n';

t.test('the command for each', async (t) => {
  t.strictSame(counterCommand(rule), ['iptables-nft', '-t', 'filter', '-v', '-S', 'FORWARD', '2']);
  t.strictSame(counterCommand({ ...rule, backend: 'legacy' }), ['iptables-legacy', '-t', 'filter', '-v', '-S', 'FORWARD', '2']);
  t.strictSame(counterCommand(policy), ['ip6tables-legacy', '-t', 'filter', '-v', '-S', 'INPUT']);
  t.strictSame(counterCommand(native), ['nft', '-a', 'list', 'chain', 'inet', 'x', 'y']);
  t.equal(counterCommand({ by: 'sysctl', text: 'net.ipv4.ip_forward = 0' }), undefined);
  t.equal(counterCommand({ ...native, by: 'policy' }), undefined, 'a policy of nft counts nothing');
});

t.test('the counter, and none of a rule that has another text now', async (t) => {
  t.equal(readCounter(rule, printed), 7n);
  t.equal(readCounter({ ...rule, text: '-A FORWARD -j DROP' }, printed), undefined);
  t.equal(readCounter(policy, '-P INPUT DROP -c 4 240\n-A INPUT -c 1 1 -j ACCEPT\n'), 4n);
  t.equal(readCounter(native, listed), 5n);
  t.equal(readCounter({ ...native, handle: 3 }, listed), undefined);
  t.equal(readCounter(native, 'table inet x {\n\tchain y {\n\t\ttcp dport 1 drop # handle 2\n\t}\n}\n'), undefined, 'a rule that does not count');
  t.equal(readCounter(rule, ''), undefined);
});
