// Skims over the lines that make up nearly all of a large dump: rules that fit a stencil, and declarations of chains with the policy that most have.
import { afterCounter, bracket } from './iptables.bytes.ts';
import { lineKind } from './iptables.lines.ts';
import type { IdRange } from './iptables.order.ts';
import type { Scan } from './iptables.scan.ts';

/**
 * Scans lines from where the scan stands, as long as they are such, and some at most; false if there was none. Only lines that begin before an offset are
 * looked at: it must be `skimMargin` bytes before the end of the text or more, and a line end before it.
 */
export function skim(scan: Scan, until: number): boolean {
  const before = scan.at;
  skimRules(scan, until);
  skimDeclarations(scan, until);
  return scan.at > before;
}

/** Bytes behind the end of a line that may be read with it. */
export const skimMargin = 12;

/** Lines scanned in one call: a call uses the code that was compiled before it began, so that it must not be one for all. */
const linesAtOnce = 64;

function skimRules(scan: Scan, until: number): void {
  const { bytes, text, names, look, lines, table, name: jump } = scan;
  if (table === undefined || scan.lastId < 0) return;
  if (lines.length === lines.capacity) lines.grow();
  const { view } = text;
  const { starts, kinds, chains } = lines;
  const last = Math.min(lines.length + linesAtOnce, lines.capacity);
  let { at, lastId } = scan;
  let line = lines.length;
  for (; at < until && line < last; line++) {
    const command = bytes[at] === bracket ? (afterCounter(bytes, at, until) ?? at) : at;
    if ((view.getInt32(command, true) & 0xffffff) !== appendCommand) break;
    const start = command + 3;
    let id = lastId;
    if (!names.isWordAt(id, start, until)) {
      id++;
      if (id >= names.length || names.tableOf(id) !== table.number || !names.isWordAt(id, start, until)) break;
    }
    const end = table.stencils.fit(start + names.lengthOf(id), jump);
    if (end < 0) break;
    starts[line] = at;
    kinds[line] = lineKind.rule;
    chains[line] = id;
    if (jump.end > 0) look.noteJump(line, table.number, jump);
    lastId = id;
    at = end;
  }
  table.ruleCount += line - lines.length;
  lines.length = line;
  scan.at = at;
  scan.lastId = lastId;
}

/** `-A `, as the first three bytes of a quad. */
const appendCommand = 0x20412d;

function skimDeclarations(scan: Scan, until: number): void {
  const { names, lines, table, name } = scan;
  if (table === undefined || scan.implicit) return;
  if (lines.length === lines.capacity) lines.grow();
  const { starts, kinds } = lines;
  const last = Math.min(lines.length + linesAtOnce, lines.capacity);
  let { at } = scan;
  let line = lines.length;
  for (; at < until && line < last; line++) {
    const end = table.stencils.fitDeclaration(at, name);
    if (end < 0 || name.end - name.start <= builtinNameMax || names.add(table.number, name, line + 1) < 0) break;
    starts[line] = at;
    kinds[line] = lineKind.chain;
    at = end;
  }
  if (line > lines.length) {
    scan.lastId = -1;
    (table.ranges.at(-1) as IdRange).end = names.length;
  }
  lines.length = line;
  scan.at = at;
}

/** The longest name of a built-in chain: longer ones need not be looked up. */
export const builtinNameMax = 'POSTROUTING'.length;
