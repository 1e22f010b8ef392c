// Lists one table of nf_tables, as JSON where that is cheap and as text where it is not, or where this nft knows no JSON.
// Measured with nft 1.0.6 on kube-proxy's table of 10,000 Services (93,000 rules): JSON 39 MB, 730 MB of memory for nft and 300 MB for the reader; text 12 MB,
// 330 MB and 205 MB. A set of 100,000 addresses costs the same in both, and so does a small table: there JSON is the form that nothing in a name can break.
import type { CaptureFiles } from '../../shared/netfilter/node.ts';
import type { Machine } from '../host/machine.ts';
import { jsonFault, type NftTable, namesTable, textFault } from './nftables.parse.ts';

export type Listed =
  | { readonly kind: 'json' | 'text'; readonly content: Buffer }
  /** It was deleted since it was named. */
  | { readonly kind: 'gone' }
  | { readonly kind: 'failed'; readonly reason: string };

/** Lists one table. `known` are the files as last read: a table that they hold as JSON is listed so again, a new one first as text, which costs less. */
export async function listTable(machine: Machine, table: NftTable, known: CaptureFiles): Promise<Listed> {
  const before = namesTable(known.get('nft.json'), table) ? await list(machine, table, 'json') : undefined;
  if (before !== undefined && !knowsNoJson(before)) return before;
  const text = await list(machine, table, 'text');
  if (text.kind !== 'text' || text.content.length > textBytesMin || before !== undefined) return text;
  const json = await list(machine, table, 'json');
  return knowsNoJson(json) ? text : json;
}

/** A table whose text is smaller is listed as JSON: about 8,000 rules of kube-proxy. */
export const textBytesMin = 1024 * 1024;

async function list(machine: Machine, { family, name }: NftTable, form: 'json' | 'text'): Promise<Listed> {
  const words = ['list', 'table', family, name];
  const outcome = await machine.run('nft', form === 'json' ? ['-j', ...words] : words);
  if (outcome.kind === 'missing') return { kind: 'failed', reason: 'nft is not installed any more' };
  if (outcome.kind === 'failed') return outcome.reason.includes('No such file or directory') ? { kind: 'gone' } : outcome;
  const fault = form === 'json' ? jsonFault(outcome.stdout) : textFault(outcome.stdout);
  return fault === undefined ? { kind: form, content: outcome.stdout } : { kind: 'failed', reason: fault };
}

/** `Error: JSON support not compiled-in`, or an nft that has no such option. */
const knowsNoJson = (listed: Listed): boolean => listed.kind === 'failed' && /JSON support not compiled|invalid option|unrecognized option/.test(listed.reason);
