// Where kube-proxy shows its health and its metrics, and what of them is kept.

export interface ProxyAddress {
  readonly host: string;
  readonly port: number;
}

/** Where to ask, by kube-proxy's flags and configuration; undefined where they switch it off. */
export function addressesOf(
  argv: readonly string[],
  config: string,
): { readonly metrics: ProxyAddress | undefined; readonly health: ProxyAddress | undefined } {
  const setting = (name: string): string | undefined => {
    const line = new RegExp(`^${name} = (.*)$`, 'm').exec(config)?.[1];
    // k3s hands flags on as --kube-proxy-arg=NAME=VALUE.
    const words = argv.flatMap((word, index) => (new RegExp(`^--(?:kube-proxy-arg=)?(?:--)?${name}$`).test(word) ? [argv[index + 1] ?? ''] : []));
    const given = argv.flatMap((word) => new RegExp(`^--(?:kube-proxy-arg=)?(?:--)?${name}=(.*)$`).exec(word)?.[1] ?? []);
    return line ?? given.at(-1) ?? words.at(-1);
  };
  return { metrics: addressOf(setting('metrics-bind-address'), 10_249), health: addressOf(setting('healthz-bind-address'), 10_256) };
}

function addressOf(text: string | undefined, port: number): ProxyAddress | undefined {
  if (text === undefined) return { host: '127.0.0.1', port };
  if (text === '' || text === '""') return undefined;
  const [, bracketed, plain, given] = /^(?:\[([^\]]*)\]|([^:]*))(?::(\d{1,5}))?$/.exec(text) ?? [undefined, undefined, text, undefined];
  const host = bracketed ?? plain ?? '';
  const wild = host === '' || host === '0.0.0.0' || host === '::';
  return { host: wild ? '127.0.0.1' : host, port: given === undefined ? port : Number(given) };
}

const wanted =
  /^(?:kubeproxy_sync_proxy_rules_(?:last_timestamp_seconds|last_queued_timestamp_seconds|iptables_(?:partial_)?restore_failures_total|nftables_sync_failures_total|service_changes_pending|endpoint_changes_pending|no_local_endpoints_total)\b.*|kubernetes_build_info\{.*)$/gm;

/** The few lines of kube-proxy's metrics that tell its last sync and its release; empty when they are not those of a kube-proxy. */
export function metricsText(body: string): string {
  const lines = body.match(wanted) ?? [];
  return lines.some((line) => line.startsWith('kubeproxy_')) ? lines.map((line) => `${line}\n`).join('') : '';
}

/** `healthz = ok`, or the status and what it says; `node-eligible` where it tells. The times that it tells are new at every answer and left out. */
export function healthText(status: number, body: string): string {
  const eligible = /"nodeEligible"\s*:\s*(true|false)/.exec(body)?.[1];
  const said = body
    .replaceAll(/\s+/g, ' ')
    .replaceAll(/[^\x20-\x7e]/g, '?')
    .slice(0, 200);
  return `healthz = ${status === 200 ? 'ok' : `${status} ${said.replaceAll(/"(?:lastUpdated|currentTime)"\s*:\s*"[^"]*",?\s*/g, '')}`.trimEnd()}\n${eligible === undefined ? '' : `node-eligible = ${eligible}\n`}`;
}
