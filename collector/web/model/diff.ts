// The lines that differ between the two texts of a change. Pure.

export interface DiffLine {
  readonly kind: 'same' | 'removed' | 'added' | 'skipped';
  /** For `skipped`: how many lines, in words. */
  readonly text: string;
}

/** Lines that are compared one by one; of more, what stands between equal beginnings and ends is shown as replaced. */
const comparedMax = 400;

/** What was removed and added, with up to `context` equal lines around. Null is a text that did not exist. */
export function diffLines(before: string | null, after: string | null, context = 2): DiffLine[] {
  const [old, fresh] = [linesOf(before), linesOf(after)];
  let start = 0;
  while (start < old.length && start < fresh.length && old[start] === fresh[start]) start++;
  let end = 0;
  while (end < old.length - start && end < fresh.length - start && old[old.length - 1 - end] === fresh[fresh.length - 1 - end]) end++;
  const middle = differing(old.slice(start, old.length - end), fresh.slice(start, fresh.length - end));
  return folded([...old.slice(0, start).map(same), ...middle, ...old.slice(old.length - end).map(same)], context);
}

const linesOf = (text: string | null): readonly string[] => (text === null || text === '' ? [] : text.split('\n'));
const same = (text: string): DiffLine => ({ kind: 'same', text });

/** By the longest common subsequence of lines. */
function differing(old: readonly string[], fresh: readonly string[]): DiffLine[] {
  const removed = (text: string): DiffLine => ({ kind: 'removed', text });
  const added = (text: string): DiffLine => ({ kind: 'added', text });
  if (old.length > comparedMax || fresh.length > comparedMax) return [...old.map(removed), ...fresh.map(added)];
  const lengths = commonLengths(old, fresh);
  const lines: DiffLine[] = [];
  let [i, j] = [0, 0];
  while (i < old.length || j < fresh.length) {
    if (i < old.length && j < fresh.length && old[i] === fresh[j]) {
      lines.push(same(old[i++] as string));
      j++;
    } else if (j >= fresh.length || (i < old.length && lengthAt(lengths, i + 1, j) >= lengthAt(lengths, i, j + 1))) lines.push(removed(old[i++] as string));
    else lines.push(added(fresh[j++] as string));
  }
  return lines;
}

const lengthAt = (lengths: readonly Uint16Array[], i: number, j: number): number => lengths[i]?.[j] ?? 0;

/** Lengths of the longest common subsequences of what begins at each pair of lines. */
function commonLengths(old: readonly string[], fresh: readonly string[]): readonly Uint16Array[] {
  const rows = Array.from({ length: old.length + 1 }, () => new Uint16Array(fresh.length + 1));
  for (let i = old.length - 1; i >= 0; i--)
    for (let j = fresh.length - 1; j >= 0; j--)
      (rows[i] as Uint16Array)[j] = old[i] === fresh[j] ? lengthAt(rows, i + 1, j + 1) + 1 : Math.max(lengthAt(rows, i + 1, j), lengthAt(rows, i, j + 1));
  return rows;
}

function folded(lines: readonly DiffLine[], context: number): DiffLine[] {
  const near = lines.map((_, at) => lines.slice(Math.max(0, at - context), at + context + 1).some(({ kind }) => kind !== 'same'));
  const shown: DiffLine[] = [];
  for (let at = 0; at < lines.length; ) {
    if (near[at] === true) shown.push(lines[at++] as DiffLine);
    else {
      const from = at;
      while (at < lines.length && near[at] !== true) at++;
      shown.push({ kind: 'skipped', text: at - from === 1 ? '1 equal line' : `${at - from} equal lines` });
    }
  }
  return shown;
}
