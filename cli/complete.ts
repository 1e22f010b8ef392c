// Completes a command line: commands, options and their values from the tables, names of nodes, NodePorts and Services from the collector.
import { ask, serverOf } from './ask.ts';
import { type Command, type Io, type NameKind, type Option, parseCommandLine, textOf } from './command.ts';
import { entries, loadCommand } from './commands/index.ts';
import { readConfig, withContext } from './config.ts';
import { helpOption } from './help.ts';
import { printable } from './table.ts';

/** Milliseconds that a person at a prompt waits for names. */
const patienceMs = 1_500;

/** `__complete [--cobra] -- WORDS…`: prints what may stand in place of the last word, one a line. Never fails: a prompt has no room for errors. */
export async function complete(words: readonly string[], io: Io): Promise<number> {
  const isCobra = words[0] === '--cobra';
  const line = words.slice(words.indexOf('--') + 1);
  const found = await completions(line, io.env).catch((): Completions => ({ words: [], files: false }));
  const current = line.at(-1) ?? '';
  for (const word of found.words) if (word.startsWith(current)) io.stdout.write(`${printable(word)}\n`);
  // kubectl wants a last line with a directive: 4 for no files, 0 where files may stand.
  if (isCobra) io.stdout.write(`:${found.files ? 0 : 4}\n`);
  return 0;
}

interface Completions {
  readonly words: readonly string[];
  /** Whether the shell may also complete files. */
  readonly files: boolean;
}

const nothing: Completions = { words: [], files: false };
const chosen = (words: readonly string[]): Completions => ({ words, files: false });

async function completions(line: readonly string[], env: Io['env']): Promise<Completions> {
  const [name = '', ...rest] = line;
  if (line.length <= 1) return chosen([...entries.map((entry) => entry.name), 'help']);
  if (name === 'help') return chosen(entries.map((entry) => entry.name));
  const entry = entries.find((each) => each.name === name);
  if (entry === undefined) return nothing;
  const command = await loadCommand(entry);
  const [current = '', previous = ''] = [rest.at(-1), rest.at(-2)];
  const before = rest.slice(0, -1);
  const option = before.includes('--') ? undefined : optionOf(command, previous);
  if (option !== undefined) return option.choices !== undefined ? chosen(option.choices) : namesOf(option.names ?? 'file', { command, before, env });
  if (current.startsWith('-')) return chosen([...command.options, helpOption].map((each) => `--${each.name}`));
  const place = placeOf(command, before);
  if (place === undefined) return { words: [], files: command.places === undefined };
  return typeof place === 'string' ? namesOf(place, { command, before, env }) : chosen(place);
}

const optionOf = (command: Command, word: string): Option | undefined =>
  command.options.find((option) => option.value !== undefined && (word === `--${option.name}` || (option.short !== undefined && word === `-${option.short}`)));

/** What may stand in the place that is next. */
function placeOf({ options, places }: Command, before: readonly string[]) {
  const taken = before.filter((word, index) => !word.startsWith('-') && optionOf({ options } as Command, before[index - 1] ?? '') === undefined).length;
  return places?.[Math.min(taken, places.length - 1)];
}

interface Asking {
  readonly command: Command;
  readonly before: readonly string[];
  readonly env: Io['env'];
}

async function namesOf(kind: NameKind, asking: Asking): Promise<Completions> {
  if (kind === 'file' || kind === 'directory') return { words: [], files: true };
  if (kind === 'command') return chosen(entries.map((entry) => entry.name));
  const config = await readConfig(asking.env);
  if (kind === 'context') return chosen([...config.contexts.keys()]);
  if (kind === 'cause') return chosen((await import('../collector/causes/catalogue.ts')).catalogue.map(({ id }) => id));
  return chosen(await askedNames(kind, asking, config));
}

async function askedNames(
  kind: 'node' | 'nodeport' | 'service' | 'namespace' | 'incident',
  { command, before, env }: Asking,
  config: Awaited<ReturnType<typeof readConfig>>,
): Promise<string[]> {
  const client = { name: command.name, options: command.options };
  const context = before[before.indexOf('--context') + 1];
  const parsed = parseCommandLine(client, optionsOf(command, before), withContext(env, config, before.includes('--context') ? context : undefined));
  const server = {
    ...serverOf(textOf(parsed, 'server') === undefined ? { ...parsed, values: { ...parsed.values, server: 'http://127.0.0.1:7300' } } : parsed),
    timeoutMs: patienceMs,
  };
  const items = async (path: string) => (await ask(server, path))['items'] as readonly Readonly<Record<string, unknown>>[];
  switch (kind) {
    case 'node':
      return (await items('nodes')).map(({ name }) => String(name));
    case 'nodeport':
      return (await items('register')).map(({ port, protocol }) => (protocol === 'tcp' ? String(port) : `${port}/${protocol}`));
    case 'service':
      return [...new Set((await items('register')).map(({ service }) => String(service)))];
    case 'namespace':
      return [...new Set((await items('register')).map(({ service }) => String(service).split('/')[0] as string))];
    case 'incident':
      return (await items('incidents')).map(({ id }) => String(id));
  }
}

/** The options of a line that is not finished, with their values. */
function optionsOf(command: Command, before: readonly string[]): string[] {
  return before.flatMap((word, index) => {
    const option = optionOf(command, word);
    const value = before[index + 1];
    if (option !== undefined) return value === undefined || (option.choices !== undefined && !option.choices.includes(value)) ? [] : [word, value];
    return [];
  });
}
