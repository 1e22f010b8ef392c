// Aligned columns for a terminal.

/** Rows under a head, columns two spaces apart, no space at the ends of lines; ends in a newline. Control characters in cells are shown as �: a cell is never a line of its own. */
export function tableText(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows.map((row) => row.map(printable))];
  const widths = head.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)));
  return all
    .map(
      (row) =>
        `${row
          .map((cell, column) => cell.padEnd(widths[column] ?? 0))
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('');
}

/** Text of others without the characters that a terminal obeys. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for.
export const printable = (text: string): string => text.replaceAll(/\s*\n\s*/g, ' ').replaceAll(/[\u0000-\u001f\u007f-\u009f]/g, '�');

/** A time span in the largest unit that fits: `45s`, `12m`, `3h`, `5d`. */
export function spanText(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1_000));
  if (seconds < 120) return `${seconds}s`;
  if (seconds < 7_200) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3_600)}h`;
  return `${Math.floor(seconds / 86_400)}d`;
}
