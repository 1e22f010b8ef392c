// `portreeve man`: the manual page, made from the same tables as the help.
import type { Command, Option } from '../command.ts';
import { helpOption, optionSummary, usageLine } from '../help.ts';
import { loadCommands } from './index.ts';

export const man: Command = {
  name: 'man',
  summary: 'print the manual page',
  usage: '',
  options: [],
  examples: ['portreeve man | man -l -'],
  async run(_parsed, io) {
    io.stdout.write(page(await loadCommands()));
    return 0;
  },
};

function page(commands: readonly Command[]): string {
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
    '.SH EXIT STATUS',
    '0 fine, 1 findings, 2 usage or input error.',
    '.SH ENVIRONMENT',
    ...entry('PORTREEVE_SERVER', "the collector's address, in place of --server"),
    ...entry('PORTREEVE_DEBUG', 'when set, errors are shown with their stack'),
    ...entry('NO_COLOR', 'when set, nothing is coloured'),
    '',
  ].join('\n');
}

function section(command: Command): string[] {
  return [
    `.SS ${roff(usageLine(command.name, command.usage))}`,
    roff(sentence(command.summary)),
    ...(command.description === undefined ? [] : ['.PP', ...command.description.trim().split('\n').map(roff)]),
    ...[...command.options, helpOption].flatMap((option) => entry(optionNames(option), optionSummary(option))),
    ...(command.examples ?? []).flatMap((example) => ['.PP', '.nf', roff(example), '.fi']),
  ];
}

const entry = (name: string, text: string): string[] => ['.TP', `.B ${roff(name)}`, roff(sentence(text))];
const optionNames = ({ name, short, value }: Option): string => `${short === undefined ? '' : `-${short}, `}--${name}${value === undefined ? '' : ` ${value}`}`;
const sentence = (text: string): string => `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
// A dot or an apostrophe at the start of a line is a request to roff, a backslash an escape, a bare dash a hyphen that cannot be copied.
const roff = (text: string): string =>
  text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll('…', '...')
    .replace(/^([.'])/, '\\&$1');
