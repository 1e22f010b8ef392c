// `portreeve incident`: reports that something failed, and prints what was likely the cause.
import type { Incident } from '../../collector/store/records.ts';
import { failure } from '../../shared/errors.ts';
import { actorText } from '../../shared/model/change.ts';
import { askFor, serverOf } from '../ask.ts';
import { accessOptions, type Command, type Io, outputOption, type Parsed, requiredText, serverOption, textOf, timeOf } from '../command.ts';
import { differenceText } from '../listings.ts';
import { printable } from '../table.ts';
import { codeOf, dataText, reachable } from './get.ts';

export const incident: Command = {
  name: 'incident',
  summary: 'report that a Service could not be reached, and get the likely causes',
  usage: '[NS/NAME] [--port N] [--node NAME] | show ID',
  description: [
    'Says to the collector that clients could not get in, and when. It answers with what may have been the cause, most likely first, and keeps both:',
    'portreeve get incidents lists them, incident show ID prints one. Exit code 0: no cause was found; 1: there are causes.',
  ].join('\n'),
  options: [
    { name: 'port', value: 'N', summary: 'the NodePort', names: 'nodeport' },
    { name: 'node', value: 'NAME', summary: 'the node that was asked', names: 'node' },
    { name: 'source', value: 'ADDRESS', summary: 'the client' },
    { name: 'at', value: 'TIME', summary: 'when: 2026-01-31T14:03:22Z, or 10m for ten minutes ago (default: now)' },
    { name: 'text', value: 'TEXT', summary: 'what was seen, for whoever reads it' },
    outputOption,
    serverOption,
    ...accessOptions,
  ],
  places: ['service'],
  examples: ['portreeve incident shop/web --at 10m', 'portreeve incident --port 30080 --node node1 --source 203.0.113.9', 'portreeve incident show 6f0c…'],
  run: (parsed, io) => reachable(io, () => run(parsed, io)),
};

async function run(parsed: Parsed, io: Io): Promise<number> {
  const [word, id, ...more] = parsed.positionals;
  const server = serverOf(parsed);
  if (more.length > 0 || (word !== 'show' && id !== undefined))
    throw failure('USAGE', [`incident ${parsed.positionals.join(' ')}: one NS/NAME, or show ID, is wanted`]);
  if (word === 'show') {
    if (id === undefined) throw failure('USAGE', ['incident show wants an ID: portreeve get incidents -o name lists them']);
    return print(await askFor(server, 'GET /incidents/{id}', { path: { id } }), parsed, io);
  }
  const at = timeOf(parsed, 'at', Date.now());
  const port = textOf(parsed, 'port')?.split('/')[0];
  if (port !== undefined && !(/^\d{1,5}$/.test(port) && Number(port) >= 1 && Number(port) <= 65_535))
    throw failure('USAGE', [`--port ${port}: a number from 1 to 65535 is wanted`]);
  const told = { service: word, node: textOf(parsed, 'node'), source: textOf(parsed, 'source'), text: textOf(parsed, 'text') };
  const body = {
    ...Object.fromEntries(Object.entries(told).filter(([, value]) => value !== undefined)),
    ...(port === undefined ? {} : { port: Number(port) }),
    ...(at === undefined ? {} : { at }),
  };
  return print(await askFor(server, 'POST /incidents', { body }), parsed, io);
}

function print(answer: unknown, parsed: Parsed, io: Io): number {
  const found = answer as Incident & { readonly view?: unknown };
  const form = requiredText(parsed, 'output');
  io.stdout.write(form === 'json' || form === 'yaml' ? dataText(form, found) : incidentText(found, form));
  return codeOf(found, found.causes.length > 0 ? 1 : 0, io);
}

/** An incident for a person. */
export function incidentText({ id, at, endedAt, service, node, port, protocol, source, text, causes, notFound }: Incident, form: string): string {
  const what = [
    service,
    port === 0 ? '' : `NodePort ${port}${protocol === '' ? '' : `/${protocol}`}`,
    node === '' ? '' : `on ${node}`,
    source === '' ? '' : `from ${source}`,
  ];
  const head = `${what.filter((part) => part !== '').join(', ') || 'something'} could not be reached at ${new Date(at).toISOString()}${endedAt === null ? '' : `, until ${new Date(endedAt).toISOString()}`}`;
  const shown = form === 'wide' ? causes : causes.slice(0, 5);
  const blocks = shown.map(({ cause, title, confidence, score, summary, node: where, remedy, reasons, change }, index) => [
    `  ${index + 1}. ${cause === '' ? 'change' : cause}  ${title}   ${confidence}, ${Math.round(score * 100)} %`,
    `     ${where === '' ? '' : `${where}: `}${summary}`,
    ...(change === undefined
      ? []
      : [`     ${new Date(change.at).toISOString()}  ${change.subject}, ${actorText(change.actor)}: ${differenceText(change.before, change.after)}`]),
    ...(form === 'wide' ? reasons.map((reason) => `     - ${reason}`) : []),
    ...remedy.map((command) => `     ${command}`),
  ]);
  const rest = causes.length > shown.length ? [`  … and ${causes.length - shown.length} more: -o wide shows all`] : [];
  const missing = causes.length === 0 ? ['  no cause was found'] : [];
  return `${[head, ...(text === '' ? [] : [`  "${text}"`]), ...missing, ...blocks.flat(), ...rest, ...notFound.map((line) => `  ${line}`), `  id ${id}`].map(printable).join('\n')}\n`;
}
