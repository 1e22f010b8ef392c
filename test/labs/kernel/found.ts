// Rulesets on which kernel and walk once disagreed, each shrunk to what tells them apart: replayed in every run, and written by a run that finds a new one.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Draft, Generated } from './contest.ts';

const folder = join(import.meta.dirname, 'found');

export interface Found {
  /** What the kernel does, in a sentence. */
  readonly why: string;
  readonly generated: Generated;
  readonly drafts: readonly Draft[];
}

/** All of them, by file name. */
export function foundCases(): readonly (readonly [name: string, found: Found])[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith('.json'))
    .sort()
    .map((name) => [name.slice(0, -5), JSON.parse(readFileSync(join(folder, name), 'utf8')) as Found]);
}

/** Writes a new one for a person to name and to say why; returns the file. */
export function keepFound(found: Found): string {
  mkdirSync(folder, { recursive: true });
  const file = join(folder, `new-${Date.now()}.json`);
  writeFileSync(file, `${JSON.stringify(found, null, 2)}\n`);
  return file;
}
