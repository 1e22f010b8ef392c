// `portreeve parse FILE`: reads an iptables-save dump, says what is in it and what is not understood, and can print it back.
import { readFileSync } from 'node:fs';
import { type IptablesParsed, parseIptables, printIptables } from '../../shared/netfilter/iptables.parse.ts';
import { type UnknownCount, unknownOptions } from '../../shared/netfilter/iptables.unknown.ts';

export interface ParseOptions {
  /** Writes the dump back to standard output, byte for byte; the summary then goes to standard error. */
  readonly print: boolean;
  readonly output: 'text' | 'json';
}

/** Runs the command; `-` reads standard input. Yields the exit code: 0 all is read, 1 the dump has issues, 2 the file is unreadable or no dump. */
export async function runParse(file: string, { print, output }: ParseOptions): Promise<number> {
  let bytes: Buffer;
  try {
    bytes = readFileSync(file === '-' ? 0 : file);
  } catch (error) {
    process.stderr.write(`${file} could not be read: ${(error as Error).message}\n`);
    return 2;
  }
  if (bytes.length > 0 && !dumpStarts.has(bytes[0] as number)) {
    const status = await runOther(file, bytes, { print, output });
    if (status !== undefined) return status;
  }
  const parsed = parseIptables(bytes);
  if (parsed.tables.length === 0) {
    const status = await runOther(file, bytes, { print, output });
    if (status !== undefined) return status;
  }
  if (print) await write(process.stdout, printIptables(parsed));
  const summary = summarise(file, parsed);
  await write(print ? process.stderr : process.stdout, output === 'json' ? `${JSON.stringify(summary, null, 2)}\n` : textOf(summary));
  if (parsed.tables.length === 0) {
    process.stderr.write(`${file} is not a dump of iptables-save: it has neither a *table line nor rules\n`);
    return 2;
  }
  return parsed.issues.length > 0 ? 1 : 0;
}

/** What iptables-save begins with: `#` or `*`. */
const dumpStarts: ReadonlySet<number> = new Set([35, 42]);

/** The same for a dump of another program; undefined when it is of none that is known. */
async function runOther(file: string, bytes: Buffer, { print, output }: ParseOptions): Promise<number | undefined> {
  const { parseOther } = await import('./parse.other.ts');
  const parsed = parseOther(file, bytes);
  if (parsed === undefined) return undefined;
  if (print) await write(process.stdout, parsed.printed);
  await write(print ? process.stderr : process.stdout, output === 'json' ? `${JSON.stringify(parsed.summary, null, 2)}\n` : parsed.text);
  return parsed.summary.issues.length > 0 ? 1 : 0;
}

/** What `-o json` prints. */
export interface ParseSummary {
  readonly file: string;
  readonly lines: number;
  readonly bytes: number;
  readonly tables: readonly { readonly backend: string; readonly family: string; readonly name: string; readonly chains: number; readonly rules: number }[];
  readonly unknown: readonly UnknownCount[];
  readonly issues: IptablesParsed['issues'];
}

function summarise(file: string, parsed: IptablesParsed): ParseSummary {
  const tables = parsed.tables.map(({ backend, family, name, chains }) => ({ backend, family, name, chains: chains.size, rules: chains.ruleCount }));
  const issues = parsed.issues.map((issue) => ({ file, ...issue }));
  return { file, lines: parsed.dump.lineCount, bytes: parsed.dump.bytes.length, tables, unknown: unknownOptions(parsed), issues };
}

function textOf({ file, lines, tables, unknown, issues }: ParseSummary): string {
  const sum = (pick: (table: ParseSummary['tables'][number]) => number): number => tables.reduce((total, table) => total + pick(table), 0);
  const total = `${file}: ${lines} lines, ${tables.length} ${tables.length === 1 ? 'table' : 'tables'}, ${sum(({ chains }) => chains)} chains, ${sum(({ rules }) => rules)} rules`;
  const byTable = tables.map(({ backend, family, name, chains, rules }) => `  ${family} ${name} (${backend}): ${chains} chains, ${rules} rules`);
  const byName = unknown.map(({ kind, name, rules, line }) => `  unknown ${kind} ${name}: ${rules} ${rules === 1 ? 'rule' : 'rules'}, first in line ${line}`);
  const doubts = issues.map(({ line, text, reason }) => `${file}:${line}: ${reason}: ${text}`);
  return `${[total, ...byTable, ...byName, ...doubts].join('\n')}\n`;
}

/** Ends quietly when the reader is gone (`… | head`). */
function write(stream: NodeJS.WriteStream, content: Buffer | string): Promise<void> {
  return new Promise((resolve, reject) => {
    const onError = (error: NodeJS.ErrnoException): void => (error.code === 'EPIPE' ? resolve() : reject(error));
    stream.once('error', onError);
    stream.write(content, (error) => {
      if (error) return onError(error);
      stream.off('error', onError);
      resolve();
    });
  });
}
