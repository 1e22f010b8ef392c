// `portreeve config`: which settings are in force, and where each comes from.
import { stringify } from 'yaml';
import { failure } from '../../shared/errors.ts';
import { accessOptions, type Command, type Io, namespaceOptions, outputOption, type Parsed, requiredText, serverOption, textOf } from '../command.ts';
import { type Config, configFile, contextName, readConfig, type Setting, settings } from '../config.ts';
import { tableText } from '../table.ts';

export const config: Command = {
  name: 'config',
  summary: 'show which settings are in force and where each comes from',
  usage: 'print|contexts|path',
  description: [
    'The file is $PORTREEVE_CONFIG, else $XDG_CONFIG_HOME/portreeve/config.yaml, else ~/.config/portreeve/config.yaml:',
    '',
    '  current-context: prod',
    '  contexts:',
    '    prod: { server: https://collector.example:7300, token-file: /home/me/.portreeve-token, namespace: shop }',
    '',
    'A flag goes before the environment, the environment before the file.',
  ].join('\n'),
  options: [
    outputOption,
    ...namespaceOptions.filter(({ name }) => name === 'namespace'),
    // Without their defaults and variables: where a value comes from is what is asked.
    ...[serverOption, ...accessOptions].map(({ default: _, env: __, ...option }) => option),
  ].map((option) => (option.name === 'namespace' ? { name: 'namespace', short: 'n', value: 'NAME', summary: option.summary } : option)),
  places: [['print', 'contexts', 'path']],
  examples: ['portreeve config print', 'portreeve config print --context staging -o json'],
  run: (parsed, io) => run(parsed, io),
};

async function run(parsed: Parsed, io: Io): Promise<number> {
  const [what, ...rest] = parsed.positionals;
  if (rest.length > 0) throw failure('USAGE', [`config ${parsed.positionals.join(' ')}: print, contexts or path is wanted`]);
  if (what === 'path') {
    io.stdout.write(`${configFile(io.env)}\n`);
    return 0;
  }
  const known = await readConfig(io.env);
  if (what === 'contexts') io.stdout.write(contextsText(known, contextName(io.env, known, textOf(parsed, 'context')), requiredText(parsed, 'output')));
  else if (what === 'print') io.stdout.write(settingsText(known, parsed, io));
  else throw failure('USAGE', ['config wants print, contexts or path']);
  return 0;
}

interface InForce {
  readonly setting: string;
  readonly value: string | null;
  readonly from: string;
}

function settingsText(known: Config, parsed: Parsed, io: Io): string {
  const asked = textOf(parsed, 'context');
  const name = contextName(io.env, known, asked);
  const context = name === undefined ? {} : known.contexts.get(name);
  if (context === undefined) throw failure('USAGE', [`context ${name} is not in ${known.file}`]);
  const from =
    asked !== undefined
      ? 'flag --context'
      : io.env['PORTREEVE_CONTEXT']
        ? 'variable PORTREEVE_CONTEXT'
        : name === undefined
          ? 'not set'
          : `file ${known.file}, current-context`;
  const rows: InForce[] = [
    { setting: 'context', value: name ?? null, from },
    ...(Object.keys(settings) as Setting[]).map((setting) => inForce(setting, { parsed, io, context, origin: `file ${known.file}, context ${name}` })),
  ];
  const form = requiredText(parsed, 'output');
  const list = { apiVersion: 'portreeve/v1', kind: 'SettingList', items: rows };
  if (form === 'json') return `${JSON.stringify(list, null, 2)}\n`;
  if (form === 'yaml') return stringify(list);
  return tableText(
    ['SETTING', 'VALUE', 'FROM'],
    rows.map(({ setting, value, from: where }) => [setting, value ?? '-', where]),
  );
}

interface Where {
  readonly parsed: Parsed;
  readonly io: Io;
  readonly context: Readonly<Partial<Record<Setting, string>>>;
  readonly origin: string;
}

function inForce(setting: Setting, { parsed, io, context, origin }: Where): InForce {
  const [flag, variable] = [textOf(parsed, setting), settings[setting]];
  if (flag !== undefined) return { setting, value: flag, from: `flag --${setting}` };
  const found = io.env[variable];
  if (found !== undefined && found !== '') return { setting, value: found, from: `variable ${variable}` };
  const own = context[setting];
  if (own !== undefined) return { setting, value: own, from: origin };
  const fallback = [serverOption, ...accessOptions].find((option) => option.name === setting)?.default;
  return fallback === undefined ? { setting, value: null, from: 'not set' } : { setting, value: fallback, from: 'default' };
}

function contextsText({ contexts }: Config, current: string | undefined, form: string): string {
  const items = [...contexts].map(([name, own]) => ({ name, current: name === current, ...own }));
  if (form === 'json') return `${JSON.stringify({ apiVersion: 'portreeve/v1', kind: 'ContextList', items }, null, 2)}\n`;
  if (form === 'yaml') return stringify({ apiVersion: 'portreeve/v1', kind: 'ContextList', items });
  if (items.length === 0) return 'no contexts\n';
  return tableText(
    ['CURRENT', 'NAME', 'SERVER', 'NAMESPACE'],
    items.map((item) => [item.current ? '*' : '', item.name, item.server ?? '-', item.namespace ?? '-']),
  );
}
