// Where portreeve-bpf is: built in this checkout, or installed on PATH.
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const built = fileURLToPath(new URL('../../dist/portreeve-bpf', import.meta.url));

/** The path of the program; undefined when there is none. */
export function bpfProgram(): string | undefined {
  const installed = (process.env.PATH ?? '').split(delimiter).map((directory) => join(directory, 'portreeve-bpf'));
  return [built, ...installed].find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
