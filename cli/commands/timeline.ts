// `portreeve timeline`: changes and the beginnings and ends of findings, in order of time.
import type { TimelineItem } from '../../collector/api/answers.ts';
import { actorText } from '../../shared/model/change.ts';
import { ask, serverOf } from '../ask.ts';
import { accessOptions, type Command, type Io, numberOf, outputOption, type Parsed, requiredText, serverOption, textOf, timeOf } from '../command.ts';
import { differenceText } from '../listings.ts';
import { tableText } from '../table.ts';
import { codeOf, dataText, reachable } from './get.ts';

export const timeline: Command = {
  name: 'timeline',
  summary: 'show changes and findings in order of time',
  usage: '[NODE]',
  description: 'The lane says which part of a node or cluster a change is of: firewall, kube-proxy, interface, service, security group, cni, network policy.',
  options: [
    outputOption,
    { name: 'service', value: 'NS/NAME', summary: 'only findings of this Service, and changes of it besides those of the node', names: 'service' },
    { name: 'since', value: 'TIME', summary: 'from this time on, or within so long', default: '2h' },
    { name: 'until', value: 'TIME', summary: 'up to this time' },
    { name: 'limit', value: 'N', summary: 'at most so many, the newest', default: '200' },
    serverOption,
    ...accessOptions,
  ],
  places: ['node'],
  examples: ['portreeve timeline node1 --since 30m', 'portreeve timeline --service shop/web --since 2026-01-31T13:00:00Z --until 2026-01-31T14:10:00Z'],
  run: (parsed, io) => reachable(io, () => show(parsed, io)),
};

async function show(parsed: Parsed, io: Io): Promise<number> {
  const now = Date.now();
  const [node] = parsed.positionals;
  const [from, to] = [timeOf(parsed, 'since', now), timeOf(parsed, 'until', now)];
  const limit = numberOf(parsed, 'limit', { min: 1, max: 1_000 });
  const query = { node, service: textOf(parsed, 'service'), from: from?.toString(), to: to?.toString(), limit: limit?.toString() };
  const answer = await ask(serverOf(parsed), 'timeline', { query });
  const items = answer['items'] as readonly TimelineItem[];
  const form = requiredText(parsed, 'output');
  if (form === 'json' || form === 'yaml') io.stdout.write(dataText(form, answer));
  else
    io.stdout.write(
      items.length === 0
        ? 'nothing on record\n'
        : tableText(
            ['TIME', 'NODE', 'LANE', 'WHAT', ...(form === 'wide' ? ['WHO'] : [])],
            items.map((item) => rowOf(item, form)),
          ),
    );
  return codeOf(answer, 0, io);
}

function rowOf(item: TimelineItem, form: string): string[] {
  const start = [new Date(item.at).toISOString(), item.node || '(cluster)'];
  if (item.event !== 'change')
    return [
      ...start,
      'finding',
      `${item.event === 'finding-opened' ? 'begins' : 'ends'}: ${item.finding.cause}  ${item.finding.summary}`,
      ...(form === 'wide' ? [actorText(item.finding.actor)] : []),
    ];
  const { kind, subject, before, after, actor } = item.change;
  return [...start, item.lane, `${kind} ${subject}  ${differenceText(before, after)}`, ...(form === 'wide' ? [actorText(actor)] : [])];
}
