// What the collector's API takes and answers. Made from its OpenAPI document by "make client"; test/collector/api/client.test.ts holds it to that.

/** The rule (or policy, route, setting, socket) that decides. */
export interface Decider {
  readonly by: 'rule' | 'policy' | 'route' | 'sysctl' | 'socket' | 'ipvs' | 'map';
  readonly family?: string;
  readonly table?: string;
  readonly chain?: string;
  readonly rule?: number;
  readonly text: string;
  readonly backend?: string;
  readonly line?: number;
  readonly handle?: number;
  readonly packets?: string;
  readonly others?: number;
}

/** Who made a change, and how that is known. */
export interface Actor {
  readonly pid?: number;
  readonly comm?: string;
  readonly argv?: readonly string[];
  readonly unit?: string;
  readonly parents?: readonly {
    readonly pid: number;
    readonly comm: string;
  }[];
  readonly uid?: number;
  readonly loginUid?: number;
  readonly how: 'nft-generation' | 'ebpf' | 'audit' | 'exec-event' | 'manager-signal' | 'api' | 'file' | 'unknown';
}

/** What changed, and by whom. */
export interface Change {
  /** By the clock of the machine that saw it. Milliseconds since 1970. */
  readonly at: number;
  /** Empty for changes of cluster objects. */
  readonly node: string;
  readonly kind: string;
  readonly subject: string;
  readonly before: string | null;
  readonly after: string | null;
  readonly actor?: Actor;
  readonly owner?: string;
  readonly gap?: {
    readonly reason: 'agent-down' | 'spool-full' | 'spool-damaged' | 'folded' | 'watch-overrun' | 'lost';
    readonly from: number;
    readonly to: number;
  };
}

/** A change with its place in the ledger. */
export interface LedgerEntry {
  /** By the clock of the machine that saw it. Milliseconds since 1970. */
  readonly at: number;
  /** Empty for changes of cluster objects. */
  readonly node: string;
  readonly kind: string;
  readonly subject: string;
  readonly before: string | null;
  readonly after: string | null;
  readonly actor?: Actor;
  readonly owner?: string;
  readonly gap?: {
    readonly reason: 'agent-down' | 'spool-full' | 'spool-damaged' | 'folded' | 'watch-overrun' | 'lost';
    readonly from: number;
    readonly to: number;
  };
  /** One run of an agent, or of the watch of cluster objects. */
  readonly stream: string;
  readonly seq: number;
  readonly covers?: number;
  readonly folded?: {
    readonly count: number;
    readonly from: number;
    readonly to: number;
    readonly by: readonly string[];
  };
}

export interface Evidence {
  readonly witness: 'rules' | 'objects' | 'sockets' | 'settings' | 'changes' | 'counters' | 'processes' | 'kernel';
  readonly text: string;
  readonly decider?: Decider;
}

/** A diagnosed fault or drift. closedAt is null while it lasts. */
export interface Finding {
  /** Stable while the fault lasts. */
  readonly id: string;
  /** A01 … E01 of docs/causes.md, or "unknown". */
  readonly cause: string;
  readonly title: string;
  readonly severity: 'error' | 'warning' | 'info';
  readonly confidence: 'certain' | 'likely' | 'possible';
  readonly node: string;
  /** namespace/name:port; empty when the fault is not of one Service. */
  readonly service: string;
  /** 0 when the fault is not of one NodePort. */
  readonly port: number;
  readonly protocol: 'tcp' | 'udp' | 'sctp' | '';
  readonly family: 0 | 4 | 6;
  readonly symptom: 'ok' | 'refused' | 'timeout' | 'unreachable' | 'unknown';
  readonly summary: string;
  readonly evidence: readonly Evidence[];
  readonly remedy: readonly string[];
  /** When the fault began, as far as is known. Milliseconds since 1970. */
  readonly since?: number;
  readonly trigger?: Change;
  readonly actor?: Actor;
  readonly consequences?: readonly string[];
  readonly openedAt?: number;
  readonly closedAt?: number | null;
}

export interface Node {
  readonly name: string;
  readonly agent: 'connected' | 'disconnected' | 'never';
  readonly since: number | null;
  readonly version: string | null;
  readonly clockOffsetMs: number | null;
  readonly viewAgeMs: number | null;
  readonly stateAt: number | null;
  readonly ready: boolean | null;
  readonly addresses: readonly string[];
  readonly proxy: string;
  readonly nodePorts: {
    readonly ok: number;
    readonly fault: number;
    readonly 'by-design': number;
    readonly pending: number;
    readonly unknown: number;
  };
  readonly findings: {
    readonly error: number;
    readonly warning: number;
    readonly info: number;
  };
  readonly pending: number;
  readonly programming: {
    readonly count: number;
    readonly p50Ms: number;
    readonly p99Ms: number;
  } | null;
  readonly failedSources: readonly {
    readonly source: string;
    readonly reason: string;
  }[];
}

export interface Cell {
  readonly node: string;
  readonly family: 4 | 6;
  readonly state: 'ok' | 'fault' | 'by-design' | 'pending' | 'unknown';
  readonly expect: 'forward' | 'reject' | 'drop';
  readonly symptom: 'ok' | 'refused' | 'timeout' | 'unreachable' | 'unknown';
  readonly endpoints: number;
  readonly causes: readonly string[];
}

export interface NodePort {
  readonly port: number;
  readonly protocol: 'tcp' | 'udp' | 'sctp';
  readonly service: string;
  readonly state: 'ok' | 'fault' | 'by-design' | 'pending' | 'unknown';
  readonly nodes: readonly {
    readonly node: string;
    readonly family: 4 | 6;
    readonly state: 'ok' | 'fault' | 'by-design' | 'pending' | 'unknown';
    readonly expect: 'forward' | 'reject' | 'drop';
    readonly symptom: 'ok' | 'refused' | 'timeout' | 'unreachable' | 'unknown';
    readonly endpoints: number;
    readonly causes: readonly string[];
  }[];
}

export interface Service {
  readonly namespace: string;
  readonly name: string;
  readonly type: string;
  readonly externalTrafficPolicy: string;
  readonly ports: readonly Readonly<Record<string, unknown>>[];
  readonly endpoints: {
    readonly ready: number;
    readonly total: number;
  };
  readonly findings: {
    readonly error: number;
    readonly warning: number;
    readonly info: number;
  };
  readonly programming: {
    readonly count: number;
    readonly p50Ms: number;
    readonly p99Ms: number;
  } | null;
}

export interface Assignment {
  readonly port: number;
  readonly protocol: 'tcp' | 'udp' | 'sctp';
  readonly service: string;
  readonly portName: string;
  readonly targetPort: number | string;
  readonly externalTrafficPolicy: 'Cluster' | 'Local';
  readonly owner: string;
  readonly purpose: string;
  readonly kind: 'nodePort' | 'healthCheckNodePort';
}

export interface Event {
  readonly at: number;
  readonly event: 'change' | 'finding-opened' | 'finding-closed';
  readonly node: string;
  readonly lane?: 'firewall' | 'kube-proxy' | 'interface' | 'service' | 'security group' | 'cni' | 'network policy' | 'other';
  readonly change?: LedgerEntry;
  readonly finding?: Finding;
}

export interface Correlation {
  readonly change: Change;
  readonly score: number;
  readonly window: 'usual' | 'extended' | 'gradual';
  readonly reasons: readonly string[];
  readonly steps?: readonly Change[];
}

export interface Explanation {
  readonly kind: 'faulty' | 'by-design' | 'healthy' | 'unknown' | 'none';
  readonly node: string;
  readonly port: number;
  readonly protocol: 'tcp' | 'udp' | 'sctp';
  readonly service: string;
  readonly address?: string;
  readonly summary: string;
  readonly walk: readonly {
    readonly hook: string;
    readonly table: string;
    readonly text: string;
    readonly decides: boolean;
    readonly packets?: string;
  }[];
  readonly cause?: {
    readonly cause: string;
    readonly title: string;
    readonly confidence: 'certain' | 'likely' | 'possible';
  };
  readonly who?: string;
  readonly seenBy: readonly string[];
  readonly notIt: readonly string[];
  readonly fix: readonly string[];
  readonly findings: readonly Finding[];
}

/** One of the likely causes of an incident. */
export interface RankedCause {
  /** An id of docs/causes.md; empty for a change alone. */
  readonly cause: string;
  readonly title: string;
  readonly confidence: 'certain' | 'likely' | 'possible';
  readonly score: number;
  readonly node: string;
  readonly summary: string;
  readonly remedy: readonly string[];
  readonly reasons: readonly string[];
  readonly finding?: string;
  readonly change?: Change;
}

/** It failed at some time: what was wrong, and what had changed before. Most likely cause first. */
export interface Incident {
  readonly id: string;
  /** When clients could not get in. Milliseconds since 1970. */
  readonly at: number;
  readonly endedAt: number | null;
  readonly createdAt: number;
  readonly createdBy: string;
  readonly origin: 'report' | 'alertmanager';
  readonly service: string;
  /** Empty: any node. */
  readonly node: string;
  /** 0: any NodePort of the Service. */
  readonly port: number;
  readonly protocol: 'tcp' | 'udp' | 'sctp' | '';
  /** Address of the client; empty when not told. */
  readonly source: string;
  readonly text: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly causes: readonly RankedCause[];
  readonly notFound: readonly string[];
}

export interface MatrixColumn {
  readonly port: number;
  readonly protocol: 'tcp' | 'udp' | 'sctp';
  readonly family: 4 | 6;
  readonly service: string;
}

export interface MatrixRow {
  readonly node: string;
  readonly agent: 'connected' | 'disconnected' | 'never';
  /** One code a column, runs counted: "o998t2" is 998 × o and 2 × t. o answers, t times out, r refused, x unreachable, w open with a warning, d by design, p pending, ? unknown, - not of this node. */
  readonly codes: string;
}

export interface Gap {
  readonly node: string;
  readonly reason: 'agent-down' | 'spool-full' | 'spool-damaged' | 'folded' | 'watch-overrun' | 'lost';
  readonly from: number;
  readonly to: number;
  readonly detail: string;
  readonly seqs?: {
    readonly stream: string;
    readonly from: number;
    readonly to: number;
  };
}

/** How well a node was observed in a span of time. */
export interface Coverage {
  readonly node: string;
  readonly agent: 'connected' | 'disconnected' | 'never';
  /** The span begins. Milliseconds since 1970. */
  readonly from: number;
  /** It ends. Milliseconds since 1970. */
  readonly to: number;
  /** Share of the span that an agent observed, as far as gaps tell. */
  readonly observed: number;
  readonly unobservedMs: number;
  /** Gaps in the span by reason. */
  readonly gaps: Readonly<Record<string, number>>;
  readonly lastGapAt: number | null;
}

/** One of the collectors that share the store. */
export interface Replica {
  readonly id: string;
  /** Where it listens; empty until that is known. */
  readonly address: string;
  readonly version: string;
  /** When its process began. Milliseconds since 1970. */
  readonly startedAt: number;
  readonly seenAgoMs: number;
  readonly alive: boolean;
  /** Whether it does what one does for all. */
  readonly leader: boolean;
  /** Whether it is the one that answers. */
  readonly self: boolean;
  /** Nodes whose agents are connected there. */
  readonly agents: number;
}

/** How old what is known of the cluster is, and what is amiss with it. */
export interface View {
  readonly objectsAgeMs: number | null;
  readonly stale: boolean;
  readonly doubts: readonly string[];
}

/** RFC 9457. */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
}

/** Every operation by method and path below /api/v1. */
export interface Operations {
  /** Nodes. */
  'GET /nodes': {
    readonly path: undefined;
    readonly query: { readonly at?: string | undefined; readonly name?: string | undefined; readonly agent?: 'connected' | 'disconnected' | 'never' | undefined; readonly faulty?: boolean | undefined; readonly limit?: number | undefined; readonly cursor?: string | undefined };
    readonly body: undefined;
    readonly answer: {
      readonly apiVersion: 'portreeve/v1';
      readonly kind: 'NodeList';
      readonly view: View;
      /** The time that was asked for. */
      readonly at?: number;
      readonly items: readonly Node[];
      /** Cursor of the next page. */
      readonly next?: string;
    };
  };
  /** One node with its facts, NodePorts and findings. */
  'GET /nodes/{name}': {
    readonly path: { readonly name: string };
    readonly query: { readonly at?: string | undefined };
    readonly body: undefined;
    readonly answer: {
      readonly apiVersion: 'portreeve/v1';
      readonly kind: 'Node';
      readonly view: View;
      /** The time that was asked for. */
      readonly at?: number;
      readonly ports: readonly {
        readonly port: number;
        readonly protocol: 'tcp' | 'udp' | 'sctp';
        readonly service: string;
        readonly cell: Cell;
      }[];
      readonly facts: readonly Readonly<Record<string, unknown>>[];
      readonly open: readonly Finding[];
      readonly waiting: readonly Finding[];
    } & Node;
  };
  /** NodePorts with their state on each node. */
  'GET /nodeports': {
    readonly path: undefined;
    readonly query: { readonly at?: string | undefined; readonly namespace?: string | undefined; readonly service?: string | undefined; readonly node?: string | undefined; readonly state?: 'ok' | 'fault' | 'by-design' | 'pending' | 'unknown' | undefined; readonly protocol?: 'tcp' | 'udp' | 'sctp' | undefined; readonly limit?: number | undefined; readonly cursor?: string | undefined };
    readonly body: undefined;
    readonly answer: {
      readonly apiVersion: 'portreeve/v1';
      readonly kind: 'NodePortList';
      readonly view: View;
      /** The time that was asked for. */
      readonly at?: number;
      readonly items: readonly NodePort[];
      /** Cursor of the next page. */
      readonly next?: string;
    };
  };
  /** The NodePorts of one number, one for each protocol. */
  'GET /nodeports/{port}': {
    readonly path: { readonly port: number };
    readonly query: { readonly at?: string | undefined };
    readonly body: undefined;
    readonly answer: {
      readonly apiVersion: 'portreeve/v1';
      readonly kind: 'NodePortList';
      readonly view: View;
      /** The time that was asked for. */
      readonly at?: number;
      readonly items: readonly NodePort[];
      /** Cursor of the next page. */
      readonly next?: string;
    };
  };
  /** Nodes × NodePorts, one code each: small for thousands of both. */
  'GET /matrix': {
    readonly path: undefined;
    readonly query: { readonly at?: string | undefined };
    readonly body: undefined;
    readonly answer: {
      readonly apiVersion: 'portreeve/v1';
      readonly kind: 'NodePortMatrix';
      readonly view: View;
      /** The time that was asked for. */
      readonly at?: number;
      /** Other columns have another id; events of rows name it. */
      readonly columnsId: string;
      readonly columns: readonly MatrixColumn[];
      readonly rows: readonly MatrixRow[];
    };
  };
  /** Services that own a NodePort. */
  'GET /services': {
    readonly path: undefined;
    readonly query: { readonly namespace?: string | undefined; readonly name?: string | undefined; readonly faulty?: boolean | undefined; readonly limit?: number | undefined; readonly cursor?: string | undefined };
    readonly body: undefined;
    readonly answer: {
      readonly apiVersion: 'portreeve/v1';
      readonly kind: 'ServiceList';
      readonly view: View;
      /** The time that was asked for. */
      readonly at?: number;
      readonly items: readonly Service[];
      /** Cursor of the next page. */
      readonly next?: string;
    };
  };
  /** Findings: open ones, worst first, or the history, newest first. */
  'GET /findings': {
    readonly path: undefined;
    readonly query: { readonly node?: string | undefined; readonly cause?: string | undefined; readonly namespace?: string | undefined; readonly service?: string | undefined; readonly port?: number | undefined; readonly severity?: 'error' | 'warning' | 'info' | undefined; readonly state?: 'open' | 'closed' | 'all' | undefined; readonly at?: string | undefined; readonly from?: string | undefined; readonly to?: string | undefined; readonly limit?: number | undefined; readonly cursor?: string | undefined };
    readonly body: undefined;
    readonly answer: {
      readonly apiVersion: 'portreeve/v1';
      readonly kind: 'FindingList';
      readonly view: View;
      /** The time that was asked for. */
      readonly at?: number;
      readonly items: readonly Finding[];
      /** Cursor of the next page. */
      readonly next?: string;
    };
  };
  /** Why a NodePort answers or does not on a node; with ?drawing= also the walk as a drawing. */
  'GET /explain': {
    readonly path: undefined;
    readonly query: { readonly node: string; readonly port: number; readonly protocol?: 'tcp' | 'udp' | 'sctp' | undefined; readonly drawing?: 'svg' | 'mermaid' | 'graph' | undefined; readonly at?: string | undefined };
    readonly body: undefined;
    readonly answer: {
      readonly apiVersion: 'portreeve/v1';
      readonly kind: 'Explanation';
      readonly view: View;
      /** The time that was asked for. */
      readonly at?: number;
      readonly explanation: Explanation;
      readonly connected: boolean;
      readonly caution?: string;
      /** The explanation for a terminal. */
      readonly text: string;
      /** What had changed before the onset, most telling first. */
      readonly before: readonly Correlation[];
      /** When the fault began. Milliseconds since 1970. */
      readonly onset?: number;
      readonly drawing?: unknown;
      readonly drawingProblem?: string;
    };
  };
  /** Walks a packet of any source on a node's live ruleset. */
  'POST /trace': {
    readonly path: undefined;
    readonly query: undefined;
    readonly body: {
      readonly node: string;
      /** vantage, src (an address or a prefix; without it the whole outside world), dst, proto, sport, dport, iif. */
      readonly packet: Readonly<Record<string, string>>;
      /** Also the walk on the agent's live rules: as SVG, as Mermaid, or as data for a page that draws. */
      readonly drawing?: 'svg' | 'mermaid' | 'graph';
    };
    readonly answer: {
      readonly apiVersion: 'portreeve/v1';
      readonly kind: 'Trace';
      readonly view: View;
      /** The time that was asked for. */
      readonly at?: number;
      readonly node: string;
      readonly result: unknown;
      readonly drawing?: unknown;
    };
  };
  /** Everything that decides packets on a node, read anew by its agent: a tar archive, packed by gzip, in base64. It is noted in the audit log. */
  'POST /capture': {
    readonly path: undefined;
    readonly query: undefined;
    readonly body: {
      readonly node: string;
    };
    readonly answer: {
      readonly apiVersion: 'portreeve/v1';
      readonly kind: 'Capture';
      readonly view: View;
      /** The time that was asked for. */
      readonly at?: number;
      readonly node: string;
      readonly archive: string;
    };
  };
  /** The ledger, newest first. */
  'GET /changes': {
    readonly path: undefined;
    readonly query: { readonly node?: string | undefined; readonly kind?: string | undefined; readonly subject?: string | undefined; readonly owner?: string | undefined; readonly text?: string | undefined; readonly at?: string | undefined; readonly from?: string | undefined; readonly to?: string | undefined; readonly limit?: number | undefined; readonly cursor?: string | undefined };
    readonly body: undefined;
    readonly answer: {
      readonly apiVersion: 'portreeve/v1';
      readonly kind: 'ChangeList';
      readonly view: View;
      /** The time that was asked for. */
      readonly at?: number;
      readonly items: readonly LedgerEntry[];
      /** Cursor of the next page. */
      readonly next?: string;
    };
  };
  /** Changes and the beginnings and ends of findings in order of time, oldest first. */
  'GET /timeline': {
    readonly path: undefined;
    readonly query: { readonly node?: string | undefined; readonly service?: string | undefined; readonly from?: string | undefined; readonly to?: string | undefined; readonly at?: string | undefined; readonly limit?: number | undefined };
    readonly body: undefined;
    readonly answer: {
      readonly apiVersion: 'portreeve/v1';
      readonly kind: 'EventList';
      readonly view: View;
      /** The time that was asked for. */
      readonly at?: number;
      readonly items: readonly Event[];
      /** Cursor of the next page. */
      readonly next?: string;
      /** Minutes before an onset in which changes of each lane are looked for first. */
      readonly windows: Readonly<Record<string, number>>;
    };
  };
  /** What was reported to have failed, newest first. */
  'GET /incidents': {
    readonly path: undefined;
    readonly query: { readonly service?: string | undefined; readonly node?: string | undefined; readonly state?: 'open' | 'closed' | 'all' | undefined; readonly from?: string | undefined; readonly to?: string | undefined; readonly limit?: number | undefined; readonly cursor?: string | undefined };
    readonly body: undefined;
    readonly answer: {
      readonly apiVersion: 'portreeve/v1';
      readonly kind: 'IncidentList';
      readonly view: View;
      /** The time that was asked for. */
      readonly at?: number;
      readonly items: readonly Incident[];
      /** Cursor of the next page. */
      readonly next?: string;
    };
  };
  /** It failed at some time: answers with the likely causes, and keeps both. */
  'POST /incidents': {
    readonly path: undefined;
    readonly query: undefined;
    readonly body: {
      /** When it failed; now, when absent. RFC 3339, or milliseconds since 1970. */
      readonly at?: number | string;
      /** namespace/name; the name alone where it is the only one with a NodePort. */
      readonly service?: string;
      readonly node?: string;
      readonly port?: number;
      readonly protocol?: 'tcp' | 'udp' | 'sctp';
      /** Address of the client. */
      readonly source?: string;
      readonly text?: string;
    };
    readonly answer: {
      readonly apiVersion: 'portreeve/v1';
      readonly kind: 'Incident';
      readonly view: View;
      /** The time that was asked for. */
      readonly at?: number;
    } & Incident;
  };
  /** One incident. */
  'GET /incidents/{id}': {
    readonly path: { readonly id: string };
    readonly query: undefined;
    readonly body: undefined;
    readonly answer: {
      readonly apiVersion: 'portreeve/v1';
      readonly kind: 'Incident';
      readonly view: View;
      /** The time that was asked for. */
      readonly at?: number;
    } & Incident;
  };
  /** Takes Alertmanager's webhook (version 4): each alert becomes an incident of the Service that its labels name. */
  'POST /alerts': {
    readonly path: undefined;
    readonly query: undefined;
    readonly body: {
      readonly version: '4';
      readonly status?: string;
      readonly alerts: readonly {
        readonly status: 'firing' | 'resolved';
        readonly labels: Readonly<Record<string, string>>;
        readonly annotations?: Readonly<Record<string, string>>;
        readonly startsAt: string;
        readonly endsAt?: string;
        readonly fingerprint: string;
        readonly [name: string]: unknown;
      }[];
      readonly [name: string]: unknown;
    };
    readonly answer: {
      readonly apiVersion: 'portreeve/v1';
      readonly kind: 'IncidentList';
      readonly view: View;
      /** The time that was asked for. */
      readonly at?: number;
      readonly items: readonly Incident[];
      /** Cursor of the next page. */
      readonly next?: string;
    };
  };
  /** Times of which the ledger does not tell everything, and why; the latest first. */
  'GET /gaps': {
    readonly path: undefined;
    readonly query: { readonly node?: string | undefined; readonly reason?: 'agent-down' | 'spool-full' | 'spool-damaged' | 'folded' | 'watch-overrun' | 'lost' | undefined; readonly from?: string | undefined; readonly to?: string | undefined; readonly limit?: number | undefined; readonly cursor?: string | undefined };
    readonly body: undefined;
    readonly answer: {
      readonly apiVersion: 'portreeve/v1';
      readonly kind: 'GapList';
      readonly view: View;
      /** The time that was asked for. */
      readonly at?: number;
      readonly items: readonly Gap[];
      /** Cursor of the next page. */
      readonly next?: string;
    };
  };
  /** How much of a span of time each node was observed; of the last day, where none is given. */
  'GET /coverage': {
    readonly path: undefined;
    readonly query: { readonly node?: string | undefined; readonly from?: string | undefined; readonly to?: string | undefined; readonly limit?: number | undefined; readonly cursor?: string | undefined };
    readonly body: undefined;
    readonly answer: {
      readonly apiVersion: 'portreeve/v1';
      readonly kind: 'CoverageList';
      readonly view: View;
      /** The time that was asked for. */
      readonly at?: number;
      readonly items: readonly Coverage[];
      /** Cursor of the next page. */
      readonly next?: string;
    };
  };
  /** The collectors that share the store. */
  'GET /replicas': {
    readonly path: undefined;
    readonly query: undefined;
    readonly body: undefined;
    readonly answer: {
      readonly apiVersion: 'portreeve/v1';
      readonly kind: 'ReplicaList';
      readonly view: View;
      /** The time that was asked for. */
      readonly at?: number;
      readonly items: readonly Replica[];
      /** Cursor of the next page. */
      readonly next?: string;
    };
  };
  /** Which NodePort belongs to which Service, and who owns it; as CSV with ?format=csv or Accept: text/csv. */
  'GET /register': {
    readonly path: undefined;
    readonly query: { readonly namespace?: string | undefined; readonly format?: 'json' | 'csv' | undefined };
    readonly body: undefined;
    readonly answer: {
      readonly apiVersion: 'portreeve/v1';
      readonly kind: 'NodePortRegister';
      readonly view: View;
      /** The time that was asked for. */
      readonly at?: number;
      readonly items: readonly Assignment[];
      /** Cursor of the next page. */
      readonly next?: string;
    };
  };
  /** Server-sent events: finding-opened, finding-changed, finding-closed, change, node, nodeports, columns, services, heartbeat, reset. */
  'GET /live': {
    readonly path: undefined;
    readonly query: { readonly events?: string | undefined; readonly node?: string | undefined; readonly after?: string | undefined };
    readonly body: undefined;
    readonly answer: unknown;
  };
  /** Makes a token; it is told once. */
  'POST /tokens': {
    readonly path: undefined;
    readonly query: undefined;
    readonly body: {
      readonly kind: 'join';
      readonly node: string;
      readonly ttlMs: number;
    } | {
      readonly kind: 'api';
      readonly name: string;
      readonly role: 'view' | 'operate' | 'admin';
      readonly ttlMs?: number;
    };
    readonly answer: unknown;
  };
  /** Tokens that were made, without their secrets. */
  'GET /tokens': {
    readonly path: undefined;
    readonly query: undefined;
    readonly body: undefined;
    readonly answer: unknown;
  };
  /** Revokes a token. */
  'DELETE /tokens/{id}': {
    readonly path: { readonly id: string };
    readonly query: undefined;
    readonly body: undefined;
    readonly answer: unknown;
  };
  /** Revokes the keys of a node and ends its session. */
  'DELETE /nodes/{node}/identity': {
    readonly path: { readonly node: string };
    readonly query: undefined;
    readonly body: undefined;
    readonly answer: unknown;
  };
  /** Who changed something or was refused, newest first. */
  'GET /audit': {
    readonly path: undefined;
    readonly query: undefined;
    readonly body: undefined;
    readonly answer: unknown;
  };
}
