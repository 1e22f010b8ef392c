// Which chains of the five iptables tables the kernel runs by itself, and when.
import type { Hook } from './rule.ts';
import type { BaseChain } from './ruleset.ts';

/** The hook of a built-in chain; undefined for chains that are only jumped to. */
export function builtinChain(table: string, chain: string, policy: 'accept' | 'drop'): BaseChain | undefined {
  const priority = priorities.get(`${table} ${chain}`);
  if (priority === undefined) return undefined;
  const type = table === 'nat' ? 'nat' : table === 'mangle' && chain === 'OUTPUT' ? 'route' : 'filter';
  return { hook: chain.toLowerCase() as Hook, priority, type, policy };
}

const priorities: ReadonlyMap<string, number> = new Map([
  ...['PREROUTING', 'OUTPUT'].map((chain): [string, number] => [`raw ${chain}`, -300]),
  ...['PREROUTING', 'INPUT', 'FORWARD', 'OUTPUT', 'POSTROUTING'].map((chain): [string, number] => [`mangle ${chain}`, -150]),
  ...['PREROUTING', 'OUTPUT'].map((chain): [string, number] => [`nat ${chain}`, -100]),
  ...['INPUT', 'POSTROUTING'].map((chain): [string, number] => [`nat ${chain}`, 100]),
  ...['INPUT', 'FORWARD', 'OUTPUT'].map((chain): [string, number] => [`filter ${chain}`, 0]),
  ...['INPUT', 'FORWARD', 'OUTPUT'].map((chain): [string, number] => [`security ${chain}`, 50]),
]);
