// Every bound of the system, in one place: what is larger is refused or cut with a message that names the limit.

export const limits = {
  /** Bytes of one WebSocket frame in either direction. */
  frameBytesMax: 1024 * 1024,
  /** Facts in one `state` message; more are sent in several. */
  stateFactsMax: 500,
  /** Changes in one `changes` message. */
  changesBatchMax: 200,
  /** Bytes of `before` or `after` in one change; longer text is cut and says so. */
  changeTextBytesMax: 16 * 1024,
  /** Unacknowledged changes that an agent keeps; beyond it the oldest become one gap record. */
  unacknowledgedChangesMax: 10_000,
  /** Agents connected to one collector. */
  agentsMax: 5_000,
  /** NodePorts that a collector may ask an agent to judge. */
  wantedNodePortsMax: 60_000,
  /** Bytes of output of one command that a source runs (a 470,000-rule dump is 51 MB). */
  commandOutputBytesMax: 512 * 1024 * 1024,
  /** Milliseconds that one command of a source may run. */
  commandTimeoutMs: 60_000,
  /** Milliseconds that it may run while it keeps using processor time: `iptables-nft-save` of 470,000 rules takes minutes, a program that hangs takes none. */
  commandWorkingMs: 900_000,
  /** Share of one core that the agent and all that it starts may use, averaged over the window; beyond it readings wait. */
  readingShareMax: 0.02,
  /** Milliseconds of that window. */
  readingWindowMs: 300_000,
  /** Share of one core for what is read by the clock alone, although nothing is known to have happened: periods follow from it. */
  readingClockShareMax: 0.003,
  /** Bytes of memory that the agent and its monitors may hold together; beyond it the agent says so. */
  readingMemoryBytesMax: 256 * 1024 * 1024,
  /** Bytes of a file read from a capture or a cluster directory. */
  inputFileBytesMax: 512 * 1024 * 1024,
  /** Branches of one walk before it answers unknown. */
  walkBranchesMax: 4_096,
  /** Rules visited by one walk before it answers unknown (a loop of chains cannot be loaded, but a capture can be edited). */
  walkRulesMax: 2_000_000,
  /** Depth of jumps; the kernel refuses more than 16 for nft and a stack's worth for x_tables. */
  walkJumpsMax: 512,
  /** Findings, changes … in one API answer. */
  apiItemsMax: 1_000,
  /** Milliseconds between heartbeats; a peer that misses one is cut off. */
  heartbeatMs: 15_000,
  /** Milliseconds of grace before a difference of fact and expectation is a drift: kube-proxy needs seconds to converge. */
  graceMs: 30_000,
} as const;
