// Programs of Debian for images: packages are unpacked into a directory, without running a script of theirs, and what is wanted is copied with the libraries it loads.
import { execFileSync } from 'node:child_process';
import { existsSync, globSync, lstatSync, mkdirSync, readFileSync, readlinkSync, realpathSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { type Architecture, architectures, root, sourceDateEpoch } from './release.ts';
import type { Tree } from './tree.ts';

/** The release of Debian that programs come from. */
const suite = 'bookworm';
const sources = [
  `deb http://deb.debian.org/debian ${suite} main`,
  `deb http://deb.debian.org/debian ${suite}-updates main`,
  `deb http://deb.debian.org/debian-security ${suite}-security main`,
];

/** Which packages were unpacked, each followed by its files. */
const contents = 'portreeve-contents';

/** A package that something in an image comes from. */
export interface DebianPackage {
  readonly name: string;
  readonly version: string;
  readonly architecture: string;
}

/** The directory that the packages are unpacked in; kept in dist until they are others. */
export function debianRoot(packages: readonly string[], architecture: Architecture): string {
  const { debian } = architectures[architecture];
  const directory = join(root, `dist/debian-${debian}`);
  const wanted = `${[...new Set(packages)].sort().join(',')}\n`;
  const mark = join(directory, 'portreeve-packages');
  const isThere = (): boolean => existsSync(mark) && readFileSync(mark, 'utf8') === wanted;
  if (isThere()) return directory;
  const made = `${directory}.${process.pid}`;
  const include = `--include=${wanted.trim()}`;
  // dpkg has no part in unpacking, so what came with which package is written down while the archives are there.
  const form = ['Package', 'Version', 'Architecture'].map((field) => `$\{${field}}`).join(' ');
  const told = `for deb in "$1"/var/cache/apt/archives/*.deb; do dpkg-deb -W --showformat '= ${form}\\n' "$deb"; dpkg-deb --fsys-tarfile "$deb" | tar -t; done >"$1/${contents}"`;
  const options = [`--extract-hook=${told}`, '--mode=root', '--variant=extract', '--format=directory', `--architectures=${debian}`, '--quiet', include];
  const env = { ...process.env, SOURCE_DATE_EPOCH: String(sourceDateEpoch()) };
  mkdirSync(join(root, 'dist'), { recursive: true });
  rmSync(made, { recursive: true, force: true });
  execFileSync('mmdebstrap', [...options, suite, made, ...sources], { env, stdio: ['ignore', 'ignore', 'inherit'] });
  writeFileSync(join(made, 'portreeve-packages'), wanted);
  // Somebody else may have been quicker, and use theirs already.
  if (isThere()) rmSync(made, { recursive: true });
  else {
    rmSync(directory, { recursive: true, force: true });
    renameSync(made, directory);
  }
  return directory;
}

/** Copies programs and plug-ins (paths, with wildcards) and every library that they, and what is in the tree already, load. Returns the packages they are of. */
export function copyPrograms(debian: string, tree: Tree, patterns: readonly string[]): readonly DebianPackage[] {
  const copied = new Set<string>();
  const copy = (path: string): void => {
    if (copied.has(path)) return;
    copied.add(path);
    const from = join(debian, path);
    if (lstatSync(from).isSymbolicLink()) {
      // Links that lead through alternatives are of no use without them.
      const real = `/${relative(debian, realpathIn(debian, path))}`;
      tree.copy(join(debian, real), path, statSync(join(debian, real)).mode & 0o755);
      copied.add(real);
    } else tree.copy(from, path, statSync(from).mode & 0o755);
  };
  for (const pattern of patterns) for (const found of globSync(join(debian, pattern)).sort()) if (statSync(found).isFile()) copy(`/${relative(debian, found)}`);
  for (let before = -1; before !== copied.size; ) {
    before = copied.size;
    for (const name of neededBy(tree)) copy(libraryOf(debian, name));
  }
  return packagesOf(debian, copied);
}

// Absolute links lead into the directory, not into this machine.
function realpathIn(debian: string, path: string): string {
  let at = path;
  for (let hops = 0; hops < 16; hops++) {
    const full = join(debian, at);
    if (!lstatSync(full).isSymbolicLink()) return realpathSync(full);
    const target = readlinkSync(full);
    at = target.startsWith('/') ? target : join(at, '..', target);
  }
  throw new Error(`${path}: links lead in a circle`);
}

/** Names of libraries that anything in the tree asks for, the loader included. */
function neededBy(tree: Tree): ReadonlySet<string> {
  const files = execFileSync('find', [tree.directory, '-type', 'f', '(', '-perm', '/111', '-o', '-name', '*.so*', '-o', '-name', '*.node', ')', '-print0'], {
    encoding: 'utf8',
  });
  const elf = files.split('\0').filter((file) => file !== '' && isElf(file));
  if (elf.length === 0) return new Set();
  const told = execFileSync('readelf', ['-W', '--dynamic', '--program-headers', ...elf], {
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  return new Set(
    [...told.matchAll(/\(NEEDED\)\s+Shared library: \[([^\]]+)\]|Requesting program interpreter: ([^\]]+)\]/g)].map(
      ([, library, loader]) => library ?? (loader as string),
    ),
  );
}

const isElf = (file: string): boolean => readFileSync(file).subarray(0, 4).toString('latin1') === '\x7fELF';

function libraryOf(debian: string, name: string): string {
  if (name.startsWith('/')) return name;
  const [found] = ['/lib', '/usr/lib'].flatMap((place) => globSync([join(debian, place, '*-linux-gnu', name), join(debian, place, name)]));
  if (found === undefined) throw new Error(`${name}: no package of the image has this library`);
  return `/${relative(debian, found)}`;
}

function packagesOf(debian: string, files: ReadonlySet<string>): readonly DebianPackage[] {
  const packages = readFileSync(join(debian, contents), 'utf8').split(/^= /m).slice(1);
  return packages
    .map((text) => text.split('\n'))
    .filter(([, ...paths]) => paths.some((path) => files.has(path.replace(/^\./, ''))))
    .map(([line = '']) => line.split(' '))
    .map(([name = '', version = '', architecture = '']) => ({ name, version, architecture }));
}
