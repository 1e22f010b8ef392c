// What one command of the command line is: its name, its options as a table (help, parsing and completion are made from it), and what it runs.
import { type ParseArgsConfig, parseArgs } from 'node:util';
import { failure, reasonOf } from '../shared/errors.ts';

/** One option, `--name VALUE` or the flag `--name`. */
export interface Option {
  /** Without the dashes. */
  readonly name: string;
  /** One letter, without the dash. */
  readonly short?: string;
  /** Placeholder of the value in the help (`URL`, `DIR`); absent: the option is a flag. */
  readonly value?: string;
  /** A few words for the help. */
  readonly summary: string;
  /** May be given several times; its value in `Parsed` is then always a list. */
  readonly multiple?: boolean;
  /** The value when it is neither given nor found in `env`. */
  readonly default?: string;
  /** An environment variable that stands in for it. */
  readonly env?:
    | 'PORTREEVE_SERVER'
    | 'PORTREEVE_COLLECTOR'
    | 'PORTREEVE_TOKEN_FILE'
    | 'PORTREEVE_CA_FILE'
    | 'PORTREEVE_CONTEXT'
    | 'PORTREEVE_TIMEOUT'
    | 'PORTREEVE_NAMESPACE'
    | 'DATABASE_URL';
  /** The only values accepted. */
  readonly choices?: readonly string[];
  /** What its values are names of, for completion. */
  readonly names?: NameKind;
}

/** What names a shell completes: files, or things that the collector (or the configuration) knows. */
export type NameKind = 'file' | 'directory' | 'node' | 'nodeport' | 'service' | 'namespace' | 'cause' | 'context' | 'incident' | 'command';

/** A command line that was read against a command's table. Flags are `true` or absent, values are text, repeated ones lists; absent means not given and without default. */
export interface Parsed {
  readonly values: Readonly<Record<string, string | boolean | readonly string[] | undefined>>;
  readonly positionals: readonly string[];
}

/** What a command may touch: where it writes, its environment, the signal that ends it (SIGINT, SIGTERM), and whether stdout takes colours. */
export interface Io {
  readonly stdout: NodeJS.WritableStream;
  readonly stderr: NodeJS.WritableStream;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly signal: AbortSignal;
  readonly colour: boolean;
}

export interface Command {
  /** `explain`, the word after `portreeve`. */
  readonly name: string;
  /** One line of `portreeve --help`. */
  readonly summary: string;
  /** What follows the name: `NODE PORT[/PROTO]`. Empty when there is nothing but options. */
  readonly usage: string;
  readonly description?: string;
  readonly options: readonly Option[];
  /** What stands in each place after the name, for completion: words to choose from, or names; the last holds for all that follow. */
  readonly places?: readonly (readonly string[] | NameKind)[];
  /** Whole command lines. */
  readonly examples?: readonly string[];
  /** Resolves to the exit code (`exitCodes`). What it throws becomes one line on stderr and the exit code that goes with it. */
  run(parsed: Parsed, io: Io): Promise<number>;
}

/** What the exit codes say. */
export const exitCodes = [
  [0, 'fine: clients get in, or are kept out by design'],
  [1, 'findings: something is wrong, or nobody can say'],
  [2, 'usage or input error'],
  [3, 'no collector, or no agent, answers'],
  [4, 'the collector does not let you ask'],
  [5, 'nothing is known to be wrong, but what is known is old'],
] as const;

/** The forms of output that every command knows. */
export const outputChoices = ['text', 'wide', 'json', 'yaml'] as const;

/** `-o json|yaml|wide|text`: the same object in every command that prints something. */
export const outputOption: Option = { name: 'output', short: 'o', value: 'FORM', summary: 'form of the output', default: 'text', choices: outputChoices };

/** The same with `name`, for lists: what each item is called, to be given to other commands. */
export const listOutputOption: Option = { ...outputOption, choices: [...outputChoices, 'name'] };

/** `-n` and `-A`, for lists of what belongs to Services. */
export const namespaceOptions: readonly Option[] = [
  { name: 'namespace', short: 'n', value: 'NAME', summary: 'only Services of this namespace', env: 'PORTREEVE_NAMESPACE', names: 'namespace' },
  { name: 'all-namespaces', short: 'A', summary: 'Services of all namespaces, whatever the environment or the configuration says' },
];

/** The namespace that is asked for; undefined: all. */
export const namespaceOf = (parsed: Parsed): string | undefined => (flagOf(parsed, 'all-namespaces') ? undefined : textOf(parsed, 'namespace'));

/** `--server URL`, for every command that asks a collector. */
export const serverOption: Option = {
  name: 'server',
  value: 'URL',
  summary: "the collector's address",
  default: 'http://127.0.0.1:7300',
  env: 'PORTREEVE_SERVER',
};

/** `--context`, `--token-file`, `--ca-file` and `--timeout`, for every command that asks a collector. */
export const accessOptions: readonly Option[] = [
  { name: 'token-file', value: 'FILE', summary: 'token for the API (portreeve token create --role view)', env: 'PORTREEVE_TOKEN_FILE', names: 'file' },
  { name: 'ca-file', value: 'FILE', summary: "authority that the collector's certificate comes from, as PEM", env: 'PORTREEVE_CA_FILE', names: 'file' },
  { name: 'context', value: 'NAME', summary: 'settings of this name in the configuration file', env: 'PORTREEVE_CONTEXT', names: 'context' },
  { name: 'timeout', value: 'TIME', summary: 'how long to wait for an answer: 500ms, 30s, 2m', default: '30s', env: 'PORTREEVE_TIMEOUT' },
];

/** The value of a text option; undefined when it was not given and has no default. */
export function textOf(parsed: Parsed, name: string): string | undefined {
  const value = parsed.values[name];
  return typeof value === 'string' ? value : undefined;
}

/** The value of an option that must be given; throws the usage error that names it. */
export function requiredText(parsed: Parsed, name: string): string {
  const value = textOf(parsed, name);
  if (value === undefined) throw failure('USAGE', [`--${name} is missing`]);
  return value;
}

/** The values of an option that may be repeated, in order. */
export function listOf(parsed: Parsed, name: string): readonly string[] {
  const value = parsed.values[name];
  return Array.isArray(value) ? value : typeof value === 'string' ? [value] : [];
}

/** The same of an option that must be given at least once; throws the usage error that names it. */
export function requiredList(parsed: Parsed, name: string): readonly string[] {
  const values = listOf(parsed, name);
  if (values.length === 0) throw failure('USAGE', [`--${name} is missing`]);
  return values;
}

/** Whether a flag was given. */
export const flagOf = (parsed: Parsed, name: string): boolean => parsed.values[name] === true;

const units: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Milliseconds of a time like `500ms`, `30s`, `2m`, `1h`, `7d`; throws the usage error that names the option. */
export function durationOf(name: string, text: string): number {
  const [, count, unit = ''] = /^(\d{1,9})(ms|s|m|h|d)$/.exec(text) ?? [];
  if (count === undefined) throw failure('USAGE', [`--${name} ${text}: a time like 500ms, 30s, 2m, 1h or 7d is wanted`]);
  return Number(count) * (units[unit] as number);
}

/** Milliseconds since 1970 of a time like `2026-01-31T14:03:22Z`, or `10m` for so long before now; undefined when it was not given. */
export function timeOf(parsed: Parsed, name: string, now: number): number | undefined {
  const text = textOf(parsed, name);
  if (text === undefined) return undefined;
  if (/^\d{1,9}(ms|s|m|h|d)$/.test(text)) return now - durationOf(name, text);
  const at = /^\d{4}-\d\d-\d\d/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(at)) throw failure('USAGE', [`--${name} ${text}: a time like 2026-01-31T14:03:22Z, or 10m for ten minutes ago, is wanted`]);
  return at;
}

/** A whole number in a range; throws the usage error that names the option and the range. Undefined when it was not given. */
export function numberOf(parsed: Parsed, name: string, range: { readonly min: number; readonly max: number }): number | undefined {
  const text = textOf(parsed, name);
  if (text === undefined) return undefined;
  const value = Number(text);
  const fits = /^\d+$/.test(text) && value >= range.min && value <= range.max;
  if (!fits) throw failure('USAGE', [`--${name} ${text}: a whole number from ${range.min} to ${range.max} is wanted`]);
  return value;
}

/** Reads the words after the command's name against its table; throws USAGE naming the option, the nearest known one and where help is. */
export function parseCommandLine(command: Pick<Command, 'name' | 'options'>, words: readonly string[], env: Io['env']): Parsed {
  checkNames(command, words);
  const { values, positionals } = readWords(command, words);
  for (const option of command.options) checkChoice(command, option, values[option.name]);
  return { values: withDefaults(command.options, values, env), positionals };
}

/** The name in `known` that differs least from `word`; undefined when none is near. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  const ranked = known.map((name) => ({ name, edits: edits(word, name) })).sort((a, b) => a.edits - b.edits);
  const best = ranked[0];
  return best !== undefined && (best.edits <= Math.max(1, Math.floor(best.name.length / 3)) || best.name.startsWith(word)) ? best.name : undefined;
}

type RawValues = Record<string, string | boolean | (string | boolean)[] | undefined>;

const helpHint = (command: Pick<Command, 'name'>): string => `see portreeve ${command.name} --help`;

// parseArgs names an unknown option but cannot say which one was meant, so names are checked before it reads the values.
function checkNames(command: Pick<Command, 'name' | 'options'>, words: readonly string[]): void {
  const { tokens } = parseArgs({ args: [...words], options: parseArgsOptions(command.options), strict: false, tokens: true, allowPositionals: true });
  for (const token of tokens) {
    if (token.kind !== 'option' || command.options.some((option) => option.name === token.name)) continue;
    const meant = token.rawName.startsWith('--')
      ? nearest(
          token.name,
          command.options.map((option) => option.name),
        )
      : undefined;
    throw failure('USAGE', [`unknown option ${token.rawName}${meant === undefined ? '' : ` (did you mean --${meant}?)`}; ${helpHint(command)}`]);
  }
}

function readWords(command: Pick<Command, 'name' | 'options'>, words: readonly string[]): { values: RawValues; positionals: string[] } {
  try {
    return parseArgs({ args: [...words], options: parseArgsOptions(command.options), allowPositionals: true });
  } catch (error) {
    throw failure('USAGE', [`${reasonOf(error).split('\n')[0]?.replace(/\.$/, '')}; ${helpHint(command)}`], error);
  }
}

function parseArgsOptions(options: readonly Option[]): NonNullable<ParseArgsConfig['options']> {
  return Object.fromEntries(
    options.map(({ name, short, value, multiple }) => [
      name,
      { type: value === undefined ? ('boolean' as const) : ('string' as const), multiple: multiple === true, ...(short === undefined ? {} : { short }) },
    ]),
  );
}

function checkChoice(command: Pick<Command, 'name'>, { name, choices }: Option, value: RawValues[string]): void {
  if (choices === undefined || value === undefined) return;
  for (const each of [value].flat()) {
    if (!choices.includes(String(each))) throw failure('USAGE', [`--${name} ${each}: one of ${choices.join(', ')} is wanted; ${helpHint(command)}`]);
  }
}

function withDefaults(options: readonly Option[], given: RawValues, env: Io['env']): Parsed['values'] {
  const entries = options.map((option) => {
    const fallback = (option.env === undefined ? undefined : env[option.env] || undefined) ?? option.default;
    const value = given[option.name] ?? (fallback !== undefined && option.multiple ? [fallback] : fallback);
    return [option.name, value] as const;
  });
  return Object.fromEntries(entries.filter(([, value]) => value !== undefined)) as Parsed['values'];
}

function edits(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[j] as number) + 1, (next[j - 1] as number) + 1));
    }
    row = next;
  }
  return row[b.length] as number;
}
