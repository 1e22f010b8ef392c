// Native nf_tables tables, listed one by one. Tables that iptables-nft owns are read from iptables-save: listing them through nft takes minutes.
import { reasonOf } from '../../shared/errors.ts';
import type { CaptureFiles } from '../../shared/netfilter/node.ts';
import type { Machine } from '../host/machine.ts';
import { hasNoNfTables, incompatibleTables, tablesOf } from './iptables.parse.ts';
import { type Listed, listTable } from './nftables.list.ts';
import { listTableNames } from './nftables.names.ts';
import { mergeLists, type NftTable } from './nftables.parse.ts';
import { never, type Reading, type Source } from './source.ts';

export const nftables: Source = {
  name: 'nftables',
  needs: { commands: ['nft'], capabilities: ['CAP_NET_ADMIN'] },
  files: ['nft.json', 'nft-large.txt'],
  wakes: ['nft'],
  pollMs: never,
  read: async (machine, known) => {
    const listed = await listTableNames(machine);
    if (listed.kind === 'missing') return await withoutNft(machine, known);
    if (listed.kind !== 'tables')
      return hasNoNfTables(listed.reason) ? { outcome: 'absent', reason: 'this kernel has no nf_tables' } : { outcome: 'failed', reason: listed.reason };
    try {
      const owned = ownedByIptables(known);
      const tables = listed.tables.filter(({ family, name }) => !owned.has(`${family} ${name}`));
      return await readEach(machine, tables, known);
    } catch (error) {
      return { outcome: 'failed', reason: `nft -j: ${reasonOf(error)}` };
    }
  },
};

async function readEach(machine: Machine, tables: readonly NftTable[], known: CaptureFiles): Promise<Reading> {
  const lists: { readonly table: NftTable; readonly listed: Listed }[] = [];
  for (const table of tables) lists.push({ table, listed: await listTable(machine, table, known) });
  const contents = (kind: Listed['kind']) => lists.flatMap(({ listed }) => (listed.kind === kind && 'content' in listed ? [listed.content] : []));
  const failed = lists.flatMap(({ table: { family, name }, listed }) => (listed.kind === 'failed' ? [`table ${family} ${name}: ${listed.reason}`] : []));
  const [json, text] = [contents('json'), contents('text')];
  if (failed.length > 0 && json.length + text.length === 0) return { outcome: 'failed', reason: failed.join('; ') };
  const files = [
    ...(json.length > 0 || text.length === 0
      ? [['nft.json', mergeLists(json), 'nft -j list table FAMILY NAME, for each table that iptables does not own'] as const]
      : []),
    ...(text.length > 0
      ? [['nft-large.txt', Buffer.concat(text), 'nft list table FAMILY NAME, for tables that are large, or of which this nft knows no JSON'] as const]
      : []),
  ];
  return {
    outcome: 'facts',
    files: new Map(files.map(([file, content]) => [file, content])),
    commands: Object.fromEntries(files.map(([file, , command]) => [file, command])),
    ...(failed.length === 0 ? {} : { unread: failed.join('; ') }),
  };
}

/** Tables that a dump of iptables (of either binary) has in whole; one that it calls incompatible holds native rules that it does not show. */
function ownedByIptables(known: CaptureFiles): ReadonlySet<string> {
  const owned = dumps.flatMap(({ file, family }) => {
    const dump = known.get(file);
    if (dump?.subarray(0, 4096).includes('(nf_tables)') !== true) return [];
    const incompatible = incompatibleTables(dump);
    return tablesOf(dump).flatMap((name) => (incompatible.includes(name) ? [] : [`${family} ${name}`]));
  });
  return new Set(owned);
}

const dumps = [
  { file: 'iptables-save.txt', family: 'ip' },
  { file: 'iptables-nft-save.txt', family: 'ip' },
  { file: 'ip6tables-save.txt', family: 'ip6' },
  { file: 'ip6tables-nft-save.txt', family: 'ip6' },
] as const;

/** Without nft, native tables are nobody's to see: that there are none can be said only where the kernel has no nf_tables, or has them for iptables alone. */
async function withoutNft(machine: Machine, known: CaptureFiles): Promise<Reading> {
  const incompatible = dumps.flatMap(({ file, family }) => incompatibleTables(known.get(file)).map((name) => `${family} ${name}`));
  if (incompatible.length > 0) return { outcome: 'failed', reason: `nft is not installed, and the table ${incompatible.join(', ')} is written natively` };
  const modules = await machine.read('/proc/modules');
  const loaded = modules.kind === 'done' ? modules.content.toString('latin1') : '';
  if (!/^nf_tables /m.test(loaded)) return { outcome: 'absent', reason: 'nft is not installed' };
  return { outcome: 'failed', reason: 'nft is not installed, and the kernel has nf_tables loaded: tables other than those of iptables cannot be seen' };
}
