// `portreeve capture`: writes everything that decides packets on this node, or on one whose agent is asked, to a directory: for the offline commands and for bug reports.
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { type CaptureManifest, writeCapture } from '../../agent/capture.ts';
import { filesOfArchive } from '../../shared/archive.ts';
import { failure, reasonOf } from '../../shared/errors.ts';
import { limits } from '../../shared/limits.ts';
import { askFor, serverOf } from '../ask.ts';
import { accessOptions, type Command, type Io, type Parsed, requiredText, serverOption, textOf } from '../command.ts';
import { printable } from '../table.ts';
import { reachable } from './get.ts';

export const command: Command = {
  name: 'capture',
  summary: "write this node's capture, or that of a live node",
  usage: '--out DIR [--from NODE]',
  description:
    'Reads every source once. What cannot be read is said on stderr and in capture.json; the rest is written all the same.\n' +
    'With --from the agent of that node reads it, and it comes through the collector. That wants the role operate, and is noted in the audit log.\n' +
    'Exit code 0: written; 2: it could not be written, or the agent makes none; 3: no collector answers; 4: it does not let you ask.',
  options: [
    { name: 'out', value: 'DIR', summary: 'directory to write to; it is made if it is not there' },
    { name: 'node', value: 'NAME', summary: 'name of the Kubernetes node (default: the host name)' },
    { name: 'from', value: 'NODE', summary: 'the live node that it is of, asked through the collector', names: 'node' },
    serverOption,
    ...accessOptions,
  ],
  examples: [
    'portreeve capture --out /tmp/node1',
    'portreeve capture --from node1 --out /tmp/node1',
    'portreeve check --capture /tmp/node1 --cluster ./cluster',
  ],
  run: async (parsed, io) => {
    const [out, node] = [requiredText(parsed, 'out'), textOf(parsed, 'node')];
    if (textOf(parsed, 'from') !== undefined) return await reachable(io, () => fetchCapture(parsed, out, io));
    const manifest = await writeCapture({ out, ...(node === undefined ? {} : { node }) }, io.signal);
    return tell(manifest, out, io);
  },
};

/** Asks the collector for the capture of a node, and writes its files. Throws INPUT_UNREADABLE where it is no capture or cannot be written. */
async function fetchCapture(parsed: Parsed, out: string, io: Io): Promise<number> {
  const node = requiredText(parsed, 'from');
  if (textOf(parsed, 'node') !== undefined) throw failure('USAGE', ['capture --from names the node: without --node']);
  const server = serverOf(parsed);
  const timeoutMs = server.timeoutMs ?? limits.captureMs + limits.replicaAnswerMs + 5_000;
  const { archive } = await askFor({ ...server, timeoutMs }, 'POST /capture', { body: { node } });
  try {
    const files = filesOfArchive(gunzipSync(Buffer.from(archive, 'base64'), { maxOutputLength: 2 * limits.captureUnpackedBytesMax }));
    const manifest = files?.get('capture.json');
    if (files === undefined || manifest === undefined) throw new Error('what came is no capture');
    await mkdir(out, { recursive: true });
    for (const [name, content] of files) await writeFile(join(out, name), content);
    return tell(JSON.parse(manifest.toString('utf8')) as CaptureManifest, out, io);
  } catch (error) {
    throw failure('INPUT_UNREADABLE', [out, reasonOf(error)], error);
  }
}

function tell(manifest: CaptureManifest, out: string, io: Io): number {
  for (const { name, outcome, reason } of manifest.sources)
    if (outcome === 'failed') io.stderr.write(`${printable(`${name} could not be read: ${reason ?? 'no reason given'}`)}\n`);
  io.stdout.write(`${printable(`${out}: ${Object.keys(manifest.commands).length + 1} files of node ${manifest.node}`)}\n`);
  return 0;
}
