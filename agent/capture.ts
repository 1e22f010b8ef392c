// Writes the capture of this node: every file of the contract that its sources yield, and capture.json, which says what each is and how each source went.
import { failure, reasonOf } from '../shared/errors.ts';
import { describeHost } from './host/describe.ts';
import { hostname, writeFiles } from './host/files.ts';
import { thisMachine } from './host/machine.ts';
import { nothingRead, readSources } from './reader.ts';
import { sources } from './sources/index.ts';
import type { Tools } from './sources/tools.parse.ts';
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
  readonly sources: readonly { readonly name: string; readonly outcome: 'facts' | 'absent' | 'failed'; readonly reason?: string; readonly lacks?: string }[];
}

/** Reads every source once and writes the files. Throws INPUT_UNREADABLE when the directory cannot be written. */
export async function writeCapture(options: CaptureOptions, signal: AbortSignal): Promise<CaptureManifest> {
  const { files, manifest } = await readCapture(options.node ?? hostname(), signal);
  try {
    await writeFiles(options.out, files);
  } catch (error) {
    throw failure('INPUT_UNREADABLE', [options.out, reasonOf(error)], error);
  }
  return manifest;
}

/** The files of a capture by name, capture.json among them. */
export interface ReadCapture {
  readonly files: ReadonlyMap<string, Buffer>;
  readonly manifest: CaptureManifest;
}

/** Reads every source once, anew. Never rejects for what the host is like. */
export async function readCapture(node: string, signal: AbortSignal): Promise<ReadCapture> {
  const machine = thisMachine(signal);
  const time = new Date().toISOString();
  const [readings, host] = await Promise.all([readSources(machine, sources, nothingRead), describeHost(signal)]);
  const files = new Map<string, Buffer>([...readings.files, ['host.json', jsonFile(host)]]);
  const manifest: CaptureManifest = {
    node,
    time,
    versions: { portreeve: version, kernel: host.kernel, os: host.os, ...toolVersions(readings.files.get('tools.json')) },
    commands: Object.fromEntries([...files.keys()].map((file) => [file, readings.commands[file] ?? 'the host, at the time of the capture'])),
    sources: [...readings.outcomes].map(([name, { outcome, reason, lacks }]) => ({
      name,
      outcome,
      ...(reason === undefined ? {} : { reason }),
      ...(lacks === undefined ? {} : { lacks }),
    })),
  };
  return { files: files.set('capture.json', jsonFile(manifest)), manifest };
}

const jsonFile = (value: unknown): Buffer => Buffer.from(`${JSON.stringify(value, undefined, 2)}\n`);

/** One line for each tool: `iptables` → `v1.8.9 (nf_tables)`. */
function toolVersions(file: Buffer | undefined): Record<string, string> {
  const { iptables = [], versions = {} } = JSON.parse(file?.toString('utf8') ?? '{}') as Partial<Tools>;
  const own = iptables.find(({ origin, version: each }) => origin === 'host' && each !== undefined);
  return { ...(own === undefined ? {} : { iptables: `v${own.version} (${own.backend ?? 'unknown backend'})` }), ...versions };
}
