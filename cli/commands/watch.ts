// `portreeve watch`: what happens, as it happens: findings that begin and end, changes, agents that come and go.

import { actorText, type SequencedChange } from '../../shared/model/change.ts';
import type { Finding } from '../../shared/model/finding.ts';
import { listen, type ServerEvent, serverOf } from '../ask.ts';
import { accessOptions, type Command, type Io, outputOption, type Parsed, requiredText, serverOption, textOf } from '../command.ts';
import { differenceText } from '../listings.ts';
import { printable } from '../table.ts';
import { reachable } from './get.ts';

export const watch: Command = {
  name: 'watch',
  summary: 'print findings, changes and agents as they come and go',
  usage: '',
  description:
    'One line an event, until it is interrupted; with -o json one object a line. A collector that goes away is waited for; exit code 3: it did not come back.',
  options: [
    { ...outputOption, choices: ['text', 'json'] },
    { name: 'node', value: 'NAME', summary: 'only events of this node', names: 'node' },
    { name: 'events', value: 'NAMES', summary: 'only these, separated by commas', default: 'finding-opened,finding-changed,finding-closed,change,node' },
    serverOption,
    ...accessOptions,
  ],
  examples: ['portreeve watch --node node1', 'portreeve watch --events finding-opened -o json'],
  run: (parsed, io) => reachable(io, () => follow(parsed, io)),
};

async function follow(parsed: Parsed, io: Io): Promise<number> {
  const server = serverOf(parsed);
  const query = new URLSearchParams({ events: requiredText(parsed, 'events') });
  const [node, form] = [textOf(parsed, 'node'), requiredText(parsed, 'output')];
  if (node !== undefined) query.set('node', node);
  for await (const event of listen(server, `live?${query}`, io.signal)) {
    if (event.event === 'heartbeat' && !requiredText(parsed, 'events').includes('heartbeat')) continue;
    io.stdout.write(
      form === 'json' ? `${JSON.stringify({ event: event.event, id: event.id, ...(JSON.parse(event.data) as object) })}\n` : `${lineOf(event)}\n`,
    );
  }
  return 0;
}

/** An event in one line. */
export function lineOf({ event, data }: Pick<ServerEvent, 'event' | 'data'>): string {
  const value = JSON.parse(data) as { readonly at: number };
  const start = `${new Date(value.at).toISOString()}  ${event.padEnd(15)}  `;
  switch (event) {
    case 'finding-opened':
    case 'finding-changed':
    case 'finding-closed': {
      const { finding } = value as unknown as { readonly finding: Finding };
      return printable(`${start}${finding.node}  ${finding.cause}  ${finding.severity}  ${finding.summary}`);
    }
    case 'change': {
      const { node, kind, subject, actor, before, after } = value as SequencedChange;
      return printable(`${start}${node || '(cluster)'}  ${kind}  ${subject}  ${actorText(actor)}  ${differenceText(before, after)}`);
    }
    case 'node': {
      const { node, connected } = value as unknown as { readonly node: string; readonly connected: boolean };
      return printable(`${start}${node}  agent ${connected ? 'connected' : 'disconnected'}`);
    }
    default:
      return printable(`${start}${data}`);
  }
}
