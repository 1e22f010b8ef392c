// Runs a pod's container as its manifest says, without a container engine: namespaces, mounts, a read-only root, user and capabilities are made by unshare, mount and
// capsh. Not done, as no engine does it here: seccomp, AppArmor, control groups.
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Manifest } from '../packaging/chart.ts';

export interface Container {
  /** Of the container's first process, as the machine counts them. */
  readonly pid: number;
  /** What it has printed. */
  readonly output: () => string;
  /** Runs a command in it, as a kubelet's probe does; resolves to its exit code. */
  readonly exec: (command: readonly string[]) => number;
  /** Asks a Unix socket in it one line. */
  readonly ask: (socket: string, question: object) => Promise<unknown>;
  readonly stop: () => Promise<void>;
}

export interface ContainerOptions {
  /** Archive of the image. */
  readonly image: string;
  /** `spec.template.spec` of the workload; its first container is run. */
  readonly pod: Manifest;
  /** The node's network namespace, by its name. */
  readonly network: string;
  /** Values of environment variables that the kubelet would fill in, by name. */
  readonly fields: Readonly<Record<string, string>>;
  /** Content of secrets and projected tokens: path in the container → text. */
  readonly secrets: Readonly<Record<string, string>>;
}

/** Starts it; rejects when a mount or the user cannot be had. */
export async function startContainer({ image, pod, network, fields, secrets }: ContainerOptions): Promise<Container> {
  const directory = mkdtempSync(join(tmpdir(), 'portreeve-container-'));
  const config = unpack(image, directory);
  const [container] = pod.containers;
  const environment = { ...Object.fromEntries(config.Env.map((line) => line.split(/=(.*)/s).slice(0, 2))), ...fields };
  const words = [...config.Entrypoint, ...container.args].map((word: string) =>
    word.replaceAll(/\$\((\w+)\)/g, (whole, name: string) => environment[name] ?? whole),
  );
  const script = join(directory, 'start');
  writeFileSync(script, startScript({ directory, pod, words, environment, secrets }), { mode: 0o755 });
  const namespaces = ['--mount', '--ipc', '--uts', '--propagation', 'private', ...(pod.hostPID === true ? [] : ['--pid', '--fork'])];
  const child = spawn('ip', ['netns', 'exec', network, 'unshare', ...namespaces, script], { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString('utf8')));
  const ended = once(child, 'exit');
  const pid = await pidOf(child.pid as number, { words, ended: () => child.exitCode !== null }).catch((error: unknown) => {
    throw new Error(`the container did not start: ${error instanceof Error ? error.message : String(error)}\n${output}`);
  });
  return {
    pid,
    output: () => output,
    exec: (command) => spawnSync('nsenter', ['--target', String(pid), '--mount', '--net', '--root', '--wd', ...command], { encoding: 'utf8' }).status ?? -1,
    ask: (socket, question) => askSocket(`/proc/${pid}/root${socket}`, question),
    stop: async () => {
      process.kill(pid, 'SIGTERM');
      const late = setTimeout(() => process.kill(pid, 'SIGKILL'), 5_000);
      await ended;
      clearTimeout(late);
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

interface ImageConfig {
  readonly User: string;
  readonly Env: readonly string[];
  readonly Entrypoint: readonly string[];
}

function unpack(image: string, directory: string): ImageConfig {
  const layout = join(directory, 'layout');
  const root = join(directory, 'rootfs');
  mkdirSync(layout);
  mkdirSync(root);
  execFileSync('tar', ['-xf', image, '-C', layout]);
  const blob = (digest: string): string => join(layout, 'blobs', digest.replace(':', '/'));
  const read = (file: string): Manifest => JSON.parse(readFileSync(file, 'utf8'));
  const manifest = read(blob(read(join(layout, 'index.json')).manifests[0].digest));
  const { config } = read(blob(manifest.config.digest));
  for (const { digest } of manifest.layers) execFileSync('tar', ['-xzf', blob(digest), '-C', root, '--xattrs', '--xattrs-include=security.capability']);
  rmSync(layout, { recursive: true });
  return config as ImageConfig;
}

interface Start {
  readonly directory: string;
  readonly pod: Manifest;
  readonly words: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly secrets: Readonly<Record<string, string>>;
}

const quote = (word: string): string => `'${word.replaceAll("'", "'\\''")}'`;

/** What a runtime does before the first program of the container. */
function startScript({ directory, pod, words, environment, secrets }: Start): string {
  const [container] = pod.containers;
  const { runAsUser, runAsGroup, fsGroup } = pod.securityContext;
  const { add, drop } = container.securityContext.capabilities;
  if (drop.join() !== 'ALL' || container.securityContext.readOnlyRootFilesystem !== true)
    throw new Error('only containers that drop everything and write nothing are run');
  const root = join(directory, 'root');
  const kept = new Set((add as string[]).map((name) => `cap_${name.toLowerCase()}`));
  const dropped = capabilities().filter((name) => !kept.has(name));
  const mounts = (container.volumeMounts as Manifest[]).map((mount) =>
    mountLine(root, mount, { volume: pod.volumes.find(({ name }: Manifest) => name === mount.name), secrets, fsGroup }),
  );
  // Ambient and inheritable sets are empty, as runtimes leave them; without allowPrivilegeEscalation no-new-privileges is set.
  const privileges = container.securityContext.allowPrivilegeEscalation === false ? 'exec setpriv --no-new-privs ' : 'exec ';
  const variables = Object.entries(environment).map(([name, value]) => `${name}=${quote(value)}`);
  return `#!/bin/bash
set -eu
mkdir -p ${root} ${directory}/work ${directory}/up
mount -t overlay overlay -o lowerdir=${directory}/rootfs,upperdir=${directory}/up,workdir=${directory}/work ${root}
mount -t proc proc ${root}/proc
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs ${root}/sys
mount -t tmpfs -o mode=755,nosuid tmpfs ${root}/dev
for device in null zero full random urandom; do touch ${root}/dev/$device; mount --bind /dev/$device ${root}/dev/$device; done
${mounts.join('\n')}
mount -o remount,bind,ro ${root}/proc/sys 2>/dev/null || { mount --bind ${root}/proc/sys ${root}/proc/sys; mount -o remount,bind,ro ${root}/proc/sys; }
mount -o remount,ro ${root}
cd /
${privileges}env -i ${variables.join(' ')} /usr/sbin/capsh --drop=${dropped.join(',')} --chroot=${root} --groups=${fsGroup} --gid=${runAsGroup} --uid=${runAsUser} --shell=${words[0]} -- ${words.slice(1).map(quote).join(' ')}
`;
}

interface MountedVolume {
  readonly volume: Manifest;
  readonly secrets: Readonly<Record<string, string>>;
  readonly fsGroup: number;
}

function mountLine(root: string, { mountPath, readOnly }: Manifest, { volume, secrets, fsGroup }: MountedVolume): string {
  const place = `${root}${mountPath}`;
  if (volume.hostPath !== undefined) {
    const { path, type } = volume.hostPath;
    const made = type === 'FileOrCreate' ? `[ -e ${path} ] || (umask 077; touch ${path})` : ':';
    // A runtime makes the place; what is not on the host is made there by it, so it is left out here.
    return `${made}; if [ -d ${path} ]; then mkdir -p ${place}; fi; if [ -e ${path} ]; then mount --bind ${path} ${place}${readOnly === true ? `; mount -o remount,bind,ro ${place}` : ''}; fi`;
  }
  const fill = Object.entries(secrets)
    .filter(([path]) => path.startsWith(`${mountPath}/`))
    .map(([path, text]) => `printf %s ${quote(text)} >${root}${path}; chgrp ${fsGroup} ${root}${path}; chmod 440 ${root}${path}`);
  return [
    `mkdir -p ${place}; mount -t tmpfs -o mode=2775,gid=${fsGroup} tmpfs ${place}`,
    ...fill,
    ...(readOnly === true ? [`mount -o remount,ro ${place}`] : []),
  ].join('; ');
}

/** All capabilities that this kernel knows, by name. */
function capabilities(): readonly string[] {
  const last = Number(readFileSync('/proc/sys/kernel/cap_last_cap', 'utf8'));
  return (
    execFileSync('/usr/sbin/capsh', [`--decode=${((1n << BigInt(last + 1)) - 1n).toString(16)}`], { encoding: 'utf8' })
      .trim()
      .split('=')[1]
      ?.split(',') ?? []
  );
}

/** The process that has become Node.js: the one that was started, or its child in a process namespace of its own. */
async function pidOf(first: number, { words, ended }: { readonly words: readonly string[]; readonly ended: () => boolean }): Promise<number> {
  for (const deadline = Date.now() + 20_000; Date.now() < deadline; await sleep(50)) {
    if (ended()) throw new Error('it ended');
    const children = textOf(`/proc/${first}/task/${first}/children`).trim().split(' ').filter(Boolean).map(Number);
    const found = [first, ...children].find((pid) => textOf(`/proc/${pid}/cmdline`).startsWith(`${words[1]}\0`));
    if (found !== undefined) return found;
  }
  throw new Error('it did not become Node.js');
}

/** Empty for a process that has ended meanwhile. */
function textOf(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

function askSocket(path: string, question: object): Promise<unknown> {
  return new Promise((resolve, reject) => {
    let text = '';
    const socket = createConnection(path, () => socket.write(`${JSON.stringify(question)}\n`));
    socket.setTimeout(10_000, () => socket.destroy(new Error('no answer')));
    socket.on('data', (chunk) => (text += chunk.toString('utf8')));
    socket.on('error', reject);
    socket.on('close', () => (text === '' ? reject(new Error('no answer')) : resolve(JSON.parse(text))));
  });
}
