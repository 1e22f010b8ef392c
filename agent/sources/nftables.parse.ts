// Reads the list of tables that `nft -j list tables` prints, and joins the lists of several tables into one document.

export interface NftTable {
  readonly family: string;
  readonly name: string;
}

interface NftDocument {
  readonly nftables?: readonly Readonly<Record<string, unknown>>[];
}

/** The tables of `nft -j list tables`. Throws SyntaxError when the text is not JSON. */
export function readTables(text: Buffer): readonly NftTable[] {
  if (text.length === 0) return [];
  return (objects(text) ?? []).flatMap(({ table }) => {
    const { family, name } = (table ?? {}) as { readonly family?: unknown; readonly name?: unknown };
    return typeof family === 'string' && typeof name === 'string' ? [{ family, name }] : [];
  });
}

/** The tables of a text in which each has a block (`table ip nat {`), as `nft list flowtables` prints it; undefined when the text is none. */
export function readTextTables(text: Buffer): readonly NftTable[] | undefined {
  const lines = text.toString('utf8').split('\n');
  const tables = lines.flatMap((line) => {
    const found = /^table (\S+) (\S+) \{$/.exec(line);
    return found === null ? [] : [{ family: found[1] as string, name: found[2] as string }];
  });
  return tables.length > 0 || lines.every((line) => line.trim() === '') ? tables : undefined;
}

/** Joins `nft -j list table` documents: the metainfo of the first, and the objects of all in order. Throws SyntaxError when one is not JSON. */
export function mergeLists(lists: readonly Buffer[]): Buffer {
  if (lists.length === 1) return lists[0] as Buffer;
  const all = lists.map((list) => objects(list) ?? []);
  const metainfo = all.flat().find((each) => 'metainfo' in each);
  const rest = all.flat().filter((each) => !('metainfo' in each));
  return Buffer.from(`${JSON.stringify({ nftables: metainfo === undefined ? rest : [metainfo, ...rest] })}\n`);
}

const objects = (text: Buffer): NftDocument['nftables'] => (JSON.parse(text.toString('utf8')) as NftDocument).nftables;
