// `portreeve parse FILE`: reads an iptables-save dump, says what is in it and what is not understood, and can print it back.
import type { IptablesParsed } from '../../shared/netfilter/iptables.parse.ts';
import { arrivalOf } from '../arrival.ts';

export interface ParseOptions {
  /** Writes the dump back to standard output, byte for byte; the summary then goes to standard error. */
  readonly print: boolean;
  readonly output: 'text' | 'json';
}

/** Runs the command; `-` reads standard input. Yields the exit code: 0 all is read, 1 the dump has issues, 2 the file is unreadable or no dump. */
export async function runParse(file: string, options: ParseOptions): Promise<number> {
  const read = await readFile(file);
  if (typeof read === 'string') {
    process.stderr.write(`${file} could not be read: ${read}\n`);
    return 2;
  }
  const { bytes, parsed } = read;
  if (parsed !== undefined && parsed.tables.length > 0) return await runIptables(file, parsed, options);
  return (await runOther(file, bytes, options)) ?? (await runIptables(file, parsed ?? bytes, options));
}

/** The text, and what it holds if it begins as those of iptables-save do; otherwise why it could not be read. Code is loaded while the file arrives. */
async function readFile(file: string): Promise<{ readonly bytes: Buffer; readonly parsed: IptablesParsed | undefined } | string> {
  try {
    const arrival = arrivalOf(file);
    const { readArriving } = await import('./parse.iptables.ts');
    return await readArriving(arrival);
  } catch (error) {
    return (error as Error).message;
  }
}

async function runIptables(file: string, dump: IptablesParsed | Buffer, { print, output }: ParseOptions): Promise<number> {
  const { parseIptables, printIptables, summarise, textOf } = await import('./parse.iptables.ts');
  const parsed = Buffer.isBuffer(dump) ? parseIptables(dump) : dump;
  if (print) await write(process.stdout, printIptables(parsed));
  const summary = summarise(file, parsed);
  await write(print ? process.stderr : process.stdout, output === 'json' ? `${JSON.stringify(summary, null, 2)}\n` : textOf(summary));
  if (parsed.tables.length === 0) {
    process.stderr.write(`${file} is not a dump of iptables-save: it has neither a *table line nor rules\n`);
    return 2;
  }
  return parsed.issues.length > 0 ? 1 : 0;
}

/** The same for a dump of another program; undefined when it is of none that is known. */
async function runOther(file: string, bytes: Buffer, { print, output }: ParseOptions): Promise<number | undefined> {
  const { parseOther } = await import('./parse.other.ts');
  const parsed = parseOther(file, bytes);
  if (parsed === undefined) return undefined;
  if (print) await write(process.stdout, parsed.printed);
  await write(print ? process.stderr : process.stdout, output === 'json' ? `${JSON.stringify(parsed.summary, null, 2)}\n` : parsed.text);
  return parsed.summary.issues.length > 0 ? 1 : 0;
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
