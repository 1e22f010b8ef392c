// `portreeve trace`: walks packets through the rules of a capture and shows every hook, chain and rule on the way.
import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { stringify } from 'yaml';
import { failure, reasonOf } from '../../shared/errors.ts';
import type { Outcome } from '../../shared/model/outcome.ts';
import type { NodeState } from '../../shared/netfilter/node.ts';
import { verdictOf } from '../../shared/netfilter/outcomes.ts';
import { describePacket, type PacketDescription, packetText, parsePacketText } from '../../shared/netfilter/packet.parse.ts';
import { walkText } from '../../shared/netfilter/walk.text.ts';
import { walk } from '../../shared/netfilter/walk.ts';
import { readCapture } from '../capture.directory.ts';
import { type Command, type Io, outputOption, type Parsed, requiredText, textOf } from '../command.ts';

export const trace: Command = {
  name: 'trace',
  summary: 'walk packets through the rules of a capture',
  usage: '--capture DIR --packet dst=ADDRESS,dport=PORT[,…]',
  description:
    'Fields of a packet: vantage (external, peer, pod, node), src (an address or a prefix; default: the whole outside world), dst (default: the address of the node), ' +
    'proto (default tcp), sport, dport, iif. With --packets every line of FILE is such a packet as JSON, with an id that comes back. ' +
    'Exit code 0: walked; 2: a packet or file could not be read.',
  options: [
    { name: 'capture', value: 'DIR', summary: 'directory that "portreeve capture --out" wrote' },
    { name: 'packet', value: 'K=V,…', summary: 'one packet' },
    { name: 'packets', value: 'FILE', summary: 'many packets, one JSON object a line; - reads standard input' },
    { ...outputOption, choices: ['text', 'json', 'ndjson', 'yaml'] },
  ],
  examples: ['portreeve trace --capture node1 --packet dport=30080', 'portreeve trace --capture node1 --packets packets.ndjson -o ndjson'],
  run: (parsed, io) => runTrace(parsed, io),
};

async function runTrace(parsed: Parsed, io: Io): Promise<number> {
  const [packet, packets] = [textOf(parsed, 'packet'), textOf(parsed, 'packets')];
  if ((packet === undefined) === (packets === undefined)) throw failure('USAGE', ['trace wants either --packet or --packets; see portreeve trace --help']);
  const node = await readCapture(requiredText(parsed, 'capture'), io);
  const form = textOf(parsed, 'output') ?? 'text';
  return packets === undefined ? traceOne(node, packet as string, { form, io }) : traceMany(node, packets, { form, io });
}

interface Printing {
  readonly form: string;
  readonly io: Io;
}

/** The contract's form of an answer: outcomes with their deciders, and the rules that kept it from being certain. */
interface TraceAnswer {
  readonly verdict: string;
  readonly outcomes: readonly Outcome[];
  readonly unknown: NonNullable<Outcome['unless']>;
}

const answerOf = (outcomes: readonly Outcome[]): TraceAnswer => ({ verdict: verdictOf(outcomes).verdict, outcomes, unknown: verdictOf(outcomes).unknown });

function traceOne(node: NodeState, text: string, { form, io }: Printing): number {
  const read = parsePacketText(node, text);
  if (read.kind === 'invalid') throw failure('USAGE', [`--packet ${text}: ${read.reason}`]);
  const walked = walk(node, read.packet, { traced: true, reply: true });
  const answer = answerOf(walked.outcomes);
  const shown = { packet: packetText(read.packet), ...answer, branches: walked.branches };
  if (form === 'text') io.stdout.write(`${packetText(read.packet)}: ${answer.verdict}\n\n${walkText(walked)}`);
  else if (form === 'yaml') io.stdout.write(stringify(JSON.parse(JSON.stringify(shown))));
  else io.stdout.write(`${form === 'ndjson' ? JSON.stringify(answer) : JSON.stringify(shown, null, 2)}\n`);
  return 0;
}

async function traceMany(node: NodeState, file: string, { form, io }: Printing): Promise<number> {
  const answers: object[] = [];
  let status = 0;
  let number = 0;
  for await (const line of linesOf(file)) {
    number++;
    if (line.trim() === '') continue;
    const answer = answerLine(node, line);
    if ('error' in answer) {
      status = 2;
      io.stderr.write(`${file}:${number}: ${answer.error}: ${line.slice(0, 200)}\n`);
    }
    if (form === 'ndjson') io.stdout.write(`${JSON.stringify(answer)}\n`);
    else if (form === 'text') io.stdout.write(textLine(answer));
    else answers.push(answer);
  }
  if (form === 'json') io.stdout.write(`${JSON.stringify({ items: answers }, null, 2)}\n`);
  if (form === 'yaml') io.stdout.write(stringify({ items: JSON.parse(JSON.stringify(answers)) }));
  return status;
}

type LineAnswer = ({ readonly id: unknown } & TraceAnswer) | { readonly id?: unknown; readonly error: string };

function answerLine(node: NodeState, line: string): LineAnswer {
  let described: (PacketDescription & { readonly id?: unknown }) | null;
  try {
    described = JSON.parse(line) as typeof described;
  } catch (error) {
    return { error: `not valid JSON: ${(error as Error).message}` };
  }
  if (typeof described !== 'object' || described === null) return { error: 'not a JSON object' };
  const read = describePacket(node, textual(described));
  if (read.kind === 'invalid') return { id: described.id, error: read.reason };
  return { id: described.id, ...answerOf(walk(node, read.packet, { traced: false, reply: true }).outcomes) };
}

/** JSON may hold numbers, null or worse where a description has words. */
function textual(raw: PacketDescription): PacketDescription {
  const text = (value: unknown): string | undefined => (value === undefined || value === null ? undefined : String(value));
  return {
    vantage: text(raw.vantage),
    src: text(raw.src),
    dst: text(raw.dst),
    proto: text(raw.proto),
    sport: text(raw.sport),
    dport: text(raw.dport),
    iif: text(raw.iif),
  };
}

function textLine(answer: LineAnswer): string {
  if ('error' in answer) return `${String(answer.id)}\terror\t${answer.error}\n`;
  const ways = answer.outcomes.map((outcome) => `${outcome.dnat ?? ''}${outcome.masquerade ? ' masquerade' : ''} ${outcome.weight}`.trim()).join(', ');
  return `${String(answer.id)}\t${answer.verdict}\t${ways}\t${answer.outcomes[0]?.decidedBy?.text ?? ''}\n`;
}

async function* linesOf(file: string): AsyncIterable<string> {
  const input = file === '-' ? process.stdin : createReadStream(file);
  try {
    yield* createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY });
  } catch (error) {
    throw failure('INPUT_UNREADABLE', [file, reasonOf(error)], error);
  }
}
