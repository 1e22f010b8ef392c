// Takes out of `ip -j neigh` and `bridge -j fdb` what decides nothing or changes with every packet: what is left stays the same while the network does.
import { listOf } from './interfaces.parse.ts';

/** Entries kept; a cluster has one for each node. */
export const neighboursMax = 8_192;

const tunnelKinds: ReadonlySet<unknown> = new Set(['vxlan', 'geneve']);

/** Names of the interfaces in ip-addr.json that are tunnels with entries of their own for each node. */
export function tunnelsIn(file: Buffer | undefined): ReadonlySet<string> {
  const list = listOf(file?.toString('utf8') ?? '') ?? [];
  const tunnels = list.filter(({ linkinfo }) => tunnelKinds.has((linkinfo as { readonly info_kind?: unknown } | undefined)?.info_kind));
  return new Set(tunnels.flatMap(({ ifname }) => (typeof ifname === 'string' ? [ifname] : [])));
}

interface Wanted {
  readonly tunnels: ReadonlySet<string>;
  readonly routes: Buffer | undefined;
  readonly routes6: Buffer | undefined;
}

/** Entries of tunnels and of gateways, sorted; states that come and go with traffic are all REACHABLE. Undefined when the text is no JSON list. */
export function steadyNeighbours(text: string, { tunnels, routes, routes6 }: Wanted): string | undefined {
  const list = listOf(text);
  if (list === undefined) return undefined;
  const gateways = new Set([...gatewaysIn(routes), ...gatewaysIn(routes6)]);
  const kept = list.filter(({ dst, dev }) => typeof dst === 'string' && typeof dev === 'string' && (tunnels.has(dev) || gateways.has(dst)));
  return lines(kept.map(({ dst, dev, lladdr, state }) => ({ dst, dev, ...(lladdr === undefined ? {} : { lladdr }), state: [steadyState(state)] })));
}

/** Entries that name another node (`dst`), sorted. Undefined when the text is no JSON list. */
export function steadyForwarding(text: string): string | undefined {
  const list = listOf(text);
  return list === undefined
    ? undefined
    : lines(list.filter(({ dst }) => typeof dst === 'string').map(({ mac, ifname, dst, state }) => ({ mac, ifname, dst, state })));
}

const gatewaysIn = (file: Buffer | undefined): readonly unknown[] => (listOf(file?.toString('utf8') ?? '') ?? []).flatMap(({ gateway }) => gateway ?? []);

function steadyState(state: unknown): string {
  const words = Array.isArray(state) ? state : [];
  return (['PERMANENT', 'NOARP', 'FAILED', 'INCOMPLETE'] as const).find((word) => words.includes(word)) ?? 'REACHABLE';
}

const lines = (entries: readonly object[]): string =>
  `[${entries
    .map((entry) => JSON.stringify(entry))
    .sort()
    .slice(0, neighboursMax)
    .join(',\n')}]\n`;
