// What a prober is asked and what it answers.

export interface Probe {
  readonly id: number;
  readonly protocol: 'tcp' | 'udp';
  readonly from: string;
  readonly fromPort: number;
  readonly to: string;
  readonly port: number;
  readonly timeoutMs: number;
}

export interface Observation {
  readonly id: number;
  readonly met: 'ok' | 'refused' | 'unreachable' | 'timeout' | 'error';
  /** Who took it, where an answer came back. */
  readonly answer?: { readonly who: string; readonly port: number; readonly source: string };
  readonly error?: string;
}
