// `portreeve check`: compares a capture with cluster objects and diagnoses, offline.
import { stringify } from 'yaml';
import { catalogue } from '../../collector/causes/catalogue.ts';
import { printable } from '../../collector/causes/remedy.ts';
import type { Finding } from '../../shared/model/finding.ts';
import type { Decider } from '../../shared/model/outcome.ts';
import { type Command, type Io, outputChoices, outputOption, type Parsed, requiredText, textOf } from '../command.ts';
import { junitText, type Reported, sarifText } from '../reports.ts';
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
    { ...outputOption, choices: [...outputChoices, 'sarif', 'junit'] },
  ],
  examples: [
    'kubectl get services,endpointslices,nodes,pods -A -o json > cluster/objects.json && portreeve check --capture node1 --cluster cluster',
    'portreeve check --capture node1 -o json',
    'portreeve check --capture node1 --cluster cluster -o junit > portreeve.xml',
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
    case 'sarif':
      return sarifText(
        findings.map((finding) => reported(finding, report.node)),
        catalogue.map(({ id, cause }) => ({ id, text: cause })),
      );
    case 'junit':
      return junitText(
        'portreeve check',
        findings.map((finding) => reported(finding, report.node)),
        report.nodePorts,
      );
    case 'wide':
      return textReport(report, (finding) => finding.evidence.map(({ text }) => `    - ${printable(text)}`));
    default:
      return textReport(report, () => []);
  }
}

/** A finding as the reports of other programs have it; by the line of the dump where a rule decides. */
function reported({ cause, severity, service, port, protocol, summary, remedy, evidence, id }: Finding, node: string): Reported {
  const decider = evidence.find((each) => each.decider?.line !== undefined)?.decider;
  const file = decider === undefined ? undefined : dumpOf(decider);
  return {
    rule: cause,
    level: severity === 'error' ? 'error' : severity === 'warning' ? 'warning' : 'note',
    id,
    subject: `${node}${port === 0 ? '' : ` ${port}/${protocol}`}${service === '' ? '' : ` ${service}`}`,
    text: summary,
    remedy,
    ...(file === undefined || decider?.line === undefined ? {} : { file, line: decider.line }),
  };
}

// The file of a capture that holds the rules of a family and backend; nft.json has no lines.
function dumpOf({ family, backend }: Decider): string | undefined {
  if (backend !== 'legacy' && backend !== 'iptables-nft') return undefined;
  return `${family === 'ip6' ? 'ip6tables' : 'iptables'}-save.txt`;
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
