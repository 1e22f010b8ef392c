// Real dumps under test/fixtures by the program that wrote them, whole and in small excerpts, as material for mutations.
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import type { Random } from './random.ts';

export const fixtures = join(import.meta.dirname, '../fixtures');

/** File names, as globs below test/fixtures, of each kind of dump. */
const names = {
  iptables: ['**/*tables-save*.txt', '**/*tables-legacy-save*.txt', '**/*tables-nft-save*.txt'],
  nftText: ['**/nft-ruleset.txt', '**/nft-after-stop.txt'],
  nftJson: ['**/nft.json', '**/nft-ruleset.json'],
  ipset: ['**/ipset-save.txt'],
  ipvs: ['**/ipvsadm-Sn.txt'],
  procIpvs: ['**/proc-net-ip_vs.txt'],
  ipJson: ['**/ip-addr.json', '**/ip-route.json', '**/ip6-route.json', '**/ip-rule.json'],
  sysctl: ['**/sysctl.txt'],
  sockets: ['**/ss.txt', '**/ss-tulnp.txt'],
} as const;

export type DumpName = keyof typeof names;
export const dumpNames = Object.keys(names) as readonly DumpName[];

/** Dumps of one kind. `large` have a megabyte or more. */
export interface Dumps {
  readonly files: readonly string[];
  readonly whole: readonly Buffer[];
  readonly large: readonly Buffer[];
}

/** Reads the dumps of one kind; empty ones are left out. */
export function readDumps(name: DumpName): Dumps {
  const files = globSync([...names[name]], { cwd: fixtures }).sort();
  const whole = files.map((file) => readFileSync(join(fixtures, file)));
  const packed = globSync(
    names[name].map((pattern) => `scale/${pattern}.gz`),
    { cwd: fixtures },
  ).sort();
  const large = packed.map((file) => gunzipSync(readFileSync(join(fixtures, file)))).filter(({ length }) => length > 1_000_000);
  return { files, whole: whole.filter(({ length }) => length > 0), large: large.map((dump) => dump.subarray(0, largeMax)) };
}

const largeMax = 4_000_000;

/** A small part of a dump that is a dump by itself: the beginning of one, some of its lines or objects. */
export function excerpt(name: DumpName, dump: Buffer, random: Random): Buffer {
  if (dump.length <= smallMax) return dump;
  return name === 'nftJson' ? objectsOf(dump, random) : linesOf(dump, random);
}

const smallMax = 1500;

/** Some lines with the heads of table, chain or set that they stand under, so that most of them keep their meaning. */
function linesOf(dump: Buffer, random: Random): Buffer {
  const from = dump.lastIndexOf(10, random.below(dump.length)) + 1;
  const head = random.onceIn(3) ? dump.subarray(0, Math.max(0, dump.indexOf(10, random.below(200)) + 1)) : headsBefore(dump, from);
  const end = dump.indexOf(10, Math.min(dump.length - 1, from + 100 + random.below(smallMax)));
  return Buffer.concat([head, dump.subarray(from, end < 0 ? dump.length : end + 1)]);
}

/** The last line of a table and of a block before an offset, and chains that were declared near it. */
function headsBefore(dump: Buffer, offset: number): Buffer {
  const before = dump.toString('latin1', Math.max(0, offset - 40_000), offset);
  const table = /(?:^|\n)((?:table|\*)[^\n]*\n)(?![\s\S]*\n(?:table|\*))/.exec(before)?.[1] ?? '';
  const block = /\n(\t(?:chain|set|map) [^\n]*\{[^\n]*\n)(?![\s\S]*\n\t(?:chain|set|map|\}))/.exec(before)?.[1] ?? '';
  const declared = [...before.matchAll(/\n(:[^\n]*)/g)].slice(-8).map(([, line]) => `${line}\n`);
  return Buffer.from(`${table}${declared.join('')}${block}`, 'latin1');
}

const listings = new WeakMap<Buffer, readonly string[]>();

function objectsOf(dump: Buffer, random: Random): Buffer {
  let objects = listings.get(dump);
  if (objects === undefined) {
    objects = (JSON.parse(dump.toString()) as { nftables: unknown[] }).nftables.map((object) => JSON.stringify(object));
    listings.set(dump, objects);
  }
  const from = random.below(objects.length);
  const near = objects.slice(from, from + 2 + random.below(6));
  const heads = objects.filter((object) => object.startsWith('{"table"') || object.startsWith('{"chain"')).slice(0, 6);
  return Buffer.from(`{"nftables": [${[...heads, ...near].join(', ')}]}`);
}
