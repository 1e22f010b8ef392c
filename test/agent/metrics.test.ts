// The agent's metrics: what its status says as numbers, served to whoever asks for that page, and nothing else.
import t from 'tap';
import { serveMetrics } from '../../agent/host/metrics.ts';
import { agentMetrics } from '../../agent/metrics.ts';
import type { AgentStatus } from '../../agent/status.ts';

const source = { missingCapabilities: [], watch: 'poll', periodMs: 1_000, costMs: 12 } as const;
const status: AgentStatus = {
  apiVersion: 'portreeve/v1',
  kind: 'AgentStatus',
  node: 'node1',
  version: '1.2.3',
  agent: { pid: 1, startedAt: 1_000, rssBytes: 5_000_000, cpuMs: 1_500, collector: { url: 'ws://x', connected: true, unacknowledged: 7 }, parts: {} },
  sources: [
    { ...source, name: 'iptables', outcome: 'facts', readAt: 9_000 },
    { ...source, name: 'ipset', outcome: 'failed', readAt: null },
  ],
};

t.test('the page', async (t) => {
  const text = agentMetrics(status, { inMemory: 3, spoolBytes: 4_096, now: 10_000 });
  for (const line of [
    'portreeve_agent_build_info{version="1.2.3"} 1',
    'portreeve_agent_source_failed{source="iptables"} 0',
    'portreeve_agent_source_failed{source="ipset"} 1',
    'portreeve_agent_source_age_seconds{source="iptables"} 1',
    'portreeve_agent_source_cost_seconds{source="ipset"} 0.012',
    'portreeve_agent_connected 1',
    'portreeve_agent_unacknowledged_changes 7',
    'portreeve_agent_queue_length 3',
    'portreeve_agent_spool_bytes 4096',
    'process_cpu_seconds_total 1.5',
  ])
    t.ok(text.includes(`${line}\n`), line);
  t.notMatch(text, /source_age_seconds\{source="ipset"/, 'what was never read has no age');
  const { agent: _, ...probed } = status;
  t.notMatch(agentMetrics(probed, { inMemory: 0, spoolBytes: 0, now: 0 }), /portreeve_agent_connected/);
});

t.test('where it is', async (t) => {
  const served = await serveMetrics('127.0.0.1:0', async () => 'x 1\n');
  t.equal(await (await fetch(served.address)).text(), 'x 1\n');
  t.equal((await fetch(served.address.replace('/metrics', '/'))).status, 404);
  t.equal((await fetch(served.address, { method: 'POST' })).status, 404);
  await t.rejects(
    serveMetrics(new URL(served.address).host, async () => ''),
    { code: 'USAGE', message: /EADDRINUSE/ },
  );
  await served.close();
  await t.rejects(fetch(served.address));
  const broken = await serveMetrics('[::1]:0', async () => {
    throw new Error('no status');
  });
  t.match(await (await fetch(broken.address)).text(), 'no status');
  await broken.close();
  for (const place of ['7301', '127.0.0.1:70000', ':1'])
    await t.rejects(
      serveMetrics(place, async () => ''),
      { code: 'USAGE', message: /HOST:PORT/ },
    );
});
