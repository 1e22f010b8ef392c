// Captures of sound nodes, edited so that they have one fault: the files are read as the product reads them, the finding must name the cause, and the same capture
// without the fault must not have it.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { checkNode } from '../../cli/commands/check.run.ts';
import { readObjects } from '../../collector/kubernetes/objects.ts';
import type { Finding } from '../../shared/model/finding.ts';
import { captureFiles, fixtures } from './captures.ts';

/** A file that is edited, or one that is added. */
export type Edit = readonly [file: string, by: (text: string) => string];

export interface EditedCase {
  readonly name: string;
  readonly capture: string;
  /** What the capture is given before the fault, for lack of it. */
  readonly given?: readonly Edit[];
  readonly edits: readonly Edit[];
  readonly cause: string;
  /** How many findings of the cause; absent: one. */
  readonly count?: number;
  readonly expect: Partial<Record<keyof Finding, unknown>>;
  /** The same without the fault, where it is not the capture as it is. */
  readonly twin?: readonly Edit[];
  /** Milliseconds since 1970; absent: 0. */
  readonly now?: number;
}

// biome-ignore lint/suspicious/noExplicitAny: objects of captures as they stand in JSON
export type Json = any;

export const added = (file: string, content: string): Edit => [file, () => content];
export const replaced = (file: string, pattern: RegExp, by: string): Edit => [file, (text) => text.replace(pattern, by)];
export const json = (file: string, by: (value: Json) => unknown): Edit => [file, (text) => JSON.stringify(by(JSON.parse(text)))];
export const sysctl = (name: string, value: string): Edit => [
  'sysctl.txt',
  (text) => `${text.replace(new RegExp(`^${name.replaceAll('.', '\\.')} ?=.*\n`, 'm'), '')}${name} = ${value}\n`,
];
/** Edits one object of a list, or takes it away where nothing is returned. */
export const item = (file: string, name: string, by: (object: Json) => unknown): Edit =>
  json(file, (list) => ({ ...list, items: list.items.flatMap((each: Json) => (each.metadata.name === name ? (by(each) ?? []) : each)) }));
/** Adds objects to a list. */
export const more = (file: string, ...objects: readonly unknown[]): Edit => [
  file,
  (text) => JSON.stringify({ kind: 'List', items: [...(text === '' ? [] : JSON.parse(text).items), ...objects] }),
];

/** The rules of another capture behind those of the first, as a program that is started later adds them. */
export const withRulesOf = (capture: string, folder = ''): Edit => [
  'iptables-save.txt',
  (text) => {
    const theirs = readFileSync(join(fixtures, capture, folder, 'iptables-save.txt'), 'utf8');
    return [...theirs.matchAll(/^\*(\w+)\n([\s\S]*?)^COMMIT$/gm)].reduce((all, [, table = '', body = '']) => withTable(all, table, body), text);
  },
];
function withTable(text: string, table: string, body: string): string {
  const lines = body.trim().split('\n');
  const own = new RegExp(`^\\*${table}\\n([\\s\\S]*?)^COMMIT$`, 'm').exec(text)?.[0];
  if (own === undefined) return `${text}*${table}\n${body}COMMIT\n`;
  const builtIn = lines.filter((line) => /^:[A-Z]+ (ACCEPT|DROP)/.test(line));
  const chains = lines.filter((line) => line.startsWith(':') && !builtIn.includes(line));
  const policies = builtIn.reduce((all, line) => all.replace(new RegExp(`^${line.split(' ')[0]} .*$`, 'm'), line), own);
  const rules = lines.filter((line) => line.startsWith('-A'));
  return text.replace(
    own,
    policies.replace(/^(\*\w+\n)/, `$1${chains.map((line) => `${line}\n`).join('')}`).replace(/^COMMIT$/m, `${rules.join('\n')}\nCOMMIT`),
  );
}
/** Runs cases as tests of one file. */
export function testEdited(cases: readonly EditedCase[]): void {
  for (const { name, capture, given = [], edits, cause, count, expect, twin, now } of cases) {
    t.test(name, (t) => {
      const all = findingsOf({ capture, edits: [...given, ...edits], now });
      const found = all.filter((finding) => finding.cause === cause);
      t.match(found[0], expect);
      t.equal(found.length, count ?? 1, all.map(({ cause, port, summary }) => `${cause} ${port} ${summary}`).join('\n'));
      const without = findingsOf({ capture, edits: [...given, ...(twin ?? [])], now }).filter((finding) => finding.cause === cause);
      t.same(without, [], 'without the fault it is not said');
      t.end();
    });
  }
}

interface Edited {
  readonly capture: string;
  readonly edits: readonly Edit[];
  readonly now?: number | undefined;
}

/** The findings of an edited capture. */
export function findingsOf({ capture, edits, now = 0 }: Edited): readonly Finding[] {
  const files = new Map(captureFiles(capture));
  for (const [file, by] of edits) {
    const before = files.get(file)?.toString('utf8') ?? '';
    const after = by(before);
    if (after === before) throw new Error(`${file} was not changed`);
    files.set(file, Buffer.from(after));
  }
  const objectFiles = ['services.json', 'endpointslices.json', 'nodes.json', 'pods.json'].flatMap((name) => {
    const bytes = files.get(name);
    return bytes === undefined ? [] : [{ name, text: bytes.toString('utf8') }];
  });
  const checked = checkNode({ files, objects: readObjects(objectFiles).objects, now });
  if (checked === undefined) throw new Error('the capture says which node it is of');
  return checked.findings;
}
