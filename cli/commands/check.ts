// `portreeve check`: compares a capture with cluster objects and diagnoses, offline.
import { stringify } from 'yaml';
import { printable } from '../../collector/causes/remedy.ts';
import type { Finding } from '../../shared/model/finding.ts';
import { type Command, type Io, outputOption, type Parsed, requiredText, textOf } from '../command.ts';
import { type CheckReport, checkDirectories } from './check.run.ts';

export const check: Command = {
  name: 'check',
  summary: 'compare a capture with cluster objects and diagnose',
  usage: '--capture DIR [--cluster DIR]',
  description:
    'Says for every NodePort of one node whether its rules do what the cluster wants, and if not, why. Needs no collector. Exit code 0: nothing is wrong (what is by design is listed as info), 1: findings.',
  options: [
    { name: 'capture', value: 'DIR', summary: 'directory that "portreeve capture --out" wrote' },
    {
      name: 'cluster',
      value: 'DIR',
      summary: 'directory with Services, EndpointSlices, Nodes and Pods as JSON or YAML (default: the capture, if it holds them)',
    },
    { name: 'node', value: 'NAME', summary: 'name of the node, where the capture does not say' },
    outputOption,
  ],
  examples: [
    'kubectl get services,endpointslices,nodes,pods -A -o json > cluster/objects.json && portreeve check --capture node1 --cluster cluster',
    'portreeve check --capture node1 -o json',
  ],
  run: (parsed, io) => runCheck(parsed, io),
};

async function runCheck(parsed: Parsed, io: Io): Promise<number> {
  const [cluster, node] = [textOf(parsed, 'cluster'), textOf(parsed, 'node')];
  const report = await checkDirectories({
    capture: requiredText(parsed, 'capture'),
    now: Date.now(),
    ...(cluster === undefined ? {} : { cluster }),
    ...(node === undefined ? {} : { node }),
  });
  for (const line of report.doubts) io.stderr.write(`${printable(line)}\n`);
  io.stdout.write(printed(report, textOf(parsed, 'output') ?? 'text'));
  return report.findings.some(({ severity }) => severity !== 'info') ? 1 : 0;
}

function printed(report: CheckReport, form: string): string {
  const { findings } = report;
  switch (form) {
    case 'json':
      return `${JSON.stringify({ findings }, null, 2)}\n`;
    case 'yaml':
      return stringify({ findings });
    case 'wide':
      return textReport(report, (finding) => finding.evidence.map(({ text }) => `    - ${printable(text)}`));
    default:
      return textReport(report, () => []);
  }
}

function textReport({ node, nodePorts, findings }: CheckReport, more: (finding: Finding) => readonly string[]): string {
  const faults = findings.filter(({ severity }) => severity !== 'info').length;
  const head = `${node}: ${nodePorts} NodePorts compared, ${faults === 0 ? 'nothing is wrong' : `${faults} ${faults === 1 ? 'finding' : 'findings'}`}`;
  const blocks = findings.map((finding) =>
    [
      `${finding.severity.padEnd(7)}  ${finding.cause}  ${printable(finding.summary)}`,
      ...more(finding),
      ...finding.remedy.map((command) => `         ${printable(command)}`),
    ].join('\n'),
  );
  return `${[head, ...blocks].join('\n\n')}\n`;
}
