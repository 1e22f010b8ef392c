// `portreeve lint`: practice for NodePorts, and the register of their numbers, from cluster objects alone.
import { stringify } from 'yaml';
import { printable } from '../../collector/causes/remedy.ts';
import { type ObjectFile, readObjects } from '../../collector/kubernetes/objects.ts';
import { type Lint, lintCluster, lintRules } from '../../collector/lint/index.ts';
import { type Assignment, registerColumns, registerCsv, registerOf } from '../../collector/lint/register.ts';
import { failure } from '../../shared/errors.ts';
import { parseSysctls } from '../../shared/netfilter/host.parse.ts';
import { readDirectory } from '../capture.directory.ts';
import { type Command, flagOf, type Io, type Parsed, requiredText, textOf } from '../command.ts';
import { junitText, type Reported, sarifText } from '../reports.ts';
import { tableText } from '../table.ts';

export const lint: Command = {
  name: 'lint',
  summary: 'check how NodePorts are used, and list whom each belongs to',
  usage: '--cluster DIR [--register]',
  description: `Says what works today and will be trouble: ${Object.keys(lintRules).join(', ')}. With --register it lists every NodePort with its Service and owner instead. Exit code 0: no warning, 1: warnings.`,
  options: [
    { name: 'cluster', value: 'DIR', summary: 'directory with Services, EndpointSlices and Pods as JSON or YAML' },
    { name: 'capture', value: 'DIR', summary: 'capture of a node, for its own port range' },
    { name: 'register', summary: 'list all NodePorts with their owners' },
    {
      name: 'output',
      short: 'o',
      value: 'FORM',
      summary: 'form of the output; csv for --register',
      default: 'text',
      choices: ['text', 'wide', 'json', 'yaml', 'csv', 'sarif', 'junit'],
    },
  ],
  examples: [
    'portreeve lint --cluster manifests',
    'portreeve lint --cluster manifests -o sarif > portreeve.sarif',
    'portreeve lint --register --cluster cluster -o csv > nodeports.csv',
  ],
  run: (parsed, io) => runLint(parsed, io),
};

async function runLint(parsed: Parsed, io: Io): Promise<number> {
  const directory = requiredText(parsed, 'cluster');
  const files = await readDirectory(directory);
  const objectFiles = [...files].filter(([name]) => /\.(json|ya?ml)$/.test(name)).map(([name, bytes]) => ({ name, text: bytes.toString('utf8') }));
  const { objects } = readObjects(objectFiles);
  if (objects.services.size === 0) throw failure('INPUT_INVALID', [directory, 'holds no Service']);
  const form = textOf(parsed, 'output') ?? 'text';
  if (flagOf(parsed, 'register')) {
    io.stdout.write(registerText(registerOf(objects), form));
    return 0;
  }
  if (form === 'csv') throw failure('USAGE', ['-o csv goes with --register']);
  const lints = lintCluster(objects, await lintedNode(textOf(parsed, 'capture')));
  if (form === 'sarif' || form === 'junit') {
    const items = lints.map((each) => reported(each, objectFiles));
    const rules = Object.entries(lintRules).map(([id, text]) => ({ id, text }));
    io.stdout.write(form === 'sarif' ? sarifText(items, rules) : junitText('portreeve lint', items, objects.services.size));
  } else io.stdout.write(lintText(lints, form));
  return lints.some(({ severity }) => severity === 'warning') ? 1 : 0;
}

function reported({ rule, severity, service, text, remedy }: Lint, files: readonly ObjectFile[]): Reported {
  const place = service === '' ? undefined : placeOf(service, files);
  return {
    rule,
    level: severity === 'warning' ? 'warning' : 'note',
    id: `${rule} ${service}`,
    subject: service || 'cluster',
    text,
    remedy: [remedy],
    ...place,
  };
}

// Where a manifest names the Service: the first line with its name in a file that also names its namespace, or names none.
function placeOf(service: string, files: readonly ObjectFile[]): { readonly file: string; readonly line: number } | undefined {
  const [namespace = '', name = ''] = service.split('/');
  const names = new RegExp(`^\\s*"?name"?:\\s*["']?${name.replaceAll(/[.]/g, '\\.')}["']?,?\\s*$`);
  for (const { name: file, text } of files) {
    if (!text.includes('Service') || (/namespace/.test(text) && !text.includes(namespace))) continue;
    const line = text.split('\n').findIndex((each) => names.test(each));
    if (line >= 0) return { file, line: line + 1 };
  }
  return undefined;
}

async function lintedNode(capture: string | undefined) {
  if (capture === undefined) return undefined;
  const settings = (await readDirectory(capture)).get('sysctl.txt');
  if (settings === undefined) throw failure('INPUT_INVALID', [capture, 'holds no sysctl.txt']);
  return { name: 'the node', sysctls: parseSysctls(settings.toString('utf8')).values };
}

function lintText(items: readonly Lint[], form: string): string {
  const list = { apiVersion: 'portreeve/v1', kind: 'LintList', items };
  if (form === 'json') return `${JSON.stringify(list, null, 2)}\n`;
  if (form === 'yaml') return stringify(list);
  if (items.length === 0) return 'nothing to remark\n';
  return items
    .map(({ severity, rule, service, text, remedy }) =>
      [`${severity.padEnd(7)}  ${rule}  ${printable(`${service === '' ? '' : `${service}: `}${text}`)}`, `         ${printable(remedy)}`].join('\n'),
    )
    .join('\n\n')
    .concat('\n');
}

function registerText(items: readonly Assignment[], form: string): string {
  const list = { apiVersion: 'portreeve/v1', kind: 'NodePortRegister', items };
  if (form === 'json') return `${JSON.stringify(list, null, 2)}\n`;
  if (form === 'yaml') return stringify(list);
  if (form === 'csv') return registerCsv(items);
  const rows = items.map((item) => registerColumns.map((column) => String(item[column])));
  return tableText(
    ['PORT', 'PROTO', 'SERVICE', 'NAME', 'TARGET', 'POLICY', 'KIND', 'OWNER', 'PURPOSE'],
    rows.map((row) => row.map((cell) => cell || '-')),
  );
}
