// The command line: finds the command, reads its options, runs it, and turns whatever happens into one line and an exit code.
import { readFileSync } from 'node:fs';
import { failure } from '../shared/errors.ts';
import { type Command, type Io, nearest, type Parsed, parseCommandLine, textOf } from './command.ts';
import { type Entry, entries, loadCommand } from './commands/index.ts';
import { exitCodeFor, runProcess, sentence } from './process.ts';

/** Runs one command line (without `node` and the script) and resolves to the exit code; never throws. */
export async function main(words: readonly string[], io: Io): Promise<number> {
  try {
    return await dispatch(words, io);
  } catch (error) {
    io.stderr.write(`portreeve: ${sentence(error, io.env)}\n`);
    return exitCodeFor(error);
  }
}

/** The version of package.json. */
export function version(): string {
  const manifest: unknown = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
  return (manifest as { readonly version: string }).version;
}

if (import.meta.main) await runProcess(main);

async function dispatch(words: readonly string[], io: Io): Promise<number> {
  const [name, ...rest] = words;
  if (name === undefined) {
    io.stderr.write(await helpOn(undefined));
    return 2;
  }
  if (name === '--version' || name === '-V' || name === 'version') return print(io, `portreeve ${version()}\n`);
  if (name === '--help' || name === '-h') return print(io, await helpOn(undefined));
  if (name === '__complete') return (await import('./complete.ts')).complete(rest, io);
  if (name === 'help') return print(io, await helpOn(rest[0]));
  const entry = entryOf(name);
  if (wantsHelp(rest)) return print(io, await helpOn(name));
  const command = await loadCommand(entry);
  return await command.run(await parsedLine(command, rest, io), io);
}

/** Reads the words; what neither they nor the environment say is taken from the configuration's context. */
async function parsedLine(command: Command, words: readonly string[], io: Io): Promise<Parsed> {
  const parsed = parseCommandLine(command, words, io.env);
  if (!command.options.some((option) => option.name === 'context')) return parsed;
  const { readConfig, withContext } = await import('./config.ts');
  return parseCommandLine(command, words, withContext(io.env, await readConfig(io.env), textOf(parsed, 'context')));
}

/** Help on one command, or on all; its code is loaded only when it is asked for. */
async function helpOn(name: string | undefined): Promise<string> {
  const { commandHelp, overview } = await import('./help.ts');
  return name === undefined ? overview(entries) : commandHelp(await loadCommand(entryOf(name)));
}

function entryOf(name: string): Entry {
  const entry = entries.find((candidate) => candidate.name === name);
  if (entry !== undefined) return entry;
  const meant = nearest(
    name,
    entries.map((candidate) => candidate.name),
  );
  const kind = name.startsWith('-') ? 'option' : 'command';
  throw failure('USAGE', [`unknown ${kind} ${name}${meant === undefined ? '' : ` (did you mean ${meant}?)`}; see portreeve --help`]);
}

// What follows `--` belongs to the command, even if it looks like a question for help.
function wantsHelp(words: readonly string[]): boolean {
  const end = words.indexOf('--');
  return words.slice(0, end < 0 ? words.length : end).some((word) => word === '--help' || word === '-h');
}

function print(io: Io, text: string): number {
  io.stdout.write(text);
  return 0;
}
