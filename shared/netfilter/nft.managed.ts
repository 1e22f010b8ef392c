// Tells iptables-nft's tables in an nft listing: nft cannot print their extensions, so they are read from iptables-save.
import { isList, member } from './nft.json.ts';
import type { RawTable } from './nft.parse.ts';
import type { Hook } from './rule.ts';

/** Whether iptables-nft made this table: its name, its base chains' names and priorities are iptables', and it holds nothing that iptables cannot write. */
export function isManagedByIptables(table: RawTable): boolean {
  const priorities = tables.get(table.name);
  if (priorities === undefined || (table.family !== 'ip' && table.family !== 'ip6') || table.sets.size > 0) return false;
  for (const { name, base, rules } of table.chains.values()) {
    if (base !== undefined && (builtIn.get(name) !== base.hook || !priorities[base.hook]?.includes(base.priority))) return false;
    if (rules.some(({ json: { expr } }) => isList(expr) && expr.some((statement) => member(statement, 'vmap') !== undefined))) return false;
  }
  return true;
}

const builtIn: ReadonlyMap<string, Hook> = new Map([
  ['PREROUTING', 'prerouting'],
  ['INPUT', 'input'],
  ['FORWARD', 'forward'],
  ['OUTPUT', 'output'],
  ['POSTROUTING', 'postrouting'],
]);

type Priorities = Readonly<Partial<Record<Hook, readonly number[]>>>;

const everywhere: Priorities = { prerouting: [-150], input: [-150], forward: [-150], output: [-150], postrouting: [-150] };

/** Priorities of each built-in chain by table, as iptables registers them. Releases of iptables-nft register security at 150, the kernel's own is 50. */
const tables: ReadonlyMap<string, Priorities> = new Map([
  ['raw', { prerouting: [-300], output: [-300] }],
  ['mangle', everywhere],
  ['nat', { prerouting: [-100], input: [100], output: [-100], postrouting: [100] }],
  ['filter', { input: [0], forward: [0], output: [0] }],
  ['security', { input: [50, 150], forward: [50, 150], output: [50, 150] }],
]);
