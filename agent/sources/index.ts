// Every source of the agent. Order matters in two places: nftables comes after both iptables, because it lists only the tables that iptables does
// not own, and proxyMetrics after processes, because it asks only where a kube-proxy runs.
import { bridges } from './bridges.ts';
import { conntrack } from './conntrack.ts';
import { counters } from './counters.ts';
import { interfaces } from './interfaces.ts';
import { ipset } from './ipset.ts';
import { ip6tables, iptables } from './iptables.ts';
import { ipvs } from './ipvs.ts';
import { listeners } from './listeners.ts';
import { nftables } from './nftables.ts';
import { processes } from './processes.ts';
import { proxyMetrics } from './proxy-metrics.ts';
import { routes } from './routes.ts';
import { serviceMaps } from './service-maps.ts';
import type { Source } from './source.ts';
import { sysctls } from './sysctls.ts';

export const sources: readonly Source[] = [
  iptables,
  ip6tables,
  nftables,
  ipset,
  ipvs,
  serviceMaps,
  interfaces,
  routes,
  sysctls,
  listeners,
  processes,
  conntrack,
  counters,
  bridges,
  proxyMetrics,
];
