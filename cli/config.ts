// The configuration file: named contexts with the settings of clients. A flag goes before the environment, the environment before the file.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { failure, reasonOf } from '../shared/errors.ts';
import type { Io, Option } from './command.ts';

/** Settings of a context, by the name of their option, and the variable that says the same. */
export const settings = {
  server: 'PORTREEVE_SERVER',
  'token-file': 'PORTREEVE_TOKEN_FILE',
  'ca-file': 'PORTREEVE_CA_FILE',
  namespace: 'PORTREEVE_NAMESPACE',
  timeout: 'PORTREEVE_TIMEOUT',
} as const satisfies Readonly<Record<string, NonNullable<Option['env']>>>;
export type Setting = keyof typeof settings;

export interface Config {
  /** Where it was looked for. */
  readonly file: string;
  readonly exists: boolean;
  readonly currentContext: string | undefined;
  readonly contexts: ReadonlyMap<string, Readonly<Partial<Record<Setting, string>>>>;
}

/** `PORTREEVE_CONFIG`, else `portreeve/config.yaml` where configurations are kept. */
export function configFile(env: Io['env']): string {
  return env['PORTREEVE_CONFIG'] || join(env['XDG_CONFIG_HOME'] || join(env['HOME'] || '/', '.config'), 'portreeve/config.yaml');
}

/** Reads the file; without one there are no contexts. Throws INPUT_UNREADABLE or INPUT_INVALID. */
export async function readConfig(env: Io['env']): Promise<Config> {
  const file = configFile(env);
  if (!existsSync(file)) {
    if (env['PORTREEVE_CONFIG']) throw failure('INPUT_UNREADABLE', [file, 'PORTREEVE_CONFIG names it, and it is not there']);
    return { file, exists: false, currentContext: undefined, contexts: new Map() };
  }
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw failure('INPUT_UNREADABLE', [file, reasonOf(error)], error);
  }
  // Most calls have no file: what reads YAML is loaded only where there is one.
  const { parse } = await import('yaml');
  let value: unknown;
  try {
    value = parse(text);
  } catch (error) {
    throw failure('INPUT_INVALID', [file, reasonOf(error).split('\n')[0] ?? ''], error);
  }
  return configOf(file, value);
}

function configOf(file: string, value: unknown): Config {
  const invalid = (reason: string) => failure('INPUT_INVALID', [file, reason]);
  const top = objectOf(value ?? {});
  if (top === undefined) throw invalid('"current-context" and "contexts" are wanted');
  const stray = Object.keys(top).find((key) => key !== 'current-context' && key !== 'contexts');
  if (stray !== undefined) throw invalid(`${stray} is not known: "current-context" and "contexts" are`);
  const contexts = objectOf(top['contexts'] ?? {});
  if (contexts === undefined) throw invalid('"contexts" names settings by context, e.g. contexts: { prod: { server: https://… } }');
  const named = Object.entries(contexts).map(([name, given]) => {
    const own = objectOf(given);
    const unknown = Object.entries(own ?? {}).find(([key, each]) => !Object.hasOwn(settings, key) || (typeof each !== 'string' && typeof each !== 'number'));
    if (own === undefined || unknown !== undefined)
      throw invalid(
        `context ${name}: ${unknown === undefined ? 'settings are wanted' : `${unknown[0]} is no setting with a text`}; known are ${Object.keys(settings).join(', ')}`,
      );
    return [name, Object.fromEntries(Object.entries(own).map(([key, each]) => [key, String(each)]))] as const;
  });
  const current = top['current-context'];
  return { file, exists: true, currentContext: typeof current === 'string' && current !== '' ? current : undefined, contexts: new Map(named) };
}

const objectOf = (value: unknown): Record<string, unknown> | undefined =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : undefined;

/** The environment with the settings of the context beneath it. `asked`: the context that a flag names. Throws USAGE for one that is not in the file. */
export function withContext(env: Io['env'], config: Config, asked: string | undefined): Io['env'] {
  const name = contextName(env, config, asked);
  if (name === undefined) return env;
  const context = config.contexts.get(name);
  if (context === undefined)
    throw failure('USAGE', [
      `context ${name} is not in ${config.file}${config.exists ? `: known are ${[...config.contexts.keys()].join(', ') || 'none'}` : ', which is not there'}`,
    ]);
  const beneath = Object.entries(context).map(([key, value]) => [settings[key as Setting], value]);
  // An empty variable counts as none.
  const set = Object.entries(env).filter(([, value]) => value !== undefined && value !== '');
  return { ...env, ...Object.fromEntries([...beneath, ...set]) };
}

/** The context in force: of the flag, of PORTREEVE_CONTEXT, or the file's own; undefined for none. */
export const contextName = (env: Io['env'], { currentContext }: Config, asked: string | undefined): string | undefined =>
  asked ?? (env['PORTREEVE_CONTEXT'] || undefined) ?? currentContext;
