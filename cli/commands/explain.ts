// `portreeve explain`: asks a collector why a NodePort does not answer on a node.

import type { Explanation } from '../../collector/explain/explain.ts';
import { explanationText } from '../../collector/explain/text.ts';
import { failure } from '../../shared/errors.ts';
import { protocolNumbers } from '../../shared/model/fact.ts';
import { ask, serverOf } from '../ask.ts';
import { accessOptions, type Command, type Io, outputOption, type Parsed, requiredText, serverOption } from '../command.ts';
import { dataText, reachable } from './get.ts';

export const command: Command = {
  name: 'explain',
  summary: 'ask the collector why a NodePort does not answer',
  usage: 'NODE PORT[/PROTO]',
  description: 'Exit code 0: clients get in, or are kept out by design; 1: they do not get in, or nobody can say; 3: no collector answers.',
  options: [outputOption, serverOption, ...accessOptions],
  examples: ['portreeve explain node1 30080', 'portreeve explain node1 30053/udp -o json'],
  run: (parsed, io) => reachable(io, () => explain(parsed, io)),
};

async function explain(parsed: Parsed, io: Io): Promise<number> {
  const { node, port, protocol } = questionOf(parsed.positionals);
  const answer = await ask(serverOf(parsed), 'explain', { query: { node, port, protocol } });
  const explanation = answer.explanation as Explanation;
  const form = requiredText(parsed, 'output');
  const caution = typeof answer.caution === 'string' ? `${answer.caution}\n\n` : '';
  io.stdout.write(form === 'json' || form === 'yaml' ? dataText(form, answer) : `${caution}${explanationText(explanation, { colour: io.colour })}`);
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
