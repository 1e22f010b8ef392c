// Everything of one node that decides a packet's fate, read from the files of a capture; the agent's sources yield the same files, so both ways are one.
import type { ProxySync } from '../model/fact.ts';
import type { Beside } from './beside.ts';
import type { Host } from './host.ts';
import type { IpvsService } from './ipvs.parse.ts';
import type { Ipset, Issue, Table } from './ruleset.ts';
import type { ServiceFrontend } from './service-maps.parse.ts';
import type { Flow } from './surroundings.parse.ts';

/** The text of each file of a capture by its name (`iptables-save.txt`, `nft.json`, `ip-addr.json` …). */
export type CaptureFiles = ReadonlyMap<string, Buffer>;

export interface NodeState {
  /** Node name; empty when the capture does not say. */
  readonly name: string;
  readonly tables: readonly Table[];
  readonly ipsets: ReadonlyMap<string, Ipset>;
  readonly ipvs: readonly IpvsService[];
  readonly host: Host;
  /** What an eBPF data plane serves; absent where its maps were not read. */
  readonly serviceMaps?: readonly ServiceFrontend[];
  /** Processes that matter to a NodePort (kube-proxy, k3s, firewall managers …); absent when they were not read. */
  readonly processes?: readonly Process[];
  /** Gauges and counters of the kernel by name; absent when none was read. */
  readonly counters?: ReadonlyMap<string, number>;
  /** kube-proxy's own word on its last sync; absent when its metrics were not read. */
  readonly proxySync?: ProxySync;
  /** Tracked connections; absent when they were not read. */
  readonly flows?: readonly Flow[];
  /** What stands beside the rules: tools, kernel, tunnels, firewall managers, sockets of pods; absent when none of it was read. */
  readonly beside?: Beside;
  readonly issues: readonly Issue[];
  /** What was not read and could change answers, e.g. `nft`: a walk then is not certain where it matters. */
  readonly unread: readonly string[];
}

export interface Process {
  readonly pid: number;
  readonly comm: string;
  readonly argv: readonly string[];
  /** Milliseconds since 1970; absent when it is not known. */
  readonly startedAt?: number;
  /** systemd unit or container; absent when it is not known. */
  readonly unit?: string;
}
