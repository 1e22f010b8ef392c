// Decoding by shape answers as the decoder does, whatever stands where the values are.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { type DecodedRule, decodeRule } from '../../../shared/netfilter/iptables.decode.ts';
import type { DecodeContext } from '../../../shared/netfilter/iptables.options.ts';
import { parseIptables } from '../../../shared/netfilter/iptables.parse.ts';
import { ShapedDecoder } from '../../../shared/netfilter/iptables.shape.ts';

/** What the decoder says of a rule's text, with nothing left to be read. */
function plain(decoder: ShapedDecoder, text: string): DecodedRule {
  const bytes = Buffer.from(text);
  const decoded = decoder.decode(bytes, 0, bytes.length);
  return 'steps' in decoded ? decoded : { steps: decoded, comment: decoder.commentAt(bytes, 0, bytes.length), counter: undefined, unknown: [] };
}

const fixtures = join(import.meta.dirname, '../../fixtures');
const dumps = readdirSync(fixtures, { recursive: true, encoding: 'utf8' }).filter((path) => /ip6?tables-save[^/]*\.txt$/.test(path));

t.test('captured rules are decoded by shape as they are one by one', (t) => {
  for (const path of dumps) {
    for (const { family, chains } of parseIptables(readFileSync(join(fixtures, path))).tables) {
      const context: DecodeContext = { family: family === 'ip' ? 4 : 6, isChain: (name) => chains.has(name) };
      const decoder = new ShapedDecoder(context);
      const rules = [...chains.values()].flatMap((chain) => Array.from({ length: chain.length }, (_, index) => chain.text(index)));
      t.strictSame(
        rules.map((rule) => plain(decoder, rule)),
        rules.map((rule) => decodeRule(rule, context)),
        path,
      );
    }
  }
  t.end();
});

t.test('rules that look like one of a known shape', (t) => {
  const context: DecodeContext = { family: 4, isChain: (name) => name === 'MINE' || name === 'YOURS' || name === 'DROPS' || name === '!' };
  const known = [
    '-A X -s 10.0.0.1/32 -m comment --comment "a" -j MINE',
    '-A X -m comment --comment a',
    '-A X -s 10.0.0.1/32 -j DROP',
    '-A X ! -s 10.0.0.1/32 -j DROP',
    '-A X -j MINE',
    '-A X -p tcp -m tcp --dport 80 -j MINE',
    '-A X -p tcp -m tcp -j DNAT --to-destination 10.0.0.1:80',
  ];
  const others = [
    '-A X -s 10.0.0.1/32 -m comment --comment  -j MINE',
    '-A X -s  10.0.0.1/32 -m comment --comment "b" -j YOURS',
    '-A X -m comment --comment !',
    '-A X -m comment --comment "!"',
    '-A X -m comment --comment ! -j MINE',
    '-A X -s 10.0.0.1/32 -m comment --comment ! -j MINE',
    '-A X -s ! -j DROP',
    '-A X -j !',
    '-A X -j DROPS',
    '-A X -j DROP',
    '-A X -s 10.0.0.1/32 -j DROPS',
    '-A X -s 10.0.0.1/32 -j DROP extra',
    '-A X -s 10.0.0.1/32 -j DRO',
    '-A X -s 10.0.0.1/32 -s 10.0.0.2/32 -j DROP',
    '-A X\t! -s 10.0.0.1/32 -j DROP',
    '-A X -p tcp -m tcp --dport 080 -j YOURS',
    '-A X -p tcp -m tcp --dport 80:81 -j YOURS',
    '-A X -p tcp -m tcp -j DNAT --to-destination 10.0.0.1',
    '-A X -p tcp -m tcp -j DNAT --to-destination :80',
    '-A X',
  ];
  const decoder = new ShapedDecoder(context);
  for (const text of [...known, ...others, ...known, ...others]) t.strictSame(plain(decoder, text), decodeRule(text, context), text);
  t.end();
});

t.test('law: rules of any values and order of options are decoded by shape as they are one by one', (t) => {
  const address = fc.constantFrom('10.0.0.1/32', '10.1.0.0/16', '0.0.0.0/0', '10.0.0.1', '10.0.0.1,10.0.0.2', 'fd00::1/128', 'host', '!', '"10.0.0.1"');
  const option = fc.oneof(
    fc.tuple(fc.constantFrom('-s', '! -s', '-d', '! -d', '--source'), address).map((pair) => pair.join(' ')),
    fc.constantFrom('443', '80:90', 'http', '0:65535', '99999', '00080', '').map((port) => `-p tcp -m tcp --dport ${port}`),
    fc.constantFrom('-p udp -m multiport --dports 1,2', '-m iprange --src-range 10.0.0.1-10.0.0.2', '-m mark --mark 0x4000/0x4000', '-c 1 2', '--foo 1'),
    fc
      .constantFrom('"a -> b"', 'plain', '"say \\"x\\""', '"-j DROP"', '"open', "it's", '""', '', '!', '"!"', '! x', 'grün', '"ende" -j')
      .map((text) => `-m comment --comment ${text}`),
    fc.constantFrom('0.5', '0.33333333349', '1.0', '1.5', '2', 'x', '1e-3').map((chance) => `-m statistic --mode random --probability ${chance}`),
    fc.constantFrom('-j MINE', '-j YOURS', '-j ACCEPT', '-j', '-j "MINE"', '-g MINE', '-j NOBODY', '--jump=MINE'),
    fc.constantFrom('10.0.0.1:80', '10.0.0.1', ':80', '[fd00::1]:80', '10.0.0.1-10.0.0.9:1-2', 'x:y').map((to) => `-j DNAT --to-destination ${to}`),
    fc.constantFrom('10.0.0.1:80', '10.0.0.2:81').map((to) => `-j DNAT --to-destination ${to} --random --persistent`),
  );
  const blanks = fc.constantFrom(' ', ' ', ' ', '  ', '\t');
  const rules = fc.array(
    fc.tuple(fc.array(option, { maxLength: 5 }), blanks).map(([options, blank]) => ['-A X', ...options].join(blank)),
    { minLength: 2, maxLength: 30 },
  );
  for (const family of [4, 6] as const) {
    const context: DecodeContext = { family, isChain: (name) => name === 'MINE' || name === 'YOURS' };
    fc.assert(
      fc.property(rules, (texts) => {
        const decoder = new ShapedDecoder(context);
        const shaped = [...texts, ...texts].map((text) => plain(decoder, text));
        t.strictSame(
          shaped,
          [...texts, ...texts].map((text) => decodeRule(text, context)),
          { diagnostic: false },
        );
      }),
      { numRuns: 200 },
    );
  }
  t.end();
});
