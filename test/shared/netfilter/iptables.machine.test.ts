// Machine code reads a dump exactly as the reader in TypeScript does, whatever the text, and however it arrives.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { Machine } from '../../../shared/netfilter/iptables.machine.ts';
import { type IptablesParsed, IptablesReader, parseIptables } from '../../../shared/netfilter/iptables.parse.ts';
import { unknownOptions } from '../../../shared/netfilter/iptables.unknown.ts';
import { writeIptablesDump } from '../../bench/iptables-dump.ts';
import { compileMachineCode } from '../../support/machine-code.ts';

const root = join(import.meta.dirname, '../../..');
const file = join(t.testdir(), 'skim.wasm');
compileMachineCode(file);
const code = readFileSync(file);

/** What a dump of few Services holds, as large ones do: chains, then rules that fit stencils. */
function smallDump(t: Test, services: number): Buffer {
  const path = join(t.testdir(), 'dump.txt');
  writeIptablesDump(path, { services, endpoints: 3 });
  return readFileSync(path);
}

interface Read {
  readonly parsed: IptablesParsed;
  readonly machine: Machine;
}

/** Reads a text that arrives in parts which end at the given shares of it. */
function readByMachine(text: Buffer, shares: readonly number[] = []): Read {
  const machine = new Machine(code, text.length);
  const reader = new IptablesReader(machine.text, {}, machine);
  let arrived = 0;
  for (const end of shares.map((share) => Math.floor(share * text.length)).sort((a, b) => a - b)) {
    text.copy(machine.text, arrived, arrived, end);
    arrived = end;
    reader.advance(end);
  }
  text.copy(machine.text, arrived, arrived);
  return { parsed: reader.finish(), machine };
}

/** All that a reader says of a dump. */
function contentOf(parsed: IptablesParsed): object {
  const { dump, issues, tables } = parsed;
  return {
    starts: Buffer.from(Uint32Array.from(dump.lineStarts).buffer).toString('base64'),
    kinds: Buffer.from(dump.lineKinds).toString('base64'),
    unknown: unknownOptions(parsed),
    issues,
    tables: tables.map(({ backend, family, name, chains }) => ({
      backend,
      family,
      name,
      rules: chains.ruleCount,
      chains: [...chains.values()].map((chain) => [chain.name, chain.base, Array.from({ length: chain.length }, (_, i) => chain.lineOf(i))]),
    })),
  };
}

const fixtures = join(root, 'test/fixtures');
const captures = readdirSync(fixtures, { recursive: true, encoding: 'utf8' }).filter((path) => /ip6?tables-save[^/]*\.txt(\.gz)?$/.test(path));

t.test('captured dumps', (t) => {
  t.ok(captures.length > 60, `${captures.length} fixtures`);
  let skimmed = 0;
  for (const path of captures) {
    const bytes = readFileSync(join(fixtures, path));
    const text = path.endsWith('.gz') ? gunzipSync(bytes) : bytes;
    const { parsed, machine } = readByMachine(text);
    skimmed += machine.skimmed;
    t.strictSame(contentOf(parsed), contentOf(parseIptables(text)), path);
  }
  t.ok(skimmed > 1000, `${skimmed} lines by machine code`);
  t.end();
});

t.test('of a large dump it reads nearly every line, all arrays are in its memory, and parts end anywhere', (t) => {
  const text = smallDump(t, 1_000);
  const expected = contentOf(parseIptables(text));
  for (const shares of [[], [0.5], [0.001, 0.2, 0.2001, 0.77], Array.from({ length: 99 }, (_, i) => i / 100)]) {
    const { parsed, machine } = readByMachine(text, shares);
    t.strictSame(contentOf(parsed), expected, `${shares.length + 1} parts`);
    t.ok(machine.skimmed > 0.98 * parsed.dump.lineCount, `${machine.skimmed} of ${parsed.dump.lineCount} lines`);
    t.equal(parsed.dump.lineStarts.buffer, machine.text.buffer);
  }
  t.end();
});

t.test('more and shorter lines than were expected, and more chains', (t) => {
  const chains = Array.from({ length: 30_000 }, (_, i) => `:CHAIN-OF-MANY-${i} - [0:0]\n`).join('');
  const rules = Array.from({ length: 60_000 }, (_, i) => `-A CHAIN-OF-MANY-${i >> 1} -j CHAIN-OF-MANY-${(i * 7919) % 30_000}\n`).join('');
  const text = Buffer.from(`*nat\n${chains}${rules}COMMIT\n`);
  const { parsed, machine } = readByMachine(text, [0.3, 0.6]);
  t.strictSame(contentOf(parsed), contentOf(parseIptables(text)));
  t.ok(machine.skimmed > 80_000, `${machine.skimmed} lines by machine code`);
  t.end();
});

t.test('jumps to chains that are declared nowhere', (t) => {
  const rules = Array.from({ length: 5_000 }, (_, i) => `-A KUBE-SERVICES -p tcp -m tcp --dport ${i} -j ${i % 3 === 0 ? 'KUBE-SERVICES-2' : `NOWHERE-${i}`}\n`);
  const text = Buffer.from(`*nat\n:KUBE-SERVICES - [0:0]\n:KUBE-SERVICES-2 - [0:0]\n${rules.join('')}COMMIT\n`);
  const { parsed, machine } = readByMachine(text);
  t.strictSame(contentOf(parsed), contentOf(parseIptables(text)));
  t.ok(machine.skimmed > 2_000, `${machine.skimmed} lines by machine code`);
  t.end();
});

t.test('lines that nearly fit', (t) => {
  const rule = (address: string, comment = 'a/b:c cluster IP'): string =>
    `-A KUBE-SERVICES -d ${address} -p tcp -m comment --comment "${comment}" -m tcp --dport 80 -j KUBE-SVC-BBBBBBBB\n`;
  const plain = [1, 2, 3, 4, 5, 6].map((i) => rule(`10.96.0.${i}/32`)).join('');
  const odd = [
    ...['KUBE-OF-THE-NEXT', 'KUBE-NOWHERE', 'KUBE-SERVICES', 'MASQUERADE'].map((chain) => rule('10.96.0.7/32').replace('KUBE-SVC-BBBBBBBB', chain)),
    ...[
      '-10.96.0.7',
      "'10.96.0.7'",
      '[10.96.0.7',
      '',
      ' 10.96.0.7',
      '\t10.96.0.7',
      '10.96\\.0.7',
      '10.96"0"7',
      '10.96.0.7\0',
      '\xff10.96.0.7',
      '! 10.96.0.7',
    ].map((address) => rule(address)),
    ...['', 'a \\" b', 'a\\', 'a" --unknown "b', 'a" --unknown', '"', 'ü\xff', 'a\tb', 'a\0b', '-a', '[a'].map((comment) => rule('10.96.0.7/32', comment)),
    ...['-A KUBE-SERVICE -j ACCEPT', '-A KUBE-SERVICES2 -j ACCEPT', '-A KUBE-SERVICES', '-A  KUBE-SERVICES -j ACCEPT', '-I KUBE-SERVICES -j ACCEPT'],
    ...['-A PREROUTING -j ACCEPT', '-A KUBE-OF-THE-NEXT -j ACCEPT', '-A KUBE-OF-THE-NEXT -j KUBE-OF-THE-NEXT', '-A KUBE-SERVICES -g KUBE-OF-THE-NEXT'],
    ...[
      ':KUBE-SERVICES - [0:0]',
      ':KUBE-SERVICES-3 - [0:0]',
      ':KUBE-SERVICES-3 - [0:0] ',
      ':PREROUTING - [0:0]',
      ':OUTPUT - [0:0]',
      ': - [0:0]',
      ':-A - [0:0]',
      ':KUBE"A - [0:0]',
      ':KUBE-SERVICES-3 - [1:0]',
    ],
    ...[
      '[1:2] -A KUBE-SERVICES -j ACCEPT',
      '[1:2]-A KUBE-SERVICES -j ACCEPT',
      '[1:2:3] -A KUBE-SERVICES -j ACCEPT',
      '[] -A KUBE-SERVICES -j ACCEPT',
      '[1:2] ',
      '',
    ],
  ].map((line) => line.replace(/\n$/, ''));
  const chains = ':KUBE-SERVICES - [0:0]\n:KUBE-SVC-BBBBBBBB - [0:0]\n:KUBE-SVC-CCCCCCCC - [0:0]\n';
  const lastChain = `-A KUBE-SVC-CCCCCCCC -j ACCEPT\n`.repeat(3);
  const behind = '*nat\n:KUBE-OF-THE-NEXT - [0:0]\n:KUBE-SERVICES - [0:0]\n-A KUBE-SERVICES -j ACCEPT\nCOMMIT\n';
  for (const line of odd) {
    for (const text of [
      `*filter\n${chains}${plain}${line}\n${plain}COMMIT\n${behind}`,
      `*filter\n${chains}${plain}${lastChain}${line}\n${lastChain}COMMIT\n${behind}`,
      `*filter\n${chains}COMMIT\n${behind}*filter\n${plain}${lastChain}${line}\n${lastChain}COMMIT\n`,
    ]) {
      const bytes = Buffer.from(text, 'latin1');
      t.strictSame(contentOf(readByMachine(bytes).parsed), contentOf(parseIptables(bytes)), JSON.stringify(line));
    }
  }
  t.end();
});

t.test('any change of a text', (t) => {
  const text = smallDump(t, 12);
  const bytes = fc.constantFrom(...Buffer.from('\n\r \t"\\\'[]:-!\0#*,AZ09'), 0x80, 0xff);
  const edit = fc.record({ at: fc.double({ min: 0, max: 1, noNaN: true }), atWord: fc.boolean(), drop: fc.nat(3), put: fc.array(bytes, { maxLength: 4 }) });
  const move = fc.record({ from: fc.nat(400), to: fc.nat(400), copy: fc.boolean() });
  fc.assert(
    fc.property(
      fc.array(edit, { maxLength: 12 }),
      fc.array(move, { maxLength: 3 }),
      fc.array(fc.double({ min: 0, max: 1, noNaN: true })),
      (edits, moves, shares) => {
        const changed = withEdits(withMoves(text, moves), edits);
        t.strictSame(contentOf(readByMachine(changed, shares).parsed), contentOf(parseIptables(changed)));
      },
    ),
    { numRuns: Number(process.env.RUNS ?? 400) },
  );
  t.end();
});

interface Move {
  readonly from: number;
  readonly to: number;
  readonly copy: boolean;
}

/** Moves or copies whole lines. */
function withMoves(text: Buffer, moves: readonly Move[]): Buffer {
  const lines = text.toString('latin1').split('\n');
  for (const { from, to, copy } of moves) {
    const [line = ''] = copy ? lines.slice(from, from + 1) : lines.splice(from, 1);
    lines.splice(to, 0, line);
  }
  return Buffer.from(lines.join('\n'), 'latin1');
}

interface Edit {
  readonly at: number;
  /** Moves the place on to where the next word begins. */
  readonly atWord: boolean;
  readonly drop: number;
  readonly put: readonly number[];
}

function withEdits(text: Buffer, edits: readonly Edit[]): Buffer {
  return edits.reduce((changed, { at, atWord, drop, put }) => {
    const any = Math.floor(at * changed.length);
    const place = atWord ? changed.indexOf(' ', any) + 1 : any;
    return Buffer.concat([changed.subarray(0, place), Buffer.from(put), changed.subarray(place + drop)]);
  }, text);
}
