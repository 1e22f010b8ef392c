// Keeps of `conntrack -L` what says where clients of the node's own ports are sent, without the numbers that change by themselves.
import { parseFlows } from '../../shared/netfilter/surroundings.parse.ts';
import { listOf } from './interfaces.parse.ts';

/** Entries kept: the clients of UDP NodePorts, one for each of their ports. */
export const flowsMax = 10_000;

/** Why an output cannot be that of `conntrack -L`; undefined when it can. */
export function flowsFault(output: Buffer): string | undefined {
  const text = output.subarray(0, 512).toString('latin1');
  if (text === '') return undefined;
  if (!/^\S+\s+\d+ .*\bsrc=\S+ dst=/.test(text)) return `it prints what is no list of connections: ${JSON.stringify(text.split('\n')[0]?.slice(0, 80))}`;
  return output.at(-1) === 0x0a ? undefined : 'its list ends in the middle';
}

/** Addresses of the node in ip-addr.json. */
export const ownAddresses = (file: Buffer | undefined): readonly string[] =>
  (listOf(file?.toString('utf8') ?? '') ?? []).flatMap(({ addr_info: list }) =>
    (Array.isArray(list) ? list : []).flatMap((each: { readonly local?: unknown }) => (typeof each?.local === 'string' ? [each.local] : [])),
  );

/**
 * Lines of connections to the node's own addresses whose target was replaced, and of TCP connections whose source port was replaced and that got no answer,
 * sorted, without time left and counts. Lines that are not understood are left out: they say nothing of a NodePort.
 */
export function steadyFlows(text: string, own: ReadonlySet<string>): { readonly text: string; readonly left: number } {
  const lines = text.split('\n').flatMap((line) => {
    const flow = parseFlows(line).items[0];
    if (flow === undefined) return [];
    const translated = flow.destination !== flow.replySource || flow.destinationPort !== flow.replySourcePort;
    const sourcePort = Number(/\bsport=(\d+)/.exec(line)?.[1]);
    const unanswered = flow.state === 'SYN_SENT' && sourcePort !== flow.replyDestinationPort;
    const wanted = (flow.protocol !== 'tcp' && translated && own.has(flow.destination)) || unanswered;
    return wanted ? [steadyLine(line)] : [];
  });
  const kept = lines.sort().slice(0, flowsMax);
  return { text: kept.map((line) => `${line}\n`).join(''), left: lines.length - kept.length };
}

const steadyLine = (line: string): string =>
  line
    .replace(/^(?:ipv[46]\s+\d+\s+)?(\w+)\s+(\d+)\s+\d+/, '$1 $2 0')
    .replaceAll(/ zone=0\b/g, '')
    .replaceAll(/ (?:packets|bytes|use|id|delta-time|secctx)=\S+/g, '')
    .replaceAll(/\s+/g, ' ')
    .trim();
