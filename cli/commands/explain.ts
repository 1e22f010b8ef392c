// `portreeve explain`: asks a collector why a NodePort does not answer on a node.

import type { Explanation } from '../../collector/explain/explain.ts';
import { explanationText } from '../../collector/explain/text.ts';
import { failure } from '../../shared/errors.ts';
import { protocolNumbers } from '../../shared/model/fact.ts';
import { ask, serverOf } from '../ask.ts';
import { accessOptions, type Command, type Io, outputChoices, outputOption, type Parsed, requiredText, serverOption } from '../command.ts';
import { dataText, reachable } from './get.ts';

export const command: Command = {
  name: 'explain',
  summary: 'ask the collector why a NodePort does not answer',
  usage: 'NODE PORT[/PROTO]',
  description:
    'With -o svg or -o mermaid the way of the packets through the rules is drawn, as the agent finds them now.\n' +
    'Exit code 0: clients get in, or are kept out by design; 1: they do not get in, or nobody can say; 3: no collector answers; 4: it does not let you ask.',
  options: [{ ...outputOption, choices: [...outputChoices, 'svg', 'mermaid'] }, serverOption, ...accessOptions],
  examples: ['portreeve explain node1 30080', 'portreeve explain node1 30053/udp -o json', 'portreeve explain node1 30080 -o svg > walk.svg'],
  run: (parsed, io) => reachable(io, () => explain(parsed, io)),
};

async function explain(parsed: Parsed, io: Io): Promise<number> {
  const { node, port, protocol } = questionOf(parsed.positionals);
  const form = requiredText(parsed, 'output');
  const drawing = form === 'svg' || form === 'mermaid' ? form : undefined;
  const answer = await ask(serverOf(parsed), 'explain', { query: { node, port, protocol, drawing } });
  const explanation = answer.explanation as Explanation;
  const caution = typeof answer.caution === 'string' ? `${answer.caution}\n\n` : '';
  if (drawing !== undefined) {
    if (typeof answer.drawing !== 'string') throw failure('NO_DRAWING', [String(answer.drawingProblem ?? 'the collector is older than this command')]);
    io.stdout.write(answer.drawing);
  } else io.stdout.write(form === 'json' || form === 'yaml' ? dataText(form, answer) : `${caution}${explanationText(explanation, { colour: io.colour })}`);
  return explanation.kind === 'healthy' || explanation.kind === 'by-design' ? 0 : 1;
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
