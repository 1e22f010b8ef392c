// `portreeve completion SHELL`: completion scripts made from the command tables, so that they never fall behind.
import { failure } from '../../shared/errors.ts';
import type { Command, Option } from '../command.ts';
import { helpOption } from '../help.ts';
import { loadCommands } from './index.ts';

const shells = { bash, zsh, fish } as const;

export const completion: Command = {
  name: 'completion',
  summary: 'print the completion script of a shell',
  usage: 'bash|zsh|fish',
  options: [],
  examples: ['source <(portreeve completion bash)', 'portreeve completion fish > ~/.config/fish/completions/portreeve.fish'],
  async run({ positionals }, io) {
    const [shell = ''] = positionals;
    if (!Object.hasOwn(shells, shell)) throw failure('USAGE', ['completion wants the name of a shell: bash, zsh or fish']);
    io.stdout.write(shells[shell as keyof typeof shells](await loadCommands()));
    return 0;
  },
};

function bash(commands: readonly Command[]): string {
  const cases = commands.map((command) => `    ${command.name}) words="${words(command).join(' ')}" ;;`);
  const choices = commands.flatMap((command) => command.options).filter(hasChoices);
  const values = [...new Map(choices.map((option) => [option.name, option])).values()].map((option) => {
    const names = option.short === undefined ? `--${option.name}` : `--${option.name} | -${option.short}`;
    return `    ${names}) COMPREPLY=($(compgen -W "${option.choices.join(' ')}" -- "$current")); return ;;`;
  });
  return `_portreeve() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD-1]}" words
  case "$previous" in
${values.join('\n')}
  esac
  case "\${COMP_WORDS[1]}" in
${cases.join('\n')}
  esac
  if [ "$COMP_CWORD" -eq 1 ]; then words="help ${commands.map(({ name }) => name).join(' ')}"; fi
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  if [ "\${#COMPREPLY[@]}" -eq 0 ]; then COMPREPLY=($(compgen -f -- "$current")); fi
}
complete -F _portreeve portreeve
`;
}

function zsh(commands: readonly Command[]): string {
  const names = commands.map(({ name, summary }) => `    '${name}:${quoted(summary)}'`);
  const cases = commands.map((command) => {
    const specs = [...command.options, helpOption].flatMap(zshSpecs);
    return `    ${command.name}) _arguments ${specs.join(' ')} '*:file:_files' ;;`;
  });
  return `#compdef portreeve
_portreeve() {
  local -a commands=(
${names.join('\n')}
  )
  if (( CURRENT == 2 )); then _describe command commands; return; fi
  local command=$words[2]
  shift words; (( CURRENT-- ))
  case $command in
${cases.join('\n')}
  esac
}
if [ "$funcstack[1]" = _portreeve ]; then _portreeve "$@"; else compdef _portreeve portreeve; fi
`;
}

function zshSpecs(option: Option): string[] {
  const action = option.choices === undefined ? '_files' : `(${option.choices.join(' ')})`;
  const tail = `[${quoted(option.summary).replaceAll(/[[\]]/g, '\\$&')}]${option.value === undefined ? '' : `:${option.value}:${action}`}`;
  const repeat = option.multiple === true ? '*' : '';
  return [`'${repeat}--${option.name}${tail}'`, ...(option.short === undefined ? [] : [`'${repeat}-${option.short}${tail}'`])];
}

function fish(commands: readonly Command[]): string {
  const lines = commands.flatMap((command) => [
    `complete -c portreeve -n __fish_use_subcommand -a ${command.name} -d '${quoted(command.summary)}'`,
    ...[...command.options, helpOption].map((option) => fishOption(command, option)),
  ]);
  return `${lines.join('\n')}\n`;
}

function fishOption(command: Command, option: Option): string {
  const parts = [`complete -c portreeve -n '__fish_seen_subcommand_from ${command.name}' -l ${option.name}`];
  if (option.short !== undefined) parts.push(`-s ${option.short}`);
  if (option.value !== undefined) parts.push('-r');
  if (option.choices !== undefined) parts.push(`-f -a '${option.choices.join(' ')}'`);
  return [...parts, `-d '${quoted(option.summary)}'`].join(' ');
}

const words = (command: Command): string[] => [...command.options, helpOption].map(({ name }) => `--${name}`);
const hasChoices = (option: Option): option is Option & { readonly choices: readonly string[] } => option.choices !== undefined;
// Single quotes cannot be escaped in the same way in all three shells; a typographic one needs no escape.
const quoted = (text: string): string => text.replaceAll("'", '’');
