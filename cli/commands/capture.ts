// `portreeve capture`: writes everything that decides packets on this node to a directory, for the offline commands and for bug reports.
import { writeCapture } from '../../agent/capture.ts';
import { type Command, requiredText, textOf } from '../command.ts';

export const command: Command = {
  name: 'capture',
  summary: "write this node's capture",
  usage: '--out DIR',
  description: 'Reads every source once. What cannot be read is said on stderr and in capture.json; the rest is written all the same.',
  options: [
    { name: 'out', value: 'DIR', summary: 'directory to write to; it is made if it is not there' },
    { name: 'node', value: 'NAME', summary: 'name of the Kubernetes node (default: the host name)' },
  ],
  examples: ['portreeve capture --out /tmp/node1', 'portreeve check --capture /tmp/node1 --cluster ./cluster'],
  run: async (parsed, io) => {
    const [out, node] = [requiredText(parsed, 'out'), textOf(parsed, 'node')];
    const manifest = await writeCapture({ out, ...(node === undefined ? {} : { node }) }, io.signal);
    for (const { name, outcome, reason } of manifest.sources)
      if (outcome === 'failed') io.stderr.write(`${name} could not be read: ${reason ?? 'no reason given'}\n`);
    io.stdout.write(`${out}: ${Object.keys(manifest.commands).length + 1} files of node ${manifest.node}\n`);
    return 0;
  },
};
