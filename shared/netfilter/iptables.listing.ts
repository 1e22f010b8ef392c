// Turns what `iptables -t TABLE -S CHAIN -v` prints of one chain into the text that `iptables-save -c` prints of it, which is what everything else reads.

/** A dump of one table with the chain of the listing: its declaration, its rules, and COMMIT. Lines that are no declaration and no rule stay as they are. */
export function dumpOfListing(table: string, listing: string): string {
  const lines = listing.split('\n').filter((line) => line !== '');
  return `*${table}\n${lines.map((line) => `${dumpLine(line)}\n`).join('')}COMMIT\n`;
}

/** `-N NAME` or `-P NAME POLICY -c PACKETS BYTES`: the chain that a listing is of; undefined when it has no declaration. */
export function listedChain(listing: string): string | undefined {
  return /^-[NP] (\S+)/m.exec(listing)?.[1];
}

function dumpLine(line: string): string {
  if (line.startsWith('-A ')) return ruleLine(line);
  const declared = declaration.exec(line);
  if (declared === null) return line;
  const [, name, policy = '-', packets = '0', bytes = '0'] = declared;
  return `:${name} ${policy} [${packets}:${bytes}]`;
}

const declaration = /^-[NP] (\S+)(?: ([A-Z]+))?(?: -c (\d+) (\d+))?$/;

/** Counters stand between the matches and the target; words in quotes may look like them and are passed over. */
const counted = /^((?:"(?:[^"\\]|\\.)*"|[^"])*?) -c (\d+) (\d+)((?: -[jg] .*)?)$/;

function ruleLine(line: string): string {
  const found = counted.exec(line);
  return found === null ? line : `[${found[2]}:${found[3]}] ${found[1]}${found[4]}`;
}
