// Reads single chains and sets again: `iptables -t TABLE -S CHAIN -v`, whose cost does not grow with the rules of the node, and `nft -j list chain`.
import { listedChain } from '../../shared/netfilter/iptables.listing.ts';
import type { Machine } from '../host/machine.ts';
import type { Part } from '../plan.ts';

/** Texts of what was read; null: it is not there any more. `unreadable`: one could not be read, so everything is to be read. */
export type PartsReading =
  | { readonly kind: 'read'; readonly parts: readonly { readonly part: Part; readonly text: string | null }[] }
  | { readonly kind: 'unreadable'; readonly why: string };

/** Programs that run at the same time. */
const atOnce = 4;

/**
 * The words that list chains of the tables that a save command dumps: `iptables-save -c` → `iptables`, `/x/xtables-nft-multi ip6tables-save -c` →
 * `/x/xtables-nft-multi ip6tables`. Undefined for what is no save command.
 */
export function listWords(saveCommand: string): readonly [string, ...string[]] | undefined {
  const words = saveCommand.split(' ').filter((word) => !word.startsWith('-'));
  const last = words.at(-1);
  const [first, ...rest] = [...words.slice(0, -1), last?.replace(/-save$/, '') ?? ''];
  return last?.endsWith('-save') === true && first !== undefined && first !== '' ? [first, ...rest] : undefined;
}

/** Reads chains of iptables-nft with the program that dumped their tables. */
export function readChains(machine: Machine, words: readonly [string, ...string[]], parts: readonly Part[]): Promise<PartsReading> {
  const [command, ...before] = words;
  return readEach(parts, async ({ table, object }) => {
    const outcome = await machine.run(command, [...before, '-t', table, '-S', object, '-v']);
    if (outcome.kind === 'missing') return { why: `${command} is not installed` };
    if (outcome.kind === 'failed') return /No chain\/target\/match by that name/.test(outcome.reason) ? null : { why: outcome.reason };
    const text = outcome.stdout.toString('utf8');
    return listedChain(text) === object ? text : { why: `what it printed is no listing of ${object}` };
  });
}

/** Reads chains and sets of native tables. */
export function readNative(machine: Machine, parts: readonly Part[]): Promise<PartsReading> {
  return readEach(parts, async ({ family, table, object, kind }) => {
    const outcome = await machine.run('nft', ['-j', 'list', kind, family, table, object]);
    if (outcome.kind === 'missing') return { why: 'nft is not installed' };
    if (outcome.kind === 'failed') return outcome.reason.includes('No such file or directory') ? null : { why: outcome.reason };
    return outcome.stdout.toString('utf8');
  });
}

type Read = string | null | { readonly why: string };

async function readEach(parts: readonly Part[], read: (part: Part) => Promise<Read>): Promise<PartsReading> {
  const results = new Array<{ readonly part: Part; readonly text: string | null }>(parts.length);
  let next = 0;
  let why: string | undefined;
  const worker = async (): Promise<void> => {
    while (next < parts.length && why === undefined) {
      const index = next++;
      const part = parts[index] as Part;
      const found = part.gone ? null : await read(part);
      if (found !== null && typeof found === 'object') why ??= `${part.family} ${part.table} ${part.object}: ${found.why}`;
      else results[index] = { part, text: found };
    }
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, parts.length) }, worker));
  return why === undefined ? { kind: 'read', parts: results } : { kind: 'unreadable', why };
}
