// The Debian packages that `make debs` has built, and what keeps tests from using them.
import { existsSync, globSync, readFileSync } from 'node:fs';
import { arch } from 'node:os';
import { delimiter, join } from 'node:path';
import { type Architecture, architectures, root, version } from '../../packaging/release.ts';

const directory = join(root, 'dist/debs');

/** The path of a package of this version and processor. */
export const debOf = (name: string): string => join(directory, `${name}_${version}_${architectures[arch() as Architecture].debian}.deb`);

export const debNames = ['portreeve-agent', 'portreeve-collector', 'portreeve'] as const;

/** What keeps a test from running, as a sentence; undefined when nothing does. */
export function debObstacle(...commands: readonly string[]): string | undefined {
  const missing = commands.find((command) => !(process.env['PATH'] ?? '').split(delimiter).some((place) => existsSync(join(place, command))));
  if (missing !== undefined) return `${missing} is not installed`;
  if (!debNames.every((name) => existsSync(debOf(name)))) return 'the packages are not built: make debs';
  return undefined;
}

/** Whether this machine has BTF of its kernel, without which eBPF cannot be used. */
export const hasBtf = (): boolean => existsSync('/sys/kernel/btf/vmlinux');

/** Files of the checkout that packages are made from. */
export const unitFiles = (): readonly string[] => globSync('systemd/*.service', { cwd: root }).sort();

export const textOf = (file: string): string => readFileSync(join(root, file), 'utf8');
