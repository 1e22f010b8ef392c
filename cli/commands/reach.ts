// `portreeve reach`: for every NodePort of a capture, which sources get where, and by which rule the others fail.
import { stringify } from 'yaml';
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
  const items = reachedPorts(node, listOf(parsed, 'port').flatMap(portsOf));
  const form = textOf(parsed, 'output') ?? 'text';
  if (form === 'json') io.stdout.write(`${JSON.stringify({ apiVersion: 'portreeve/v1', kind: 'ReachList', items }, null, 2)}\n`);
  else if (form === 'yaml') io.stdout.write(stringify({ apiVersion: 'portreeve/v1', kind: 'ReachList', items: JSON.parse(JSON.stringify(items)) }));
  else io.stdout.write(items.map(reachText).join(''));
  if (items.length === 0) io.stderr.write('no rule of this capture names a NodePort\n');
  return items.every((item) => item.outcomes.some((outcome) => outcome.verdict === 'forward' || outcome.verdict === 'local')) ? 0 : 1;
}

function reachedPorts(node: NodeState, asked: readonly NodePortKey[]): readonly Reached[] {
  const claims = claimsOf(node);
  const ports = asked.length > 0 ? asked : [...claims.values()].map((claim) => claim.nodePort);
  return [...ports]
    .sort((a, b) => a.port - b.port || a.family - b.family || (a.protocol < b.protocol ? -1 : 1))
    .flatMap((nodePort) => {
      const destination = primaryAddress(node.host, nodePort.family);
      if (destination === undefined) return [];
      const protocol = protocolNumbers[nodePort.protocol];
      const sources = outsideSources(node, nodePort.family);
      const { outcomes } = walk(
        node,
        { vantage: 'external', family: nodePort.family, protocol, sources, destination, destinationPort: nodePort.port },
        { traced: false, reply: true },
      );
      const service = claims.get(nodePortFactKey(nodePort))?.service;
      return [
        {
          nodePort,
          address: formatAddress(nodePort.family, destination),
          verdict: verdictOf(outcomes).verdict,
          outcomes,
          ...(service === undefined ? {} : { service }),
        },
      ];
    });
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
