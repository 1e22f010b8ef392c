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
  places: [Object.keys(shells)],
  description: 'Names of nodes, NodePorts, Services and contexts are asked of the collector while you type.',
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
  const choices = Map.groupBy(commands.flatMap((command) => command.options).filter(hasChoices), ({ name }) => name);
  // Where commands differ in what an option may be, the command that is being typed has to be known.
  const [same, other] = [true, false].map((wanted) =>
    [...choices.values()].filter((all) => (new Set(all.map((each) => each.choices.join(' '))).size === 1) === wanted),
  );
  const namesOf = ({ name, short }: Option): string[] => (short === undefined ? [`--${name}`] : [`--${name}`, `-${short}`]);
  const values = (same ?? []).flatMap(([option]) =>
    option === undefined ? [] : [`    ${namesOf(option).join(' | ')}) COMPREPLY=($(compgen -W "${option.choices.join(' ')}" -- "$current")); return ;;`],
  );
  const asking = [...new Set([...askingOptions(commands), ...(other ?? []).flatMap((all) => all.flatMap(namesOf))])];
  const asked = asking.length === 0 ? [] : [`    ${asking.join(' | ')}) _portreeve_ask; return ;;`];
  const placed = commands.filter(({ places }) => places !== undefined).map(({ name }) => name);
  return `_portreeve_ask() {
  COMPREPLY=($(compgen -W "$("\${COMP_WORDS[0]}" __complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)" -- "$current"))
}
_portreeve() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD-1]}" words
  case "$previous" in
${[...values, ...asked].join('\n')}
  esac
  case "$current" in
    -*) ;;
    *) case "\${COMP_WORDS[1]}" in
      ${placed.join(' | ')}) if [ "$COMP_CWORD" -gt 1 ]; then _portreeve_ask; return; fi ;;
    esac ;;
  esac
  case "\${COMP_WORDS[1]}" in
${cases.join('\n')}
  esac
  if [ "$COMP_CWORD" -eq 1 ]; then words="help ${commands.map(({ name }) => name).join(' ')}"; fi
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  if [ "\${#COMPREPLY[@]}" -eq 0 ]; then COMPREPLY=($(compgen -f -- "$current")); fi
}
complete -F _portreeve portreeve kubectl-portreeve
`;
}

function zsh(commands: readonly Command[]): string {
  const names = commands.map(({ name, summary }) => `    '${name}:${quoted(summary)}'`);
  const cases = commands.map((command) => {
    const specs = [...command.options, helpOption].flatMap(zshSpecs);
    const rest = command.places === undefined ? `'*:file:_files'` : `'*:name:_portreeve_ask'`;
    return `    ${command.name}) _arguments ${specs.join(' ')} ${rest} ;;`;
  });
  return `#compdef portreeve kubectl-portreeve
_portreeve_ask() {
  local -a names=(\${(f)"$("$portreeve_line[1]" __complete -- "\${(@)portreeve_line[2,-1]}" 2>/dev/null)"})
  compadd -a names
}
_portreeve() {
  local -a portreeve_line=("\${(@)words[1,CURRENT]}")
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
if [ "$funcstack[1]" = _portreeve ]; then _portreeve "$@"; else compdef _portreeve portreeve kubectl-portreeve; fi
`;
}

function zshSpecs(option: Option): string[] {
  const action = option.choices !== undefined ? `(${option.choices.join(' ')})` : isAsked(option) ? '_portreeve_ask' : '_files';
  const tail = `[${quoted(option.summary).replaceAll(/[[\]]/g, '\\$&')}]${option.value === undefined ? '' : `:${option.value}:${action}`}`;
  const repeat = option.multiple === true ? '*' : '';
  return [`'${repeat}--${option.name}${tail}'`, ...(option.short === undefined ? [] : [`'${repeat}-${option.short}${tail}'`])];
}

function fish(commands: readonly Command[]): string {
  const ask = [
    'function __portreeve_ask',
    '    set -l words (commandline -opc) (commandline -ct)',
    '    $words[1] __complete -- $words[2..-1] 2>/dev/null',
    'end',
  ];
  const lines = commands.flatMap((command) => [
    `complete -c portreeve -n __fish_use_subcommand -a ${command.name} -d '${quoted(command.summary)}'`,
    ...(command.places === undefined ? [] : [`complete -c portreeve -n '__fish_seen_subcommand_from ${command.name}' -f -a '(__portreeve_ask)'`]),
    ...[...command.options, helpOption].map((option) => fishOption(command, option)),
  ]);
  return `${[...ask, ...lines].join('\n')}\n`;
}

function fishOption(command: Command, option: Option): string {
  const parts = [`complete -c portreeve -n '__fish_seen_subcommand_from ${command.name}' -l ${option.name}`];
  if (option.short !== undefined) parts.push(`-s ${option.short}`);
  if (option.value !== undefined) parts.push('-r');
  if (option.choices !== undefined) parts.push(`-f -a '${option.choices.join(' ')}'`);
  else if (isAsked(option)) parts.push(`-f -a '(__portreeve_ask)'`);
  return [...parts, `-d '${quoted(option.summary)}'`].join(' ');
}

const words = (command: Command): string[] => [...command.options, helpOption].map(({ name }) => `--${name}`);
/** Whether what it may be is known to the collector or the configuration alone. */
const isAsked = ({ names }: Option): boolean => names !== undefined && names !== 'file' && names !== 'directory';
const askingOptions = (commands: readonly Command[]): string[] => [
  ...new Set(
    commands
      .flatMap((command) => command.options)
      .filter(isAsked)
      .flatMap(({ name, short }) => (short === undefined ? [`--${name}`] : [`--${name}`, `-${short}`])),
  ),
];
const hasChoices = (option: Option): option is Option & { readonly choices: readonly string[] } => option.choices !== undefined;
// Single quotes cannot be escaped in the same way in all three shells; a typographic one needs no escape.
const quoted = (text: string): string => text.replaceAll("'", '’');
