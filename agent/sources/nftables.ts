// Native nf_tables tables: `nft -j list table`, one by one. Tables that iptables-nft owns are read from iptables-save: listing them through nft takes minutes.
import { reasonOf } from '../../shared/errors.ts';
import type { CaptureFiles } from '../../shared/netfilter/node.ts';
import type { Machine } from '../host/machine.ts';
import { tablesOf } from './iptables.parse.ts';
import { listTableNames } from './nftables.names.ts';
import { mergeLists, type NftTable } from './nftables.parse.ts';
import { never, type Reading, type Source } from './source.ts';

export const nftables: Source = {
  name: 'nftables',
  needs: { commands: ['nft'], capabilities: ['CAP_NET_ADMIN'] },
  files: ['nft.json'],
  wakes: ['nft'],
  pollMs: never,
  read: async (machine, known) => {
    const listed = await listTableNames(machine);
    if (listed.kind !== 'tables') return { outcome: listed.kind === 'missing' ? 'absent' : 'failed', reason: listed.reason };
    try {
      return await readEach(
        machine,
        listed.tables.filter((table) => !ownedByIptables(table, known)),
      );
    } catch (error) {
      return { outcome: 'failed', reason: `nft -j: ${reasonOf(error)}` };
    }
  },
};

async function readEach(machine: Machine, tables: readonly NftTable[]): Promise<Reading> {
  const lists: Buffer[] = [];
  const failed: string[] = [];
  for (const { family, name } of tables) {
    const outcome = await machine.run('nft', ['-j', 'list', 'table', family, name]);
    if (outcome.kind === 'done') lists.push(outcome.stdout);
    // A table that was deleted since it was named is simply gone.
    else if (outcome.kind === 'failed' && !outcome.reason.includes('No such file or directory')) failed.push(`table ${family} ${name}: ${outcome.reason}`);
  }
  if (failed.length > 0 && lists.length === 0) return { outcome: 'failed', reason: failed.join('; ') };
  return {
    outcome: 'facts',
    files: new Map([['nft.json', mergeLists(lists)]]),
    commands: { 'nft.json': 'nft -j list table FAMILY NAME, for each table that iptables does not own' },
    ...(failed.length === 0 ? {} : { unread: failed.join('; ') }),
  };
}

/** Whether the dump of iptables (of either binary) has this table; a native table of the same name is named there as incompatible and has no `*name` line. */
function ownedByIptables({ family, name }: NftTable, known: CaptureFiles): boolean {
  if (family !== 'ip' && family !== 'ip6') return false;
  const tool = family === 'ip' ? 'iptables' : 'ip6tables';
  return [`${tool}-save.txt`, `${tool}-nft-save.txt`].some((file) => {
    const dump = known.get(file);
    return dump?.subarray(0, 200).includes('(nf_tables)') === true && tablesOf(dump).includes(name);
  });
}
