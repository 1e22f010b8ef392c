// Which rules only stand elsewhere: for each connection the same rules come in the same order, or they are told.
import fc from 'fast-check';
import t from 'tap';
import { harmlessMoves } from '../../../shared/netfilter/diff.moves.ts';
import { diffLines } from '../../../shared/netfilter/diff.ts';

interface Drawn {
  readonly address: string | undefined;
  readonly port: number | undefined;
  readonly line: string;
}

const rule = fc
  .record({
    address: fc.constantFrom('10.96.0.1', '10.96.0.2', undefined, undefined),
    network: fc.constantFrom('', '', '-d 127.0.0.0/8 '),
    port: fc.constantFrom(80, 443, 30080, undefined),
    negated: fc.constantFrom(false, false, false, true),
    target: fc.constantFrom('KUBE-SVC-A', 'KUBE-SVC-B', 'DROP', 'KUBE-MARK-MASQ'),
  })
  .map(({ address, network, port, negated, target }): Drawn => {
    const to = address === undefined ? network : `-d ${address}/32 `;
    const of = port === undefined ? '' : ` -m tcp --dport ${port}`;
    // What a comment says is no condition.
    const line = `-A KUBE-SERVICES ${to}${negated ? '! -s 10.244.0.0/16 ' : ''}-p tcp -m comment --comment "x -p tcp --dport 1 "${of} -j ${target}`;
    return { address, port, line };
  });
const chains = fc
  .array(rule, { maxLength: 12 })
  .chain((rules) =>
    fc.record({ before: fc.constant(rules), after: fc.oneof(fc.shuffledSubarray([...rules], { minLength: rules.length }), fc.shuffledSubarray([...rules])) }),
  );

/** The rules that a connection may match, in their order. */
const met = (rules: readonly Drawn[], address: string, port: number): readonly string[] =>
  rules.filter((each) => (each.address ?? address) === address && (each.port ?? port) === port).map(({ line }) => line);

t.test('where nothing but such moves has changed, every connection meets the same rules in the same order', async (t) => {
  let moves = 0;
  const property = fc.property(chains, ({ before, after }) => {
    const [was, is] = [before.map(({ line }) => line), after.map(({ line }) => line)];
    const harmless = harmlessMoves(was, is);
    const hunks = diffLines(was, is);
    if (hunks.length === 0 || hunks.some(({ removed, added }) => [...removed, ...added].some((line) => !harmless.has(line)))) return;
    moves++;
    for (const address of ['10.96.0.1', '10.96.0.2', '10.96.0.3'])
      for (const port of [80, 443, 30080, 9]) {
        if (met(before, address, port).join('\n') !== met(after, address, port).join('\n')) throw new Error(`${address}:${port}`);
      }
  });
  const result = fc.check(property, { numRuns: 10_000 });
  t.equal(result.failed, false, fc.defaultReportMessage(result)?.slice(0, 3_000) ?? '');
  t.ok(moves > 50, `${moves} had only such moves`);
});

t.test('past a rule for any connection, or one for the same port, it is a change', async (t) => {
  const web = '-A KUBE-NODEPORTS -p tcp -m tcp --dport 30080 -j KUBE-EXT-A';
  const api = '-A KUBE-NODEPORTS -p tcp -m tcp --dport 30081 -j KUBE-EXT-B';
  const local = '-A KUBE-NODEPORTS -d 127.0.0.0/8 -p tcp -m tcp --dport 30080 -j KUBE-EXT-A';
  const drop = '-A KUBE-NODEPORTS -s 203.0.113.7/32 -j DROP';
  t.strictSame([...harmlessMoves([web, api], [api, web])].sort(), [web, api]);
  t.strictSame([...harmlessMoves([local, web, api], [api, local, web])].sort(), [local, web, api].sort());
  t.strictSame([...harmlessMoves([local, web, api], [api, web, local])], [api]);
  t.strictSame([...harmlessMoves([drop, web, api], [web, drop, api])], [api]);
  t.strictSame([...harmlessMoves([web, api], [web])], [web], 'one that is gone');
});
