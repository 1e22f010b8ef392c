// `portreeve explain`: asks a collector why a NodePort does not answer on a node.

import type { Correlation } from '../../collector/correlate/index.ts';
import { durationText } from '../../collector/correlate/windows.ts';
import type { Explanation } from '../../collector/explain/explain.ts';
import { explanationText } from '../../collector/explain/text.ts';
import { failure } from '../../shared/errors.ts';
import { actorText } from '../../shared/model/change.ts';
import { protocolNumbers } from '../../shared/model/fact.ts';
import { ask, serverOf } from '../ask.ts';
import { accessOptions, type Command, type Io, outputChoices, outputOption, type Parsed, requiredText, serverOption, timeOf } from '../command.ts';
import { differenceText } from '../listings.ts';
import { printable } from '../table.ts';
import { codeOf, dataText, reachable } from './get.ts';

export const command: Command = {
  name: 'explain',
  summary: 'ask the collector why a NodePort does not answer',
  usage: 'NODE PORT[/PROTO]',
  description:
    'With -o svg or -o mermaid the way of the packets through the rules is drawn, as the agent finds them now.\n' +
    'Exit code 0: clients get in, or are kept out by design; 1: they do not get in, or nobody can say; 3: no collector answers; 4: it does not let you ask; 5: clients get in as far as is known, but what is known of the cluster is old.',
  options: [
    { ...outputOption, choices: [...outputChoices, 'svg', 'mermaid'] },
    { name: 'at', value: 'TIME', summary: 'as it was believed then: 2026-01-31T14:03:22Z, or 10m for ten minutes ago' },
    serverOption,
    ...accessOptions,
  ],
  places: ['node', 'nodeport'],
  examples: ['portreeve explain node1 30080', 'portreeve explain node1 30053/udp -o json', 'portreeve explain node1 30080 -o svg > walk.svg'],
  run: (parsed, io) => reachable(io, () => explain(parsed, io)),
};

async function explain(parsed: Parsed, io: Io): Promise<number> {
  const { node, port, protocol } = questionOf(parsed.positionals);
  const form = requiredText(parsed, 'output');
  const drawing = form === 'svg' || form === 'mermaid' ? form : undefined;
  const at = timeOf(parsed, 'at', Date.now());
  if (at !== undefined && drawing !== undefined) throw failure('USAGE', [`-o ${form} draws the walk on the rules of now: leave out --at`]);
  const answer = await ask(serverOf(parsed), 'explain', { query: { node, port, protocol, drawing, at: at?.toString() } });
  const explanation = answer.explanation as Explanation;
  const caution = typeof answer.caution === 'string' ? `${answer.caution}\n\n` : '';
  if (drawing !== undefined) {
    if (typeof answer.drawing !== 'string') throw failure('NO_DRAWING', [String(answer.drawingProblem ?? 'the collector is older than this command')]);
    io.stdout.write(answer.drawing);
  } else if (form === 'json' || form === 'yaml') io.stdout.write(dataText(form, answer));
  else io.stdout.write(`${caution}${explanationText(explanation, { colour: io.colour })}${beforeText(answer, form)}`);
  return codeOf(answer, explanation.kind === 'healthy' || explanation.kind === 'by-design' ? 0 : 1, io);
}

const beforeShown = 5;

/** What had changed before the onset, in order of time, the nearest last. */
function beforeText({ before, onset }: { readonly before?: unknown; readonly onset?: unknown }, form: string): string {
  if (typeof onset !== 'number' || !Array.isArray(before) || before.length === 0) return '';
  const shown = (before as readonly Correlation[]).slice(0, form === 'wide' ? before.length : beforeShown).toSorted((a, b) => a.change.at - b.change.at);
  const lines = shown.map(({ change, reasons }) => {
    const when = change.at <= onset ? `${durationText(onset - change.at)} before` : 'at once';
    return [
      `    ${when.padEnd(14)}  ${change.kind} ${change.subject}, ${actorText(change.actor)}: ${differenceText(change.before, change.after)}`,
      ...(form === 'wide' ? reasons.map((reason) => `                    - ${reason}`) : []),
    ];
  });
  return `\n  Before the onset at ${new Date(onset).toISOString()}\n${lines.flat().map(printable).join('\n')}\n`;
}

function questionOf(positionals: readonly string[]): { readonly node: string; readonly port: string; readonly protocol: string | undefined } {
  const [node, text = '', ...rest] = positionals;
  const [port = '', protocol, ...more] = text.split('/');
  const fits =
    /^\d{1,5}$/.test(port) &&
    Number(port) >= 1 &&
    Number(port) <= 65_535 &&
    (protocol === undefined || Object.hasOwn(protocolNumbers, protocol)) &&
    more.length === 0;
  if (node === undefined || rest.length > 0 || !fits)
    throw failure('USAGE', [`explain ${positionals.join(' ')}: NODE and PORT[/PROTO] are wanted, e.g. explain node1 30080/tcp`]);
  return { node, port, protocol };
}
