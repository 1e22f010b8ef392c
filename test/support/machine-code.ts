// Compiles the machine code that reads large dumps, for tests of it: `make build` puts it into dist, where an older one may stand.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';

const root = join(import.meta.dirname, '../..');
const source = join(root, 'shared/netfilter/machine');

/** Writes it to a file. Throws if it cannot be compiled. */
export function compileMachineCode(file: string): void {
  const compiler = join(root, 'node_modules/assemblyscript/bin/asc.js');
  execFileSync(process.execPath, [compiler, join(source, 'skim.ts'), '--config', join(source, 'asconfig.json'), '--outFile', file]);
}
