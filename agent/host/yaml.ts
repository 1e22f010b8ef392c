// Reads YAML without keeping a parser of it in memory.
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { reasonOf } from '../../shared/errors.ts';
import { run } from './run.ts';

// Beside this file in a checkout, beside the bundle in a package.
const program = fileURLToPath(new URL(`./yaml.program${extname(import.meta.url)}`, import.meta.url));
const textBytesMax = 1024 * 1024;

/** The value that a YAML text stands for, or why it is none. Never rejects; texts over 1 MiB are refused. */
export async function readYaml(text: string): Promise<{ readonly value: unknown } | { readonly error: string }> {
  if (Buffer.byteLength(text) > textBytesMax) return { error: `is larger than ${textBytesMax} bytes` };
  const outcome = await run(process.execPath, [program], { timeoutMs: 10_000, outputBytesMax: 4 * textBytesMax, input: text });
  if (outcome.kind !== 'done') return { error: outcome.kind === 'failed' ? 'is no YAML' : 'cannot be read: Node.js is gone' };
  try {
    return { value: JSON.parse(outcome.stdout.toString('utf8')) };
  } catch (error) {
    return { error: reasonOf(error) };
  }
}
