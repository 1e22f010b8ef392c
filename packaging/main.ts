// `node packaging/main.ts WHAT… [--out DIR] [--arch x64|arm64] [--compression xz|gzip]`: builds what is asked for. `make packages` asks for everything.
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { buildDebs } from './deb.ts';
import { buildImages } from './image.ts';
import { type Architecture, architectures, root, sourceDateEpoch } from './release.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    out: { type: 'string', default: join(root, 'dist/packages') },
    arch: { type: 'string', default: process.arch },
    compression: { type: 'string', default: 'xz' },
  },
});
if (!Object.hasOwn(architectures, values.arch)) throw new Error(`--arch ${values.arch}: x64 or arm64 is wanted`);
const architecture = values.arch as Architecture;
const compression = values.compression === 'gzip' ? 'gzip' : 'xz';

const makers: Readonly<Record<string, () => readonly string[]>> = {
  debs: () => buildDebs({ out: values.out, architecture, compression }),
  images: () => buildImages({ out: values.out, architecture }),
};

process.stdout.write(`SOURCE_DATE_EPOCH=${sourceDateEpoch()}\n`);
for (const what of positionals) {
  const make = makers[what];
  if (make === undefined) throw new Error(`${what}: one of ${Object.keys(makers).join(', ')} is wanted`);
  for (const file of make()) process.stdout.write(`${file}\n`);
}
