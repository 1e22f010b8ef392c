// The listings of `portreeve get` that tell how well the cluster is observed: gaps, coverage, replicas.
import type { CoverageItem } from '../collector/api/fleet-resources.ts';
import type { ReplicaItem } from '../collector/replicas/replicas.ts';
import type { Gap } from '../collector/store/records.ts';
import type { Listing } from './listings.ts';
import { spanText } from './table.ts';

export const gaps: Listing<Gap> = {
  filters: ['node', 'reason', 'since', 'limit'],
  head: ['NODE', 'REASON', 'FROM', 'TO', 'DETAIL'],
  wideHead: ['STREAM', 'NUMBERS'],
  row: ({ node, reason, from, to, detail }) => [node, reason, timeText(from), timeText(to), detail],
  wide: ({ seqs }) => (seqs === undefined ? ['-', '-'] : [seqs.stream, `${seqs.from}-${seqs.to}`]),
  nameOf: ({ node, reason, from, seqs }) => [node || 'cluster', reason, from, ...(seqs === undefined ? [] : [seqs.stream, seqs.from])].join('/'),
  faulty: () => false,
};

export const coverage: Listing<CoverageItem> = {
  filters: ['node', 'since', 'limit'],
  head: ['NODE', 'AGENT', 'OBSERVED', 'NOT OBSERVED', 'GAPS', 'LAST GAP'],
  wideHead: ['FROM', 'TO'],
  row: ({ node, agent, observed, unobservedMs, gaps, lastGapAt }, now) => [
    node,
    agent,
    // Rounded down: what was not observed whole shall not read so.
    `${Math.floor(observed * 1_000) / 10} %`,
    unobservedMs === 0 ? '-' : spanText(unobservedMs),
    Object.entries(gaps)
      .map(([reason, count]) => `${reason} ${count}`)
      .join(', ') || '-',
    lastGapAt === null ? '-' : `${spanText(now - lastGapAt)} ago`,
  ],
  wide: ({ from, to }) => [timeText(from), timeText(to)],
  nameOf: ({ node }) => node,
  faulty: () => false,
};

export const replicas: Listing<ReplicaItem> = {
  filters: [],
  head: ['REPLICA', 'ADDRESS', 'ALIVE', 'LEADER', 'AGENTS', 'SEEN', 'VERSION'],
  wideHead: ['STARTED', 'ANSWERS'],
  row: ({ id, address, alive, leader, agents, seenAgoMs, version }) => [
    id,
    address || '-',
    alive ? 'yes' : 'no',
    leader ? 'yes' : '-',
    String(agents),
    `${spanText(seenAgoMs)} ago`,
    version,
  ],
  wide: ({ startedAt, self }) => [timeText(startedAt), self ? 'yes' : '-'],
  nameOf: ({ id }) => id,
  // One that has died is no fault of a NodePort; whoever runs collectors sees it here.
  faulty: () => false,
};

const timeText = (at: number): string => new Date(at).toISOString().replace(/\.\d+Z$/, 'Z');
