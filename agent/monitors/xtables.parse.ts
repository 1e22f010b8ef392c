// Reads the lines of `xtables-monitor --event`: rules of iptables-nft as iptables writes them, and the process of each transaction.
import type { NftLine } from './nft.parse.ts';

const families: Readonly<Record<string, string>> = { '4': 'ip', '6': 'ip6', '0': 'arp' };
const rule = /^ ?EVENT: -([460]) -t (\S+) -[A-Z] (\S+)/;
const chain = /^ ?EVENT: # nft: (\S+) (\S+) (\S+) use /;
const table = /^ ?EVENT: nft: (?:NEW|DEL) table: table (\S+) (\S+) flags /;
const generation = /^NEWGEN: GENID=(\d+) PID=(\d+) NAME=(.*)$/;

/** What a native rule or set changes is not printed: `unnamed` says that something did. */
export function readXtablesLine(line: string): NftLine | { readonly kind: 'unnamed' } {
  const found = rule.exec(line);
  if (found !== null)
    return { kind: 'touched', object: { family: families[found[1] as string] as string, table: found[2] as string, object: found[3] as string } };
  const declared = chain.exec(line);
  if (declared !== null) return { kind: 'touched', object: { family: declared[1] as string, table: declared[2] as string, object: declared[3] as string } };
  const whole = table.exec(line);
  if (whole !== null) return { kind: 'touched', object: { family: whole[2] as string, table: whole[1] as string } };
  const closed = generation.exec(line.trimEnd());
  if (closed !== null) return { kind: 'generation', generation: Number(closed[1]), pid: Number(closed[2]), comm: closed[3] as string };
  return /^ ?EVENT:/.test(line) ? { kind: 'unnamed' } : { kind: 'other' };
}
