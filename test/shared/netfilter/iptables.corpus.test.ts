// The iptables reader against dumps and rules that other people wrote: counts, the normal form after loading, and pairs of spellings of one rule.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import t from 'tap';
import { decodeRule } from '../../../shared/netfilter/iptables.decode.ts';
import { type IptablesParsed, parseIptables, printIptables } from '../../../shared/netfilter/iptables.parse.ts';
import type { Step } from '../../../shared/netfilter/rule.ts';

const corpus = join(import.meta.dirname, '../../../../shared/corpus');
const skip = existsSync(corpus) ? false : 'the corpus is not here';

interface DumpEntry {
  readonly file: string;
  readonly family: 'ipv4' | 'ipv6';
  readonly tables: readonly string[];
  readonly chains: number;
  readonly rules: number;
  readonly nft189: string;
  readonly legacy189: string;
  readonly normal_legacy?: string;
}

const dump = (file: string): Buffer => readFileSync(join(corpus, 'iptables-dumps', file));

function countsOf(parsed: IptablesParsed): { tables: string[]; chains: number; rules: number } {
  const chains = parsed.tables.flatMap((table) => [...table.chains.values()]);
  return {
    tables: parsed.tables.map(({ name }) => name),
    chains: chains.filter(({ line }) => line > 0).length,
    rules: chains.reduce((sum, { length }) => sum + length, 0),
  };
}

/** Conditions in any order are one rule, and so are the words of a list in any order. */
function sorted(steps: readonly Step[]): string[] {
  const plain = (key: string, value: unknown): unknown => (typeof value === 'bigint' ? `${value}` : key === 'anyOf' ? (value as string[]).toSorted() : value);
  return steps.map((step) => JSON.stringify(step, plain)).sort();
}

t.test('dumps', { skip }, (t) => {
  const index: DumpEntry[] = JSON.parse(dump('index.json').toString());
  for (const { file, tables, chains, rules, nft189, legacy189 } of index) {
    const bytes = dump(file);
    const parsed = parseIptables(bytes);
    t.ok(printIptables(parsed).equals(bytes), `${file}: printed back`);
    if (nft189 === 'accept' || legacy189 === 'accept') t.strictSame(countsOf(parsed), { tables, chains, rules }, file);
  }
  t.end();
});

t.test('dumps and their normal form after loading are the same rules', { skip }, (t) => {
  const index: DumpEntry[] = JSON.parse(dump('index.json').toString());
  let same = 0;
  const differing: string[] = [];
  for (const { file, family, normal_legacy } of index.filter(({ normal_legacy }) => normal_legacy !== undefined)) {
    const options = { family: family === 'ipv6' ? 'ip6' : 'ip' } as const;
    const normal = parseIptables(dump(normal_legacy as string), options);
    for (const table of parseIptables(dump(file), options).tables) {
      for (const chain of table.chains.values()) {
        const other = normal.tables.find(({ name }) => name === table.name)?.chains.get(chain.name);
        for (let i = 0; i < chain.length; i++) {
          if (other !== undefined && other.length === chain.length && isDeepStrictEqual(sorted(chain.rule(i).steps), sorted(other.rule(i).steps))) same++;
          else differing.push(`${file}: ${chain.text(i)}${other !== undefined && other.length === chain.length ? ` => ${other.text(i)}` : ''}`);
        }
      }
    }
  }
  t.comment(`${same} rules equal, ${differing.length} differ`);
  t.strictSame(differing, []);
  t.ok(same > 3900, `${same} rules compared`);
  t.end();
});

interface ExtensionCase {
  readonly family: 'both' | 'ipv4' | 'ipv6';
  readonly chain: string;
  readonly rule: string;
  readonly expectedSave: string | null;
  readonly ok: boolean;
}

/** A mask with holes is no set of a few intervals: the rule may match, and the reason names the text. */
const maskWithHoles = /\/255\.0\.\d+\.0/;

t.test('spellings of a rule and what iptables-save makes of it', { skip }, (t) => {
  const cases: ExtensionCase[] = JSON.parse(readFileSync(join(corpus, 'iptables-extensions.json'), 'utf8')).cases;
  const differing: string[] = [];
  let same = 0;
  for (const { family, chain, rule, expectedSave, ok } of cases) {
    for (const number of family === 'both' ? ([4, 6] as const) : family === 'ipv6' ? ([6] as const) : ([4] as const)) {
      const context = { family: number, isChain: () => false };
      const decoded = decodeRule(`-A ${chain} ${rule}`, context);
      if (!ok || expectedSave === null) continue;
      const saved = decodeRule(`-A ${chain} ${expectedSave}`, context);
      if (isDeepStrictEqual(sorted(decoded.steps), sorted(saved.steps))) same++;
      else differing.push(`${rule} => ${expectedSave}`);
    }
  }
  t.comment(`${same} equal, ${differing.length} differ`);
  t.strictSame(
    differing.filter((text) => !maskWithHoles.test(text)),
    [],
  );
  t.ok(same > 3500, `${same} pairs compared`);
  t.end();
});
