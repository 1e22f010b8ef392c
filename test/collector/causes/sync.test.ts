// kube-proxy that cannot write, has just started, or was told to write what this node cannot. The cases are constructed.
import type { Expectation } from '../../../shared/model/expectation.ts';
import type { Fact, HostFact, ProxySync } from '../../../shared/model/fact.ts';
import { chainsFact, forward, proxyFact, refused } from '../compare/facts.ts';
import { everywhere, testCases } from './cases.ts';

const sync = (more: Partial<ProxySync> = {}): ProxySync => ({ lastAt: 1_000_000, queuedAt: 999_000, restoreFailures: 0, partialRestoreFailures: 0, ...more });
const old = (web: Expectation): Fact => everywhere(web, [forward('10.244.1.9:8080')]);
const unserved = (web: Expectation): Fact => everywhere(web, [refused], { claimed: { by: 'none' } });
const behind = { queuedAt: 1_090_000 };
const host = (kernel: string): HostFact => ({ kind: 'host', key: 'host/node', hostname: 'node1', kernel, os: 'Debian', bootedAt: 0 });
const gone = (_: Expectation, all: readonly Expectation[]): Fact[] => [{ ...chainsFact(all), mode: 'none', parts: {}, services: {} }, ...all.map(unserved)];

testCases([
  {
    name: 'B03: another process holds the lock of iptables',
    facts: (web) => [old(web), proxyFact({ sync: sync({ ...behind, lockedBy: { pid: 4711, comm: 'iptables' } }) })],
    expect: [{ cause: 'B03', severity: 'error', port: 30080, confidence: 'likely', remedy: [/-p 4711/, /./] as unknown as string[] }],
  },
  {
    name: 'B04: restores are refused',
    facts: (web) => [old(web), proxyFact({ sync: sync({ ...behind, restoreFailures: 12 }) })],
    expect: [{ cause: 'B04', summary: /90 s older than the last request for one, and 12 restores were refused/ as unknown as string }],
  },
  {
    name: 'B03: nothing has changed yet that the rules lack',
    facts: () => [proxyFact({ sync: sync(behind) })],
    expect: [{ cause: 'B03', severity: 'warning', confidence: 'possible', port: 0 }],
  },
  {
    name: 'B03: it says itself that it is not healthy',
    now: 2_000_000,
    facts: () => [proxyFact({ health: '503: last sync 5 min ago', version: 'v1.30.5' })],
    expect: [{ cause: 'B03', severity: 'warning', port: 0, summary: /kube-proxy v1\.30\.5 on node1 says that it is not healthy/ as unknown as string }],
  },
  { name: 'B03 twin: it says that it is healthy', now: 2_000_000, facts: () => [proxyFact({ health: 'ok' })], expect: [] },
  { name: 'B03 twin: it has written since', facts: () => [proxyFact({ sync: sync({ lockedBy: { pid: 1, comm: 'iptables' } }) })], expect: [] },
  {
    name: 'B05: the last sync is recent: one update was lost',
    facts: (web) => [old(web), proxyFact({ sync: sync({ partialRestoreFailures: 1 }) })],
    expect: [{ cause: 'B05', port: 30080 }],
  },
  {
    name: 'B16: kube-proxy started 20 s ago',
    now: 2_000_000,
    facts: (web) => [unserved(web), proxyFact({ startedAt: 1_980_000 })],
    expect: [{ cause: 'B16', severity: 'warning', symptom: 'refused', summary: /started 20 s ago/ as unknown as string }],
  },
  {
    name: 'B16: the ledger has seen it start',
    now: 2_000_000,
    facts: (web) => [unserved(web)],
    changes: [{ at: 1_990_000, node: 'node1', kind: 'process', subject: 'process kube-proxy', before: 'pid 1: kube-proxy', after: 'pid 2: kube-proxy' }],
    expect: [{ cause: 'B16' }],
  },
  {
    name: 'B16 twin: it started an hour ago',
    now: 5_000_000,
    facts: (web) => [unserved(web), proxyFact({ startedAt: 1_000_000 })],
    expect: [{ cause: 'B05' }],
  },
  {
    name: 'B20: nftables mode on a kernel that is too old',
    facts: (web, all) => [...gone(web, all), proxyFact({ mode: 'none', flags: { 'proxy-mode': 'nftables' } }), host('5.4.0-150-generic')],
    expect: [{ cause: 'B20', severity: 'error', confidence: 'certain', summary: /kernel 5\.4\.0-150-generic is older than 5\.13/ as unknown as string }],
  },
  {
    name: 'B20: somebody has flushed its table',
    facts: (web, all) => [...gone(web, all), proxyFact({ mode: 'none', flags: { 'proxy-mode': 'nftables' } }), host('6.1.0')],
    changes: [
      { at: 7, node: 'node1', kind: 'table', subject: 'ip kube-proxy', before: 'table', after: null, actor: { comm: 'nft', pid: 5, how: 'nft-generation' } },
    ],
    now: 10,
    expect: [{ cause: 'B20', since: 7, summary: /removed by nft\.$/ as unknown as string }],
  },
  {
    name: 'B20 twin: iptables mode was asked for',
    facts: (web, all) => [...gone(web, all), proxyFact({ mode: 'none', flags: { 'proxy-mode': 'iptables' } })],
    expect: [{ cause: 'B05' }, { cause: 'B05' }],
  },
]);
