// A day of changes of a small cluster as it goes by: rollouts, kube-proxy's syncs after them, people and timers at work. Everything is made from a seed.
import type { Change } from '../../../shared/model/change.ts';

export const minute = 60_000;
export const hour = 60 * minute;
/** When the day ends; it begins 24 hours earlier. Milliseconds since 1970. */
export const dayEnd = 1_795_300_000_000;
export const nodes = ['node1', 'node2', 'node3'];

export interface DayOptions {
  readonly seed: number;
  /** Rollouts of some Service or other. */
  readonly rollouts: number;
  /** Milliseconds from a change of endpoints to kube-proxy's write, by the hour of the day; absent: 0.2 to 0.8 s. */
  readonly syncMs?: (hourOfDay: number) => number;
}

/** The day's changes in order of time. */
export function dayOf({ seed, rollouts, syncMs }: DayOptions): Change[] {
  const random = generator(seed);
  const changes: Change[] = [];
  for (let index = 0; index < rollouts; index++) {
    const at = dayEnd - 24 * hour + Math.floor(((index + random()) / rollouts) * 24 * hour);
    const name = `team${Math.floor(random() * 8)}/app${Math.floor(random() * 40)}`;
    const followMs = syncMs === undefined ? 200 + random() * 600 : syncMs((at - dayEnd + 24 * hour) / hour);
    changes.push(...rolloutOf({ at, name, number: index, followMs }));
  }
  for (let at = dayEnd - 24 * hour; at < dayEnd; at += 20 * minute) {
    for (const node of nodes) changes.push(...chores(at + Math.floor(random() * 10 * minute), node));
  }
  return changes.sort((a, b) => a.at - b.at);
}

export const byProxy = { pid: 900, comm: 'iptables-restor', parents: [{ pid: 700, comm: 'kube-proxy' }], how: 'nft-generation' } as const;

// A pod goes, another comes, its slice follows, and each node's kube-proxy rewrites the chains.
function rolloutOf({
  at,
  name,
  number,
  followMs,
}: {
  readonly at: number;
  readonly name: string;
  readonly number: number;
  readonly followMs: number;
}): Change[] {
  const [was, is] = [`10.244.1.${number % 250}`, `10.244.2.${(number + 7) % 250}`];
  const slice = (address: string, node: string): string => `service: ${name}\nendpoints: ${address} on ${node} (ready)`;
  const objects: Change[] = [
    { at, node: '', kind: 'pod', subject: `Pod ${name}-${number}`, before: 'phase: Running', after: null },
    { at: at + 400, node: '', kind: 'pod', subject: `Pod ${name}-${number + 1}`, before: null, after: 'phase: Running' },
    { at: at + 900, node: '', kind: 'endpoints', subject: `EndpointSlice ${name}-abcde`, before: slice(was, 'node1'), after: slice(is, 'node2') },
  ];
  const syncs = nodes.map((node, index): Change => {
    const line = (address: string): string => `-A KUBE-SEP-${number} -p tcp -m comment --comment "${name}:http" -j DNAT --to-destination ${address}:8080`;
    return {
      at: Math.round(at + 900 + followMs + index * 40),
      node,
      kind: 'rule',
      subject: `ip nat KUBE-SEP-${number}`,
      before: line(was),
      after: line(is),
      owner: 'kube-proxy',
      actor: byProxy,
    };
  });
  return [...objects, ...syncs];
}

// fail2ban bans and forgets, and a device of the network plugin comes.
function chores(at: number, node: string): Change[] {
  const ban = {
    node,
    kind: 'set',
    subject: 'ip filter f2b-sshd',
    owner: 'fail2ban',
    actor: { pid: 50, comm: 'fail2ban-server', how: 'nft-generation' },
  } as const;
  const line = `-A f2b-sshd -s 198.51.100.${Math.floor(at / minute) % 250}/32 -j REJECT --reject-with icmp-port-unreachable`;
  return [
    { ...ban, at, before: null, after: line },
    { ...ban, at: at + 10 * minute, before: line, after: null },
    { at: at + 3 * minute, node, kind: 'interface', subject: `interface veth${at % 9973}`, before: null, after: 'up' },
  ];
}

/** Numbers from 0 to 1 that follow from the seed (mulberry32). */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
