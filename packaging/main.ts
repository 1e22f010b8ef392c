// `node packaging/main.ts WHAT… [--out DIR] [--arch x64|arm64] [--compression xz|gzip]`: builds what is asked for. `make packages` asks for everything.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { packChart } from './chart.ts';
import { writeChecksums } from './checksums.ts';
import { buildDebs } from './deb.ts';
import { buildImages } from './image.ts';
import { type Architecture, architectures, root, sourceDateEpoch } from './release.ts';
import { buildExecutable } from './sea.ts';

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
const { out } = values;

type Maker = () => readonly string[] | Promise<readonly string[]>;
const makers: Readonly<Record<string, Maker>> = {
  debs: () => buildDebs({ out, architecture, compression: values.compression === 'gzip' ? 'gzip' : 'xz' }),
  images: () => buildImages({ out, architecture }),
  executable: async () => [await buildExecutable({ out, architecture })],
  chart: () => [packChart(out)],
  checksums: () => [writeChecksums(out, releaseFiles())],
};

process.stdout.write(`SOURCE_DATE_EPOCH=${sourceDateEpoch()}\n`);
for (const what of positionals) {
  const make = makers[what];
  if (make === undefined) throw new Error(`${what}: one of ${Object.keys(makers).join(', ')} is wanted`);
  for (const file of await make()) process.stdout.write(`${file}\n`);
}

function releaseFiles(): readonly string[] {
  return readdirSync(out)
    .filter((name) => name.startsWith('portreeve'))
    .map((name) => join(out, name));
}
