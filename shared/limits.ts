// Every bound of the system, in one place: what is larger is refused or cut with a message that names the limit.

export const limits = {
  /** Bytes of one WebSocket frame in either direction. */
  frameBytesMax: 1024 * 1024,
  /** Facts in one `state` message; more are sent in several. */
  stateFactsMax: 500,
  /** Facts and bytes of one such message as an agent sends it, unless a single fact is larger: reading it keeps nobody waiting. */
  statePartFacts: 100,
  statePartBytes: 64 * 1024,
  /** Changes in one `changes` message. */
  changesBatchMax: 200,
  /** Bytes of `before` or `after` in one change; longer text is cut and says so. */
  changeTextBytesMax: 16 * 1024,
  /** Unacknowledged changes that an agent keeps; beyond it the oldest become one gap record. */
  unacknowledgedChangesMax: 10_000,
  /** Changes that wait in an agent's memory while its spool holds them as well; older ones are on disk alone. */
  queueInMemoryMax: 1_000,
  /** Bytes of the agent's spool, if it is not told otherwise (`--spool-bytes`). */
  spoolBytesMax: 64 * 1024 * 1024,
  /** Bytes of one file of the spool: what is acknowledged is removed a file at a time. */
  spoolSegmentBytes: 1024 * 1024,
  /** Earlier runs of an agent that its spool may hold changes of; beyond it the oldest are taken as one. */
  earlierStreamsMax: 256,
  /** Milliseconds that a collector may ask an agent to stay away. */
  retryAfterMsMax: 10 * 60_000,
  /** Connections of one address (of one /64 of IPv6) whose agent has not said hello, those of the API among them, and of all: beyond it the oldest is cut. */
  unknownConnectionsOfAddressMax: 1_024,
  unknownConnectionsMax: 4_096,
  /** Milliseconds for the handshake of TLS. */
  tlsHandshakeMs: 10_000,
  /** Connections of one identity that have not said hello: beyond it the oldest is cut. */
  greetingsOfNodeMax: 4,
  /** How deeply a message is nested. */
  messageDepthMax: 64,
  /** Milliseconds since 1970 that a message may name: what JavaScript and every store can tell. */
  timeMsMax: 8_640_000_000_000_000,
  /** Streams that one connection of an agent brings changes of: its own run and those that its spool holds. */
  streamsOfSessionMax: 1_024,
  /** Bytes that wait to be sent to an agent that does not read: beyond it the connection is cut. */
  sendBufferBytesMax: 8 * 1024 * 1024,
  /** Pings of one agent in a second. */
  pingsPerSecondMax: 10,
  /** Milliseconds of the collector's time that one agent may use at once, and that are added in each second that nothing of it waits: beyond it, until all is there again, what it sends waits its turn. */
  sessionBurstMs: 250,
  sessionMsPerSecond: 20,
  /** Milliseconds that a mebibyte of messages counts for beyond the time that handling it takes: memory that it leaves behind is collected while everybody waits. */
  sessionMsPerMiB: 20,
  /** Milliseconds that storing a change counts for, whatever its size. */
  sessionMsPerChange: 0.05,
  /** Part of the collector's time that all agents beyond their share may use together; all of it while nobody else has sent anything for some milliseconds. */
  heavyShare: 0.1,
  heavyQuietMs: 1_000,
  /** Milliseconds that others hardly notice, and the part of the time for what takes longer, of agents beyond their share. Their changes are stored in pieces that take so many milliseconds. */
  heavyBlockMs: 1.5,
  heavyLongShare: 0.004,
  heavyPieceMs: 1,
  /** Refusals of one sort and address in a minute that are logged and audited one by one; more are counted. */
  refusalsToldMax: 10,
  /** Bytes of the window of a compressed frame: what reading it may take. As a power of two. */
  zstdWindowLogMax: 23,
  /** Bytes of a message before compression, either way. */
  messageBytesMax: 4 * 1024 * 1024,
  /** Messages smaller than this are sent as they are. */
  compressedBytesMin: 4 * 1024,
  /** Bytes of a capture that an agent sends on request, packed, and of one part of it; milliseconds for it to come whole, and between two of one agent. */
  captureBytesMax: 16 * 1024 * 1024,
  capturePartBytes: 512 * 1024,
  captureMs: 60_000,
  captureEveryMs: 10_000,
  /** Bytes of such a capture when it is unpacked. */
  captureUnpackedBytesMax: 512 * 1024 * 1024,
  /** Agents connected to one collector. */
  agentsMax: 5_000,
  /** NodePorts that a collector may ask an agent to judge. */
  wantedNodePortsMax: 60_000,
  /** Bytes of output of one command that a source runs (a 470,000-rule dump is 51 MB). */
  commandOutputBytesMax: 512 * 1024 * 1024,
  /** Milliseconds that one command of a source may run. */
  commandTimeoutMs: 60_000,
  /** Milliseconds that a tool may run which has little to print (ip, ss, ufw …): one that hangs keeps the other sources waiting. */
  toolTimeoutMs: 10_000,
  /** Milliseconds that a command of a source may run while it keeps using processor time: `iptables-nft-save` of 470,000 rules takes minutes, a program that hangs takes none. */
  commandWorkingMs: 900_000,
  /** Share of one core that the agent and all that it starts may use, averaged over the window; beyond it readings wait. */
  readingShareMax: 0.02,
  /** Milliseconds of that window. */
  readingWindowMs: 300_000,
  /** Share of one core for what is read by the clock alone, although nothing is known to have happened: periods follow from it. */
  readingClockShareMax: 0.0025,
  /** Bytes of memory that the agent and its monitors may hold together; beyond it the agent says so. */
  readingMemoryBytesMax: 256 * 1024 * 1024,
  /** Bytes of a file read from a capture or a cluster directory. */
  inputFileBytesMax: 512 * 1024 * 1024,
  /** Branches of one walk before it answers unknown. */
  walkBranchesMax: 4_096,
  /** Branches of one walk that differ in nothing but in what they assume of rules; more become one that depends on all those rules. */
  walkBranchesApartMax: 16,
  /** Ends of one walk that are told apart by the rule that decided; of more, those that rules of one chain bring to the same are one. */
  walkEndsApartMax: 64,
  /** Prefixes of the clients that one outcome of a fact holds for; of more the largest are listed, and how many are left. */
  outcomeSourcesMax: 16,
  /** Branches that are kept as they were at the routing decision, of all NodePorts of a node; those of more are walked from their beginning at each change. */
  walkStartsMax: 50_000,
  /** Rules visited by one walk before it answers unknown (a loop of chains cannot be loaded, but a capture can be edited). */
  walkRulesMax: 2_000_000,
  /** Depth of jumps; the kernel refuses more than 16 for nft and a stack's worth for x_tables. */
  walkJumpsMax: 512,
  /** Endpoints of one EndpointSlice; the API allows no more. */
  sliceEndpointsMax: 1_000,
  /** Characters of a message of an Event or of a container's state that are kept. */
  statusMessageLengthMax: 512,
  /** Events of the cluster that are kept, the newest. */
  clusterEventsMax: 5_000,
  /** Faults in cluster objects that are told at a time. */
  objectIssuesMax: 1_000,
  /** Objects that are asked for in one page of a list of the Kubernetes API. */
  listPageItems: 500,
  /** Bytes of one object in a list or watch of the Kubernetes API; etcd takes 1.5 MB by default. */
  objectBytesMax: 8 * 1024 * 1024,
  /** Ways in one drawing of a walk, alike ones counted once; the drawing says how many more there are. */
  drawingWaysMax: 16,
  /** Steps of one way in a drawing; of a longer one the middle is left out. */
  drawingStepsMax: 64,
  /** Nodes in one drawing. */
  drawingNodesMax: 200,
  /** Endpoints, rules and prefixes that one node or edge of a drawing names. */
  drawingListMax: 24,
  /** Characters of one text in a drawing (a rule, a name); all texts together are kept to `drawingCharactersMax`. */
  drawingTextMax: 2_000,
  drawingCharactersMax: 200_000,
  /** Characters of a drawing in Mermaid: its programs refuse more than 50,000. */
  mermaidCharactersMax: 45_000,
  /** Requests of one client (a token, or an address without one) to the API in a minute; more are told to wait. Where nobody is asked who they are, there is no limit. */
  apiRequestsPerMinuteMax: 6_000,
  /** Findings, changes … in one API answer. */
  apiItemsMax: 1_000,
  /** NodePorts × nodes in one API answer; the matrix has all of them, a code each. */
  apiCellsMax: 100_000,
  /** Server-sent events that are kept for readers who come back; who was away for longer asks anew. */
  liveEventsKept: 5_000,
  /** Words that wait for one receiver of notifications; beyond it the oldest are left out. */
  notificationsMax: 1_000,
  /** Bytes of what Alertmanager posts at once. */
  alertsBytesMax: 4 * 1024 * 1024,
  /** Bytes of one line of portreeve-bpf; more is cut, and then makes no sense. */
  bpfLineBytesMax: 16 * 1024,
  /** Lines of portreeve-bpf in one second; more are skipped, and it is said. */
  bpfLinesPerSecondMax: 2_000,
  /** Lines that make no sense before portreeve-bpf is started anew. */
  bpfNonsenseMax: 100,
  /** Backends of NodePorts whose drops are watched. */
  bpfBackendsMax: 100_000,
  /** Starts of programs that are remembered, to say later who a process was, and acts by which they changed something. */
  execsMax: 1_000,
  /** NodePorts with drops that are told of; sorts of drops of one; client networks of one sort. */
  dropFactsMax: 2_000,
  dropSortsMax: 16,
  dropPrefixesMax: 16,
  /** Milliseconds that a sort of drop is told of after it was last seen. */
  dropKeptMs: 600_000,
  /** Milliseconds between two tellings of one NodePort's drops: they begin with the first and go to the second while the drops go on. */
  dropToldMinMs: 1_000,
  dropToldMaxMs: 30_000,
  /** Milliseconds between two checks that the collector has a node's state as the agent has it. */
  stateCheckMs: 10 * 60_000,
  /** Milliseconds between heartbeats; a peer that misses one is cut off. Agents move from a machine that vanished within two of them and a pause. */
  heartbeatMs: 10_000,
  /** Days that a collector keeps changes, findings that are over, gaps and the audit log, if it is not told otherwise (`--retention-days`). */
  retentionDays: 90,
  /** Bytes of the store over which the oldest changes are forgotten as well (`--retention-bytes`). */
  retentionBytes: 32 * 1024 * 1024 * 1024,
  /** Milliseconds between two looks at what is to be forgotten, and changes that are forgotten in one transaction, so that no write waits long. */
  retentionEveryMs: 10 * 60_000,
  retentionRowsMax: 10_000,
  /** Milliseconds between two signs of life of a replica in the database, and after which one that gives none is taken for dead. */
  replicaBeatMs: 2_000,
  replicaDeadMs: 10_000,
  /** Milliseconds between two looks at what other replicas have written, where they can tell by themselves (LISTEN), and where not. */
  replicaLookMs: 10_000,
  replicaLookDeafMs: 1_000,
  /** Milliseconds that news of a node wait, so that several go as one. */
  replicaPublishMs: 300,
  /** Milliseconds that a message to the other replicas waits for more. */
  replicaTellMs: 100,
  /** Milliseconds for the answer of another replica. */
  replicaAnswerMs: 12_000,
  /** Milliseconds of grace before a difference of fact and expectation is a drift: kube-proxy needs seconds to converge. */
  graceMs: 30_000,
} as const;
