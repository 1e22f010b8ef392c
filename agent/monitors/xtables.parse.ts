// Reads the lines of `xtables-monitor --event`: rules of iptables-nft as iptables writes them, and the process of each transaction.
import type { NftLine } from './nft.parse.ts';

const families: Readonly<Record<string, string>> = { '4': 'ip', '6': 'ip6', '0': 'arp' };
const event = /^ ?EVENT: -([460]) -t (\S+) -([A-Z]) (\S+)(.*)$/;
const base = /^ ?EVENT: # nft: (\S+) (\S+) (\S+) use /;
const table = /^ ?EVENT: nft: (NEW|DEL) table: table (\S+) (\S+) flags /;
const generation = /^NEWGEN: GENID=(\d+) PID=(\d+) NAME=(.*)$/;

/** What a native rule changes is not printed: `anything` says that something did. Elements of sets are not even told of. */
export function readXtablesLine(line: string): NftLine {
  const text = line.trimEnd();
  const found = event.exec(text);
  if (found !== null) return readEvent(found);
  const declared = base.exec(text);
  if (declared !== null)
    return { kind: 'chain', op: 'add', place: { family: declared[1] as string, table: declared[2] as string, object: declared[3] as string } };
  const whole = table.exec(text);
  if (whole !== null) return { kind: 'table', op: whole[1] === 'DEL' ? 'delete' : 'add', family: whole[3] as string, table: whole[2] as string };
  const closed = generation.exec(text);
  if (closed !== null) return { kind: 'generation', generation: Number(closed[1]), pid: Number(closed[2]), comm: closed[3] as string };
  return /^ ?EVENT:/.test(line) ? { kind: 'anything' } : { kind: 'other' };
}

function readEvent(found: RegExpExecArray): NftLine {
  const [, family, name, command, chain, rest] = found;
  const place = { family: families[family as string] as string, table: name as string, object: chain as string };
  // A chain that was renamed looks the same; nobody but a person renames one, and the next whole reading shows it.
  if (command === 'N') return { kind: 'chain', op: 'create', place };
  if (command === 'X') return { kind: 'chain', op: 'delete', place };
  return { kind: 'rule', op: command === 'D' ? 'delete' : 'add', place, text: `-A ${chain}${rest}` };
}
