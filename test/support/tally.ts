// Reads the TAP output of a whole run and says what it came to: totals, what was skipped and why, and which files failed as a whole.
import { readFileSync } from 'node:fs';

/** What a run of the tests came to. */
export interface Tally {
  readonly passed: number;
  readonly failed: number;
  /** `test/x.test.ts: name: reason`, one for each skipped test. */
  readonly skipped: readonly string[];
  /** Files that failed without one failed assertion: they did not load, crashed or ran out of time. */
  readonly brokenFiles: readonly string[];
}

/** Reads TAP as `tap --output-file` writes it. Output without totals (the run was killed) is one failure. */
export function tallyOf(tap: string): Tally {
  const totals = /^# \{ total: .*\}$/m.exec(tap)?.[0] ?? '';
  const count = (word: string): number => Number(new RegExp(`\\b${word}: (\\d+)`).exec(totals)?.[1] ?? 0);
  const { skipped, brokenFiles } = readResults(tap.split('\n'));
  return { passed: count('pass'), failed: totals === '' ? 1 : count('fail'), skipped, brokenFiles };
}

/** `12 passed, 0 failed`. */
export const totalsLine = ({ passed, failed }: Tally): string => `${passed} passed, ${failed} failed`;

if (import.meta.main) {
  const [file = ''] = process.argv.slice(2);
  const tally = tallyOf(readFileSync(file, 'utf8'));
  for (const name of tally.brokenFiles) console.log(`failed as a whole: ${name} (node ${name} shows why)`);
  for (const line of tally.skipped) console.log(`skipped: ${line}`);
  console.log(totalsLine(tally));
}

// Results of a file stand before the file's own line, so what is collected belongs to the next line without indent. Source excerpts in YAML blocks are passed over.
function readResults(lines: readonly string[]): Pick<Tally, 'skipped' | 'brokenFiles'> {
  const result = /^( *)(not )?ok \d+ - (.*?)(?: # (SKIP|TODO|time=)(.*))?$/i;
  const skipped: string[] = [];
  const brokenFiles: string[] = [];
  let pending: string[] = [];
  let failures = 0;
  let yaml: string | undefined;
  for (const line of lines) {
    if (yaml !== undefined) yaml = line === `${yaml}...` ? undefined : yaml;
    else if (/^ *---$/.test(line)) yaml = line.slice(0, -3);
    else {
      const found = result.exec(line);
      if (found === null) continue;
      const [, indent = '', not, name = '', directive = '', reason = ''] = found;
      if (indent !== '') {
        if (not !== undefined) failures++;
        if (/skip/i.test(directive)) pending.push(`${name}: ${reason.trim() || 'no reason given'}`);
        continue;
      }
      if (/skip/i.test(directive)) pending.push(reason.trim() || 'the whole file');
      skipped.push(...pending.map((text) => `${name}: ${text}`));
      if (not !== undefined && failures === 0) brokenFiles.push(name);
      pending = [];
      failures = 0;
    }
  }
  return { skipped, brokenFiles };
}
