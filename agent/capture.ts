// Writes the capture of this node: every file of the contract that its sources yield, and capture.json, which says what each is and how each source went.
import { failure, reasonOf } from '../shared/errors.ts';
import { describeHost } from './host/describe.ts';
import { hostname, writeFiles } from './host/files.ts';
import { thisMachine } from './host/machine.ts';
import { nothingRead, readSources } from './reader.ts';
import { sources } from './sources/index.ts';
import { version } from './version.ts';

export interface CaptureOptions {
  /** Directory to write to; made if it is not there. Files of other names in it are left alone. */
  readonly out: string;
  /** The host name if absent. */
  readonly node?: string;
}

/** What capture.json holds. */
export interface CaptureManifest {
  readonly node: string;
  /** ISO 8601, UTC. */
  readonly time: string;
  readonly versions: Readonly<Record<string, string>>;
  readonly commands: Readonly<Record<string, string>>;
  readonly sources: readonly { readonly name: string; readonly outcome: 'facts' | 'absent' | 'failed'; readonly reason?: string }[];
}

/** Reads every source once and writes the files. Throws INPUT_UNREADABLE when the directory cannot be written. */
export async function writeCapture(options: CaptureOptions, signal: AbortSignal): Promise<CaptureManifest> {
  const machine = thisMachine(signal);
  const time = new Date().toISOString();
  const [readings, host, versions] = await Promise.all([readSources(machine, sources, nothingRead), describeHost(signal), toolVersions(machine)]);
  const manifest: CaptureManifest = {
    node: options.node ?? hostname(),
    time,
    versions: { portreeve: version, kernel: host.kernel, os: host.os, ...versions },
    commands: Object.fromEntries([...readings.files.keys()].map((file) => [file, readings.commands[file] ?? ''])),
    sources: [...readings.outcomes].map(([name, { outcome, reason }]) => ({ name, outcome, ...(reason === undefined ? {} : { reason }) })),
  };
  try {
    await writeFiles(options.out, new Map<string, Buffer | string>([...readings.files, ['capture.json', `${JSON.stringify(manifest, undefined, 2)}\n`]]));
  } catch (error) {
    throw failure('INPUT_UNREADABLE', [options.out, reasonOf(error)], error);
  }
  return manifest;
}

async function toolVersions(machine: ReturnType<typeof thisMachine>): Promise<Record<string, string>> {
  const tools = [
    ['iptables', '-V'],
    ['nft', '--version'],
    ['ipset', '--version'],
    ['ip', '-V'],
    ['ss', '-V'],
  ] as const;
  const said = await Promise.all(
    tools.map(async ([tool, flag]) => {
      const outcome = await machine.run(tool, [flag]);
      return outcome.kind === 'done' ? [[tool, outcome.stdout.toString('utf8').trim().split('\n')[0] ?? '']] : [];
    }),
  );
  return Object.fromEntries(said.flat());
}
