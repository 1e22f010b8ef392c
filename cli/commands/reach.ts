// `portreeve reach`: for every NodePort of a capture, which sources get where, and by which rule the others fail.
import { failure } from '../../shared/errors.ts';
import { type Family, formatAddress } from '../../shared/model/address.ts';
import { type NodePortKey, nodePortFactKey, protocolNumbers } from '../../shared/model/fact.ts';
import type { Outcome } from '../../shared/model/outcome.ts';
import { claimsOf } from '../../shared/netfilter/claims.ts';
import { outsideSources } from '../../shared/netfilter/clients.ts';
import { primaryAddress } from '../../shared/netfilter/host.ts';
import type { NodeState } from '../../shared/netfilter/node.ts';
import { verdictOf } from '../../shared/netfilter/outcomes.ts';
import { outcomeText, placed } from '../../shared/netfilter/walk.text.ts';
import { walk } from '../../shared/netfilter/walk.ts';
import { readCapture } from '../capture.directory.ts';
import { type Command, type Io, listOf, outputOption, type Parsed, requiredText, textOf } from '../command.ts';
import { type Progress, progressOn } from '../progress.ts';

export const reach: Command = {
  name: 'reach',
  summary: 'say for every NodePort of a capture which sources get in',
  usage: '--capture DIR [--port N[/PROTO]]',
  description:
    'Walks the whole outside world at once to each NodePort that the rules name (or to the ports given) and prints how sources divide: where they get, or which rule stops them. Exit code 0: every port asked about lets somebody in; 1: some do not.',
  options: [
    { name: 'capture', value: 'DIR', summary: 'directory that "portreeve capture --out" wrote' },
    { name: 'port', value: 'N[/PROTO]', summary: 'only this port (may be given several times); need not be named by a rule', multiple: true },
    outputOption,
  ],
  examples: ['portreeve reach --capture node1', 'portreeve reach --capture node1 --port 30080 --port 30053/udp -o json'],
  run: (parsed, io) => runReach(parsed, io),
};

interface Reached {
  readonly nodePort: NodePortKey;
  readonly service?: string;
  readonly address: string;
  readonly verdict: string;
  readonly outcomes: readonly Outcome[];
}

async function runReach(parsed: Parsed, io: Io): Promise<number> {
  const node = await readCapture(requiredText(parsed, 'capture'), io);
  const ports = askedPorts(node, listOf(parsed, 'port').flatMap(portsOf));
  const form = textOf(parsed, 'output') ?? 'text';
  const { count, open } = form === 'text' ? writeText(node, ports, io) : await writeList(node, ports, { io, form });
  if (count === 0) io.stderr.write('no rule of this capture names a NodePort\n');
  return open === count ? 0 : 1;
}

/** How many ports were looked at, and how many of them let somebody in. */
interface Tally {
  count: number;
  open: number;
}

/** Text is written as it comes: the outcomes of tens of thousands of ports are not kept. */
function writeText(node: NodeState, ports: readonly Asked[], io: Io): Tally {
  const tally: Tally = { count: 0, open: 0 };
  let text = '';
  for (const item of reachedPorts(node, ports, progressOn(io, 'NodePorts'))) {
    add(tally, item);
    text += reachText(item);
    if (text.length < chunkLength) continue;
    io.stdout.write(text);
    text = '';
  }
  if (text !== '') io.stdout.write(text);
  return tally;
}

const chunkLength = 1 << 16;

async function writeList(node: NodeState, ports: readonly Asked[], { io, form }: { readonly io: Io; readonly form: string }): Promise<Tally> {
  const items = [...reachedPorts(node, ports, progressOn(io, 'NodePorts'))];
  const list = { apiVersion: 'portreeve/v1', kind: 'ReachList', items };
  if (form === 'json') io.stdout.write(`${JSON.stringify(list, null, 2)}\n`);
  else {
    const { stringify } = await import('yaml');
    io.stdout.write(stringify(JSON.parse(JSON.stringify(list))));
  }
  const tally: Tally = { count: 0, open: 0 };
  for (const item of items) add(tally, item);
  return tally;
}

function add(tally: Tally, { outcomes }: Reached): void {
  tally.count++;
  if (outcomes.some(({ verdict }) => verdict === 'forward' || verdict === 'local')) tally.open++;
}

/** A port, and the Service that the rules name for it. */
interface Asked {
  readonly nodePort: NodePortKey;
  readonly service: string | undefined;
}

/** The ports that were named, or all that the rules name, in order. */
function askedPorts(node: NodeState, named: readonly NodePortKey[]): readonly Asked[] {
  const claims = claimsOf(node);
  const ports = named.length > 0 ? named : [...claims.values()].map((claim) => claim.nodePort);
  return [...ports]
    .sort((a, b) => a.port - b.port || a.family - b.family || (a.protocol < b.protocol ? -1 : 1))
    .map((nodePort) => ({ nodePort, service: claims.get(nodePortFactKey(nodePort))?.service }));
}

function* reachedPorts(node: NodeState, ports: readonly Asked[], progress: Progress): Iterable<Reached> {
  for (const [index, { nodePort, service }] of ports.entries()) {
    progress.at(index, ports.length);
    const { family, port } = nodePort;
    const destination = primaryAddress(node.host, family);
    if (destination === undefined) continue;
    const packet = {
      vantage: 'external',
      family,
      protocol: protocolNumbers[nodePort.protocol],
      sources: outsideSources(node, family),
      destination,
      destinationPort: port,
    } as const;
    const { outcomes } = walk(node, packet, { traced: false, reply: true });
    const address = formatAddress(family, destination);
    yield { nodePort, address, verdict: verdictOf(outcomes).verdict, outcomes, ...(service === undefined ? {} : { service }) };
  }
  progress.end();
}

function portsOf(text: string): readonly NodePortKey[] {
  const found = /^(\d{1,5})(?:\/(tcp|udp|sctp))?$/.exec(text);
  const port = Number(found?.[1]);
  if (found === null || port < 1 || port > 65535)
    throw failure('USAGE', [`--port ${text}: give a port from 1 to 65535, and /tcp, /udp or /sctp if it is not tcp`]);
  return ([4, 6] as const).map((family: Family) => ({ protocol: (found[2] ?? 'tcp') as NodePortKey['protocol'], family, port }));
}

function reachText(item: Reached): string {
  const { nodePort, outcomes } = item;
  const head = `${item.service ?? '(no Service named)'}  ${nodePort.family === 6 ? `[${item.address}]` : item.address}:${nodePort.port}/${nodePort.protocol}  ${item.verdict}\n`;
  return head + outcomes.map((outcome) => `  ${sourcesText(outcome)}: ${outcomeText(outcome)}${ruleText(outcome)}\n`).join('');
}

const shownSources = 6;

function sourcesText({ sources }: Outcome): string {
  if (sources === undefined) return 'everyone';
  return sources.length <= shownSources ? sources.join(' ') : `${sources.slice(0, shownSources).join(' ')} and ${sources.length - shownSources} more prefixes`;
}

function ruleText(outcome: Outcome): string {
  if (outcome.decidedBy === undefined || outcome.verdict === 'forward' || outcome.verdict === 'local') return '';
  return ` by ${placed(outcome.decidedBy)}`;
}
