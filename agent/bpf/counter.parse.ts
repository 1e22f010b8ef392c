// Which command shows the counter of one rule or policy, and what it says: a ruleset of hundreds of thousands of rules is not dumped for one number.
import type { Decider } from '../../shared/model/outcome.ts';

/** The command that prints the decider with its counter; undefined where there is none. */
export function counterCommand(decider: Decider): readonly [string, ...string[]] | undefined {
  const { by, backend, family, table, chain, rule, handle } = decider;
  if ((by !== 'rule' && by !== 'policy') || table === undefined || chain === undefined) return undefined;
  if (backend === 'nft')
    return by === 'rule' && handle !== undefined && family !== undefined ? ['nft', '-a', 'list', 'chain', family, table, chain] : undefined;
  const tool = `${family === 'ip6' ? 'ip6tables' : 'iptables'}-${backend === 'legacy' ? 'legacy' : 'nft'}`;
  if (by === 'policy') return [tool, '-t', table, '-v', '-S', chain];
  return rule === undefined ? undefined : [tool, '-t', table, '-v', '-S', chain, String(rule)];
}

/** The packets that the decider has counted, from the output of its command; undefined when it is not there (any more) or does not count. */
export function readCounter(decider: Decider, output: string): bigint | undefined {
  if (decider.backend === 'nft') {
    const line = output.split('\n').find((each) => each.trimEnd().endsWith(`# handle ${decider.handle}`));
    const packets = /\bcounter packets (\d+)/.exec(withoutQuotes(line ?? ''))?.[1];
    return packets === undefined ? undefined : BigInt(packets);
  }
  for (const line of output.split('\n')) {
    const found = / -c (\d+) \d+(?= -[jg] |$)/.exec(withoutQuotes(line));
    if (found === null) continue;
    const plain = line.slice(0, found.index) + line.slice(found.index + found[0].length);
    if (decider.by === 'policy' ? plain.startsWith(`-P ${decider.chain} `) : plain === decider.text) return BigInt(found[1] as string);
  }
  return undefined;
}

// A comment may hold anything, also what looks like a counter; everything else keeps its place.
const withoutQuotes = (line: string): string => line.replace(/"(?:[^"\\]|\\.)*"/g, (quoted) => '"'.repeat(quoted.length));
