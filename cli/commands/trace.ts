// `portreeve trace`: walks packets through the rules of a capture and shows every hook, chain and rule on the way.
import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { stringify } from 'yaml';
import { failure, reasonOf } from '../../shared/errors.ts';
import { limits } from '../../shared/limits.ts';
import type { Outcome } from '../../shared/model/outcome.ts';
import type { NodeState } from '../../shared/netfilter/node.ts';
import { verdictOf } from '../../shared/netfilter/outcomes.ts';
import { describePacket, type PacketDescription, packetText, parsePacketText } from '../../shared/netfilter/packet.parse.ts';
import { graphOf } from '../../shared/netfilter/walk.graph.ts';
import { walkMermaid } from '../../shared/netfilter/walk.mermaid.ts';
import { walkSvg } from '../../shared/netfilter/walk.svg.ts';
import { outcomeText, placed, walkText, wayCount } from '../../shared/netfilter/walk.text.ts';
import { type Walk, walk } from '../../shared/netfilter/walk.ts';
import { askFor, serverOf } from '../ask.ts';
import { readCapture } from '../capture.directory.ts';
import { accessOptions, type Command, type Io, numberOf, outputOption, type Parsed, requiredText, serverOption, textOf } from '../command.ts';
import { progressOn } from '../progress.ts';
import { printable } from '../table.ts';
import { dataText, reachable } from './get.ts';

export const trace: Command = {
  name: 'trace',
  summary: 'walk packets through the rules of a capture, or of a live node',
  usage: '--capture DIR | --node NAME --packet dst=ADDRESS,dport=PORT[,…]',
  description:
    'Fields of a packet: vantage (external, peer, pod, node), src (an address or a prefix; default: the whole outside world), dst (default: the address of the node), ' +
    'proto (default tcp), sport, dport, iif. With --packets every line of FILE is such a packet as JSON, with an id that comes back.\n' +
    'Ways that differ only in the endpoint are told and drawn once. -o svg draws the walk as a picture of its own, -o mermaid as text that wikis and tickets draw; ' +
    '-o json holds every branch, and the drawing as data under "graph".\n' +
    'With --node the packet is walked by the agent of that node, on the rules that it has now: ask it for any source. That wants the role operate.\n' +
    'Exit code 0: walked; 2: a packet or file could not be read, or the agent does not answer; 3: no collector answers; 4: it does not let you ask.',
  options: [
    { name: 'capture', value: 'DIR', summary: 'directory that "portreeve capture --out" wrote' },
    { name: 'node', value: 'NAME', summary: 'the live node that walks it, asked through the collector', names: 'node' },
    { name: 'packet', value: 'K=V,…', summary: 'one packet' },
    { name: 'packets', value: 'FILE', summary: 'many packets, one JSON object a line; - reads standard input' },
    { name: 'way', value: 'N', summary: 'only this way, by its number in the text (text, svg and mermaid)' },
    { ...outputOption, choices: ['text', 'json', 'ndjson', 'yaml', 'svg', 'mermaid'] },
    serverOption,
    ...accessOptions,
  ],
  examples: [
    'portreeve trace --capture node1 --packet dport=30080',
    'portreeve trace --node node1 --packet src=203.0.113.9,dport=30080',
    'portreeve trace --capture node1 --packet dport=30080 -o svg > walk.svg',
    'portreeve trace --capture node1 --packets packets.ndjson -o ndjson',
  ],
  run: (parsed, io) => runTrace(parsed, io),
};

async function runTrace(parsed: Parsed, io: Io): Promise<number> {
  const [packet, packets] = [textOf(parsed, 'packet'), textOf(parsed, 'packets')];
  if ((packet === undefined) === (packets === undefined)) throw failure('USAGE', ['trace wants either --packet or --packets; see portreeve trace --help']);
  const form = textOf(parsed, 'output') ?? 'text';
  if (textOf(parsed, 'node') !== undefined) return await reachable(io, () => traceLive(parsed, form, io));
  const way = numberOf(parsed, 'way', { min: 1, max: limits.walkBranchesMax });
  checkForm(form, way, packets);
  const node = await readCapture(requiredText(parsed, 'capture'), io);
  return packets === undefined ? traceOne(node, packet as string, { form, way, io }) : traceMany(node, packets, { form, way, io });
}

/** Asks the agent of a node. Its answer has the outcomes and the drawing; the text of every rule on the way is what `--capture` shows. */
async function traceLive(parsed: Parsed, form: string, io: Io): Promise<number> {
  const [node, text] = [requiredText(parsed, 'node'), textOf(parsed, 'packet')];
  if (text === undefined || textOf(parsed, 'capture') !== undefined || textOf(parsed, 'way') !== undefined)
    throw failure('USAGE', ['trace --node walks one --packet on a live node: without --packets, --capture and --way']);
  const fields = text.split(',').map((field) => field.split('=', 2));
  const bad = fields.find(([name, value]) => name === '' || value === undefined);
  if (bad !== undefined) throw failure('USAGE', [`--packet ${text}: fields are K=V, separated by commas`]);
  const drawing: 'svg' | 'mermaid' | undefined = form === 'svg' || form === 'mermaid' ? form : undefined;
  const body = { node, packet: Object.fromEntries(fields) as Record<string, string>, ...(drawing === undefined ? {} : { drawing }) };
  const answer = await askFor(serverOf(parsed), 'POST /trace', { body });
  if (drawing !== undefined) io.stdout.write(String(answer.drawing));
  else if (form === 'ndjson') io.stdout.write(`${JSON.stringify(answer.result)}\n`);
  else if (form === 'json' || form === 'yaml') io.stdout.write(dataText(form, answer));
  else io.stdout.write(liveText(node, text, answer.result as LiveAnswer));
  return 0;
}

interface LiveAnswer {
  readonly verdict?: string;
  readonly outcomes?: readonly Outcome[];
}

function liveText(node: string, packet: string, { verdict = 'unknown', outcomes = [] }: LiveAnswer): string {
  const lines = outcomes.map((outcome) => {
    const { decidedBy, sources } = outcome;
    const whom =
      sources === undefined
        ? 'everyone'
        : `${sources.slice(0, sourcesShown).join(' ')}${sources.length > sourcesShown ? ` and ${sources.length - sourcesShown} more` : ''}`;
    return printable(
      `  ${whom}: ${outcomeText(outcome)}${decidedBy === undefined || outcome.verdict === 'forward' || outcome.verdict === 'local' ? '' : ` by ${placed(decidedBy)}`}`,
    );
  });
  return `${[printable(`${node}, ${packet}: ${verdict}`), ...lines].join('\n')}\n`;
}

const sourcesShown = 6;

interface Printing {
  readonly form: string;
  readonly way: number | undefined;
  readonly io: Io;
}

/** Forms that show one way alone, if wanted. */
const wayForms: readonly string[] = ['text', 'svg', 'mermaid'];

function checkForm(form: string, way: number | undefined, packets: string | undefined): void {
  if (packets !== undefined && (form === 'svg' || form === 'mermaid')) throw failure('USAGE', [`-o ${form} draws the walk of one packet: use --packet`]);
  if (way === undefined) return;
  if (packets !== undefined) throw failure('USAGE', ['--way shows one way of one packet: use --packet']);
  if (!wayForms.includes(form)) throw failure('USAGE', [`--way is for the forms ${wayForms.join(', ')}: -o ${form} holds all branches`]);
}

/** The contract's form of an answer: outcomes with their deciders, and the rules that kept it from being certain. */
interface TraceAnswer {
  readonly verdict: string;
  readonly outcomes: readonly Outcome[];
  readonly unknown: NonNullable<Outcome['unless']>;
}

const answerOf = (outcomes: readonly Outcome[]): TraceAnswer => ({ verdict: verdictOf(outcomes).verdict, outcomes, unknown: verdictOf(outcomes).unknown });

function traceOne(node: NodeState, text: string, { form, way, io }: Printing): number {
  const read = parsePacketText(node, text);
  if (read.kind === 'invalid') throw failure('USAGE', [`--packet ${text}: ${read.reason}`]);
  const walked = walk(node, read.packet, { traced: true, reply: true });
  const ways = wayCount(walked);
  if (way !== undefined && way > ways) throw failure('USAGE', [`--way ${way}: this packet has ${ways} way${ways === 1 ? '' : 's'}`]);
  io.stdout.write(printed(walked, packetText(read.packet), { form, way }));
  return 0;
}

function printed(walked: Walk, packet: string, { form, way }: Pick<Printing, 'form' | 'way'>): string {
  const answer = answerOf(walked.outcomes);
  switch (form) {
    case 'text':
      return `${packet}: ${answer.verdict}\n\n${walkText(walked, way)}`;
    case 'svg':
      return walkSvg(graphOf(walked, packet, way));
    case 'mermaid':
      return walkMermaid(graphOf(walked, packet, way));
    case 'ndjson':
      return `${JSON.stringify(answer)}\n`;
    default: {
      const shown = { packet, ...answer, branches: walked.branches, graph: graphOf(walked, packet) };
      return form === 'yaml' ? stringify(JSON.parse(JSON.stringify(shown))) : `${JSON.stringify(shown, null, 2)}\n`;
    }
  }
}

async function traceMany(node: NodeState, file: string, { form, io }: Printing): Promise<number> {
  const answers: object[] = [];
  let status = 0;
  let number = 0;
  const progress = progressOn(io, 'packets');
  for await (const line of linesOf(file)) {
    progress.at(number++);
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
  progress.end();
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
