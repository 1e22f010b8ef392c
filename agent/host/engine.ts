// Trades the engine's speed for memory while a node is small: code of the optimizing compiler and what it keeps for it take 8 MB, and save nothing where a
// change costs milliseconds.
import { setFlagsFromString } from 'node:v8';

/** Facts of a node from which on speed counts for more: a change of a rule that all NodePorts come by has each of them judged anew. */
const factsOfLargeNode = 500;

/** Facts from which on a heap that may grow by most of its size before it is collected would hold too much. */
const factsOfHugeNode = 4_000;

/** Started to be small, as the agent's launcher does (cli/portreeve), and not within another program. */
const isOurs = process.execArgv.includes('--optimize-for-size');
let size: NodeSize | undefined;

type NodeSize = 'small' | 'large' | 'huge';

/** Fits the engine to a node with so many facts. */
export function fitEngine(facts: number): void {
  const wanted = facts < factsOfLargeNode ? 'small' : facts < factsOfHugeNode ? 'large' : 'huge';
  if (!isOurs || wanted === size) return;
  size = wanted;
  setFlagsFromString(wanted === 'small' ? '--no-maglev' : '--maglev');
  // A change that all NodePorts come by makes some ten megabytes: with the launcher's 20 % each of them would have all garbage collected.
  setFlagsFromString(`--heap-growing-percent=${wanted === 'large' ? 80 : 20}`);
}
