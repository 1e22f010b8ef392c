// The help texts, made from the table of commands and each command's table of options.
import { type Command, exitCodes, type Option } from './command.ts';
import type { Entry } from './commands/index.ts';

/** `portreeve --help`. */
export function overview(entries: readonly Pick<Entry, 'name' | 'summary'>[]): string {
  return [
    ...wrap('portreeve says for every node and every NodePort whether clients get in, and if not, which rule, process and change closed it.'),
    '',
    'usage: portreeve COMMAND [OPTION…]',
    '',
    ...columns(entries.map(({ name, summary }) => [name, summary])),
    '',
    'portreeve COMMAND --help tells more; portreeve --version prints the version.',
    'Exit codes:',
    ...exitCodes.map(([code, text]) => `  ${code}  ${text}`),
    '',
  ].join('\n');
}

/** `portreeve COMMAND --help`. */
export function commandHelp(command: Command): string {
  const { name, summary, usage, description, examples = [] } = command;
  const options = [...command.options, helpOption];
  return [
    `portreeve ${name}: ${summary}`,
    '',
    `usage: ${usageLine(name, usage)}`,
    ...(description === undefined ? [] : ['', ...description.trim().split('\n').flatMap(wrap)]),
    '',
    ...columns(options.map((option) => [optionText(option), optionSummary(option)])),
    ...(examples.length === 0 ? [] : ['', 'examples:', ...examples.map((example) => `  ${example}`)]),
    '',
  ].join('\n');
}

/** `portreeve explain NODE PORT[/PROTO]`, with `[OPTION…]` where the usage does not name options itself. */
export function usageLine(name: string, usage: string): string {
  const rest = usage === '' ? '[OPTION…]' : /--|OPTION/.test(usage) ? usage : `${usage} [OPTION…]`;
  return `portreeve ${name} ${rest}`;
}

/** `-o, --output FORM`. */
export function optionText({ name, short, value }: Option): string {
  return `${short === undefined ? '' : `-${short}, `}--${name}${value === undefined ? '' : ` ${value}`}`;
}

/** The summary of an option with what can be said of its values. */
export function optionSummary(option: Option): string {
  const notes = [
    option.choices === undefined ? undefined : option.choices.join('|'),
    option.default === undefined ? undefined : `default ${option.default}`,
    option.env === undefined ? undefined : `or ${option.env}`,
    option.multiple === true ? 'may be repeated' : undefined,
  ].filter((note) => note !== undefined);
  return notes.length === 0 ? option.summary : `${option.summary} (${notes.join('; ')})`;
}

/** The option that every command has. */
export const helpOption: Option = { name: 'help', short: 'h', summary: 'show this help' };

const widthMax = 100;

// Breaks a paragraph at spaces; words that are longer than a line stay whole.
function wrap(text: string): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    const longer = line === '' ? word : `${line} ${word}`;
    if (longer.length > widthMax && line !== '') {
      lines.push(line);
      line = word;
    } else line = longer;
  }
  return [...lines, line];
}

function columns(rows: readonly (readonly [string, string])[]): string[] {
  const width = Math.max(...rows.map(([left]) => left.length));
  return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`);
}
