// What a dump has that the decoder does not know, counted by name.
import t from 'tap';
import { parseIptables } from '../../../shared/netfilter/iptables.parse.ts';
import { unknownOptions } from '../../../shared/netfilter/iptables.unknown.ts';

const count = (rules: readonly string[]) => unknownOptions(parseIptables(`*filter\n:INPUT ACCEPT [0:0]\n:MINE - [0:0]\n${rules.join('\n')}\nCOMMIT\n`));

t.test('matches, targets and options are counted by name, the most frequent first', (t) => {
  const rules = [
    '-A INPUT -m geoip --source-country XX -j DROP',
    '-A INPUT -p tcp -m tcp --dport 80 --foo 1 -j DROP',
    '-A INPUT -m geoip --source-country YY -j XNOTIFY',
    '-A INPUT -g GONE',
    '-A INPUT -j DNAT [unsupported revision]',
    '-A INPUT -m comment --comment "open -j DROP',
    '-A INPUT -m comment --comment "open \\" -j DROP',
  ];
  t.strictSame(count(rules), [
    { kind: 'option', name: '--source-country', rules: 2, line: 4 },
    { kind: 'match', name: 'geoip', rules: 2, line: 4 },
    { kind: 'text', name: 'a quote is not closed', rules: 2, line: 9 },
    { kind: 'option', name: '--foo', rules: 1, line: 5 },
    { kind: 'target', name: 'XNOTIFY', rules: 1, line: 6 },
    { kind: 'target', name: 'GONE', rules: 1, line: 7 },
    { kind: 'target', name: 'DNAT [unsupported revision]', rules: 1, line: 8 },
  ]);
  t.end();
});

t.test('what is known, and what only looks like an option in a comment, is not counted', (t) => {
  const rules = [
    '-A INPUT -m comment --comment "a -> b - c --unheard-of -j NOBODY" -j MINE',
    '-A INPUT ! -i lo -p tcp -m tcp ! --dport 80 -g MINE',
    '-A MINE --jump=ACCEPT',
    '-A MINE -m policy --dir in --pol ipsec --proto esp -j ACCEPT',
    '[5:6] -A MINE -m limit --limit 1/sec -j LOG --log-prefix "x "',
  ];
  t.strictSame(count(rules), []);
  t.end();
});
