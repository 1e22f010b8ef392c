// Reads the lines of `nft monitor`: the objects that a transaction changed, and the line that closes it with its process.

/** A chain or set that a transaction touched, or a whole table (no `object`). */
export interface TouchedObject {
  readonly family: string;
  readonly table: string;
  /** Name of the chain, set or map; absent when the table itself came or went. */
  readonly object?: string;
}

export type NftLine =
  | { readonly kind: 'touched'; readonly object: TouchedObject }
  /** End of a transaction. `pid` is that of the initial pid namespace, `comm` is cut to 15 characters. */
  | { readonly kind: 'generation'; readonly generation: number; readonly pid: number; readonly comm: string }
  /** nft lost messages or could not read one: what has changed is not known. */
  | { readonly kind: 'lost'; readonly reason: string }
  /** Packet traces, empty lines, and further lines of an object that spans several. */
  | { readonly kind: 'other' };

const object =
  /^(?:add|create|delete|destroy|insert|replace|flush|reset) (rule|chain|set|map|element|flowtable|counter|quota|limit|secmark|synproxy|ct (?:helper|timeout|expectation)) (\S+) (\S+) (\S+)/;
const wholeTable = /^(?:add|create|delete|destroy|flush) table (\S+) (\S+)/;
const generation = /^# new generation (\d+) by process (\d+) \((.*)\)$/;
const lost = /^#? ?(?:ERROR|Error)|netlink: Error|ENOBUFS|No buffer space/;

export function readNftLine(line: string): NftLine {
  const text = line.trimEnd();
  const found = object.exec(text);
  if (found !== null) return { kind: 'touched', object: { family: found[2] as string, table: found[3] as string, object: found[4] as string } };
  const table = wholeTable.exec(text);
  if (table !== null) return { kind: 'touched', object: { family: table[1] as string, table: table[2] as string } };
  const closed = generation.exec(text);
  if (closed !== null) return { kind: 'generation', generation: Number(closed[1]), pid: Number(closed[2]), comm: closed[3] as string };
  return lost.test(text) ? { kind: 'lost', reason: text } : { kind: 'other' };
}
