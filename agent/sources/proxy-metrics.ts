// kube-proxy's own word on its last sync: the few lines of its metrics that tell it, asked of its port on loopback only where it runs.
import { readCommand, type Source } from './source.ts';

const address = 'http://127.0.0.1:10249/metrics';
const wanted =
  /^kubeproxy_sync_proxy_rules_(?:last_timestamp_seconds|last_queued_timestamp_seconds|iptables_(?:partial_)?restore_failures_total|nftables_sync_failures_total)\b.*$/gm;
const proxies = /"comm":"(?:kube-proxy|k3s|k3s-server|k3s-agent|rke2|kubelite)"/;

export const proxyMetrics: Source = {
  name: 'proxy-metrics',
  needs: { commands: ['curl'], capabilities: [] },
  files: ['kube-proxy-metrics.txt'],
  wakes: [],
  pollMs: () => 30_000,
  read: async (machine, known) => {
    if (!proxies.test(known.get('processes.json')?.toString('utf8') ?? '')) return { outcome: 'absent', reason: 'no kube-proxy is seen on this node' };
    const reading = await readCommand(machine, 'kube-proxy-metrics.txt', ['curl', '-sf', '-m', '2', address]);
    // Its metrics may be bound elsewhere or be off: that is no failure of this node.
    if (reading.outcome === 'failed') return { outcome: 'absent', reason: `${address} does not answer` };
    if (reading.outcome !== 'facts') return reading;
    const lines = reading.files.get('kube-proxy-metrics.txt')?.toString('utf8').match(wanted) ?? [];
    return { ...reading, files: new Map([['kube-proxy-metrics.txt', Buffer.from(lines.map((line) => `${line}\n`).join(''))]]) };
  },
};
