// Reads the TAP output of a whole run and says what it came to: failures with what was found, what was skipped and why, totals.
//
// The reporters of tap draw for a terminal and lose their text in a pipe, so what a person must see is printed from the TAP file.
import { readFileSync } from 'node:fs';

/** One failed assertion, or one file or suite that failed without any (it did not load, crashed, or ran out of time). */
export interface Failure {
  /** File, suites, assertion. */
  readonly path: readonly string[];
  /** Lines of its diagnostics: what was expected and found, where. */
  readonly detail: readonly string[];
}

/** What a run of the tests came to. */
export interface Tally {
  readonly passed: number;
  readonly failed: number;
  readonly failures: readonly Failure[];
  /** `test/x.test.ts > name: reason`, one for each skipped test. */
  readonly skipped: readonly string[];
}

/** Reads TAP as `tap --output-file` writes it. Output without totals (the run was killed) counts as one failure more. */
export function tallyOf(tap: string): Tally {
  const totals = /^# \{ total: .*\}$/m.exec(tap)?.[0];
  const count = (word: string): number => Number(new RegExp(`\\b${word}: (\\d+)`).exec(totals ?? '')?.[1] ?? 0);
  const { failures, skipped, passed } = readResults(tap.split('\n'));
  return totals === undefined
    ? { passed, failed: failures.length + 1, failures, skipped }
    : { passed: count('pass'), failed: count('fail'), failures, skipped };
}

/** `12 passed, 0 failed`. */
export const totalsLine = ({ passed, failed }: Tally): string => `${passed} passed, ${failed} failed`;

if (import.meta.main) {
  const tally = tallyOf(readFileSync(process.argv[2] ?? '', 'utf8'));
  for (const { path, detail } of tally.failures) console.log([`failed: ${path.join(' > ')}`, ...detail.map((line) => `    ${line}`), ''].join('\n'));
  for (const line of tally.skipped) console.log(`skipped: ${line}`);
  console.log(totalsLine(tally));
}

// A suite is announced by `# Subtest: NAME` at the indent of its own result line, which follows its assertions; each level is indented by four more.
function readResults(lines: readonly string[]): Pick<Tally, 'failures' | 'skipped' | 'passed'> {
  const failures: { readonly path: readonly string[]; readonly detail: string[] }[] = [];
  const skipped: string[] = [];
  const open: { readonly name: string; readonly failuresBefore: number }[] = [];
  let passed = 0;
  let failed = false;
  for (let index = 0; index < lines.length; index++) {
    const line = lines[index] ?? '';
    const suite = /^( *)# Subtest: (.*)$/.exec(line);
    if (suite !== null) {
      open.length = (suite[1] ?? '').length / 4;
      open.push({ name: suite[2] ?? '', failuresBefore: failures.length });
    }
    const block = /^( *)---$/.exec(line);
    if (block !== null) {
      const end = lines.indexOf(`${block[1]}...`, index);
      const detail = lines.slice(index + 1, end < 0 ? lines.length : end).map((text) => text.slice(block[1]?.length));
      if (failed) failures.at(-1)?.detail.push(...detail);
      index = end < 0 ? lines.length : end;
    }
    const result = /^( *)(not )?ok \d+(?: - (.*?))?(?: # (?:(SKIP|TODO)(.*)|time=.*))?$/i.exec(line);
    if (result === null) continue;
    const [, indent = '', not, name = '', directive, reason = ''] = result;
    const depth = indent.length / 4;
    const own = open[depth];
    open.length = Math.min(open.length, depth);
    const path = [...open.map((each) => each.name), name];
    failed = not !== undefined && directive === undefined && (own === undefined || own.failuresBefore === failures.length);
    if (failed) failures.push({ path, detail: [] });
    if (directive?.toUpperCase() === 'SKIP') skipped.push(`${path.join(' > ')}: ${reason.trim() || 'no reason given'}`);
    else if (own === undefined && not === undefined) passed++;
  }
  return { failures, skipped, passed };
}
