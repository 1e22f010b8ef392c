// What becomes of a NodePort's clients where an eBPF data plane serves it: decided by its service maps before any rule is asked.
import { type Family, formatAddress } from '../model/address.ts';
import { type NodePortKey, type Protocol, protocolNumbers } from '../model/fact.ts';
import type { Decider, Outcome, Vantage } from '../model/outcome.ts';
import { interfaceOfAddress } from './host.ts';
import type { NodeState } from './node.ts';
import type { ServiceBackend, ServiceFrontend } from './service-maps.parse.ts';

/** Frontends that are NodePorts of this node: entries of its own addresses, and those that stand for every node's. */
export function mappedNodePorts(node: NodeState): readonly NodePortKey[] {
  return (node.serviceMaps ?? []).filter((frontend) => isOwn(node, frontend)).flatMap(keysOf);
}

/**
 * The outcomes of one vantage for a NodePort that the maps serve at an address; undefined where they do not, so that rules and sockets decide. What netfilter
 * does to a packet after a data plane has translated it is not in the maps and not judged.
 */
export function mappedOutcomes(
  node: NodeState,
  nodePort: NodePortKey,
  { vantage, address }: { readonly vantage: Vantage; readonly address: bigint },
): readonly Outcome[] | undefined {
  const all = (node.serviceMaps ?? []).filter((frontend) => isOwn(node, frontend) && keysOf(frontend).some((key) => sameKey(key, nodePort)));
  const frontend = vantage === 'external' || vantage === 'peer' ? outsideEntry(all, address) : insideEntry(all, address);
  if (frontend === undefined) return undefined;
  const backends = (vantage === 'external' || vantage === 'peer' ? frontend.localBackends : undefined) ?? frontend.backends;
  const decidedBy = deciderOf(frontend, address);
  if (frontend.restricted) return [{ ...plain, verdict: 'unknown', decidedBy, unless: [{ ...decidedBy, text: `${decidedBy.text} for some networks alone` }] }];
  if (backends.length === 0) return [{ ...plain, verdict: 'drop', decidedBy: { ...decidedBy, text: `${decidedBy.text} has no endpoints` } }];
  return backends.map((backend) => ({ ...plain, verdict: 'forward', dnat: targetText(frontend.family, backend), weight: 1 / backends.length, decidedBy }));
}

/** Whether the node sends a packet under its own address is the data plane's setting, which no map tells. */
const plain = { dnat: null, masquerade: false, weight: 1 } as const;

const sameKey = (a: NodePortKey, b: NodePortKey): boolean => a.protocol === b.protocol && a.family === b.family && a.port === b.port;

function isOwn(node: NodeState, { family, address, nodePort }: ServiceFrontend): boolean {
  if (nodePort === false) return false;
  return address === 'any' || interfaceOfAddress(node.host, family, address) !== undefined;
}

function keysOf({ protocols, family, port }: ServiceFrontend): readonly NodePortKey[] {
  const words = (Object.keys(protocolNumbers) as Protocol[]).filter((word) => protocols.includes(protocolNumbers[word]));
  return port === 0 ? [] : words.map((protocol) => ({ protocol, family, port }));
}

/** Packets from outside are looked up by the address that they have. */
const outsideEntry = (all: readonly ServiceFrontend[], address: bigint): ServiceFrontend | undefined =>
  all.find((frontend) => frontend.address === address && frontend.scope === 'external');

/** Pods and processes are served by the entry of the address, the inner one first, else by that for every node. */
function insideEntry(all: readonly ServiceFrontend[], address: bigint): ServiceFrontend | undefined {
  const exact = all.filter((frontend) => frontend.address === address);
  const any = all.filter((frontend) => frontend.address === 'any');
  const inner = (entries: readonly ServiceFrontend[]) => entries.find(({ scope }) => scope === 'internal') ?? entries[0];
  return inner(exact) ?? inner(any);
}

function deciderOf({ program, map, family, address, port }: ServiceFrontend, asked: bigint): Decider {
  return { by: 'map', text: `${program}'s ${map}: ${targetText(family, { address: address === 'any' ? asked : address, port })}` };
}

function targetText(family: Family, { address, port }: ServiceBackend): string {
  const text = formatAddress(family, address);
  return `${family === 6 ? `[${text}]` : text}:${port}`;
}
