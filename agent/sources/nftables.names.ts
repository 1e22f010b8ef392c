// The names of all tables of nf_tables, without having nft load every rule of the node first.
import { reasonOf } from '../../shared/errors.ts';
import type { Machine } from '../host/machine.ts';
import { type NftTable, readTables, readTextTables } from './nftables.parse.ts';

export type TableNames = { readonly kind: 'tables'; readonly tables: readonly NftTable[] } | { readonly kind: 'missing' | 'failed'; readonly reason: string };

/**
 * `nft list tables` loads all rules, to print names alone: 126 MB and a second at 47,000 rules of iptables-nft, minutes at ten times that (nft 1.0.6).
 * `nft list flowtables` loads tables and flowtables, and prints a block for each table whether it has flowtables or not. An nft that does not know it is asked
 * the plain way.
 */
export async function listTableNames(machine: Machine): Promise<TableNames> {
  const outcome = await machine.run('nft', ['list', 'flowtables']);
  if (outcome.kind === 'missing') return { kind: 'missing', reason: 'nft is not installed' };
  if (outcome.kind === 'done') {
    const tables = readTextTables(outcome.stdout);
    if (tables !== undefined) return { kind: 'tables', tables };
    return { kind: 'failed', reason: `nft list flowtables: it prints what is no list of tables: ${JSON.stringify(outcome.stdout.toString('latin1', 0, 80))}` };
  }
  const plain = await machine.run('nft', ['-j', 'list', 'tables']);
  if (plain.kind !== 'done') return { kind: 'failed', reason: `nft list flowtables: ${outcome.reason}` };
  try {
    return { kind: 'tables', tables: readTables(plain.stdout) };
  } catch (error) {
    return { kind: 'failed', reason: `nft -j list tables: ${reasonOf(error)}` };
  }
}
