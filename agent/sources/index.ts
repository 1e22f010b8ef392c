// Every source of the agent. Order matters: processes come first, because what runs says where binaries and configuration lie; tools before iptables, which
// chooses among them; nftables after both iptables, because it lists only the tables that iptables does not own; neighbours and offloads after interfaces and
// routes, which name the tunnels.
import { withCapabilities } from './capability.ts';
import { conntrack } from './conntrack.ts';
import { counters } from './counters.ts';
import { firewalld } from './firewalld.ts';
import { flows } from './flows.ts';
import { interfaces } from './interfaces.ts';
import { ipset } from './ipset.ts';
import { ip6tables, iptables } from './iptables.ts';
import { ipvs } from './ipvs.ts';
import { kernel } from './kernel.ts';
import { listeners } from './listeners.ts';
import { neighbours } from './neighbours.ts';
import { nftables } from './nftables.ts';
import { offloads } from './offloads.ts';
import { podSockets } from './pod-sockets.ts';
import { processes } from './processes.ts';
import { proxyConfig, proxyMetrics } from './proxy.ts';
import { routes } from './routes.ts';
import { serviceMaps } from './service-maps.ts';
import type { Source } from './source.ts';
import { sysctls } from './sysctls.ts';
import { tools } from './tools.ts';
import { ufw } from './ufw.ts';

export const sources: readonly Source[] = [
  processes,
  tools,
  kernel,
  iptables,
  ip6tables,
  nftables,
  ipset,
  ipvs,
  serviceMaps,
  interfaces,
  routes,
  neighbours,
  offloads,
  ufw,
  firewalld,
  sysctls,
  listeners,
  conntrack,
  flows,
  counters,
  podSockets,
  proxyConfig,
  proxyMetrics,
].map(withCapabilities);
