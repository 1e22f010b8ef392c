// `portreeve man`: the manual pages, made from the same tables as the help.
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { failure, reasonOf } from '../../shared/errors.ts';
import { type Command, exitCodes, type Option, textOf } from '../command.ts';
import { helpOption, optionSummary, usageLine } from '../help.ts';
import { loadCommands } from './index.ts';

export const man: Command = {
  name: 'man',
  summary: 'print the manual pages',
  usage: '[COMMAND] [--out DIR]',
  description: 'Without a name the page of all commands; with one that of the command. With --out all of them are written: portreeve.1, portreeve-explain.1 …',
  options: [{ name: 'out', value: 'DIR', summary: 'write all pages to this directory', names: 'directory' }],
  places: ['command'],
  examples: ['portreeve man | man -l -', 'portreeve man explain | man -l -', 'portreeve man --out /usr/local/share/man/man1'],
  async run(parsed, io) {
    const commands = await loadCommands();
    const [name, ...more] = parsed.positionals;
    const [out, command] = [textOf(parsed, 'out'), commands.find((each) => each.name === name)];
    if (more.length > 0 || (name !== undefined && command === undefined))
      throw failure('USAGE', [`man ${parsed.positionals.join(' ')}: the name of one command is wanted`]);
    if (out === undefined) io.stdout.write(command === undefined ? overviewPage(commands) : commandPage(command));
    else await writePages(out, commands);
    return 0;
  },
};

async function writePages(directory: string, commands: readonly Command[]): Promise<void> {
  const pages = [['portreeve', overviewPage(commands)] as const, ...commands.map((command) => [`portreeve-${command.name}`, commandPage(command)] as const)];
  try {
    await mkdir(directory, { recursive: true });
    for (const [name, text] of pages) await writeFile(join(directory, `${name}.1`), text);
  } catch (error) {
    throw failure('INPUT_UNREADABLE', [directory, reasonOf(error)], error);
  }
}

function overviewPage(commands: readonly Command[]): string {
  return [
    '.TH PORTREEVE 1',
    '.SH NAME',
    'portreeve \\- says whether clients get in through the NodePorts of a Kubernetes cluster, and if not, why',
    '.SH SYNOPSIS',
    '.B portreeve',
    '.I COMMAND',
    '[OPTION...]',
    '.SH COMMANDS',
    ...commands.flatMap(section),
    ...exitStatus(),
    ...environment(),
    '.SH FILES',
    ...entry('~/.config/portreeve/config.yaml', 'contexts with the settings of clients; portreeve config tells more'),
    '.SH SEE ALSO',
    commands.map(({ name }) => `.BR portreeve\\-${name} (1)`).join(',\n'),
    '',
  ].join('\n');
}

/** The page of one command. */
function commandPage(command: Command): string {
  const { name, summary } = command;
  return [
    `.TH PORTREEVE\\-${name.toUpperCase()} 1`,
    '.SH NAME',
    `portreeve\\-${name} \\- ${roff(summary)}`,
    '.SH SYNOPSIS',
    `.B ${roff(usageLine(name, command.usage))}`,
    ...(command.description === undefined ? [] : ['.SH DESCRIPTION', ...paragraphs(command.description)]),
    '.SH OPTIONS',
    ...optionEntries(command),
    ...(command.examples === undefined ? [] : ['.SH EXAMPLES', ...exampleLines(command)]),
    ...exitStatus(),
    ...environment(),
    '.SH SEE ALSO',
    '.BR portreeve (1)',
    '',
  ].join('\n');
}

function section(command: Command): string[] {
  return [
    `.SS ${roff(usageLine(command.name, command.usage))}`,
    roff(sentence(command.summary)),
    ...(command.description === undefined ? [] : ['.PP', ...paragraphs(command.description)]),
    ...optionEntries(command),
    ...exampleLines(command),
  ];
}

// A line that is indented (a file to copy) stays a line.
const paragraphs = (text: string): string[] =>
  text
    .trim()
    .split('\n')
    .flatMap((line) => (line === '' ? ['.PP'] : line.startsWith('  ') ? ['.nf', roff(line), '.fi'] : [roff(line)]));
const optionEntries = (command: Command): string[] => [...command.options, helpOption].flatMap((option) => entry(optionNames(option), optionSummary(option)));
const exampleLines = (command: Command): string[] => (command.examples ?? []).flatMap((example) => ['.PP', '.nf', roff(example), '.fi']);

const entry = (name: string, text: string): string[] => ['.TP', `.B ${roff(name)}`, roff(sentence(text))];
const optionNames = ({ name, short, value }: Option): string => `${short === undefined ? '' : `-${short}, `}--${name}${value === undefined ? '' : ` ${value}`}`;
const exitStatus = (): readonly string[] => ['.SH EXIT STATUS', ...exitCodes.flatMap(([code, text]) => ['.TP', `.B ${code}`, sentence(text)])];
const environment = (): readonly string[] => [
  '.SH ENVIRONMENT',
  ...entry(
    'PORTREEVE_SERVER, PORTREEVE_TOKEN_FILE, PORTREEVE_CA_FILE, PORTREEVE_CONTEXT, PORTREEVE_NAMESPACE, PORTREEVE_TIMEOUT',
    'in place of the options of these names',
  ),
  ...entry('PORTREEVE_CONFIG', 'the configuration file'),
  ...entry('PORTREEVE_DEBUG', 'when set, errors are shown with their stack'),
  ...entry('NO_COLOR', 'when set, nothing is coloured'),
];
const sentence = (text: string): string => `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
// A dot or an apostrophe at the start of a line is a request to roff, a backslash an escape, a bare dash a hyphen that cannot be copied.
const roff = (text: string): string =>
  text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll('…', '...')
    .replace(/^([.'])/, '\\&$1');
