// Where the programs are that `make build` makes: beside the bundle, in the checkout's dist, or installed on PATH.
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The path of one of our own programs; undefined when it is not there, or may not be run. */
export function ownProgram(name: string): string | undefined {
  const beside = [`./${name}`, `../../dist/${name}`].map((path) => fileURLToPath(new URL(path, import.meta.url)));
  const installed = (process.env.PATH ?? '').split(delimiter).map((directory) => join(directory, name));
  return [...beside, ...installed].find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
