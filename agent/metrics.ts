// The agent's metrics, made from its status: sources with their outcome, age and cost; what waits; what it uses. Pure. Series: three for each source, and a dozen.
import { familyText, type Sample, valueText } from '../shared/prometheus.ts';
import type { AgentStatus, SourceStatus } from './status.ts';

export interface AgentMeasured {
  /** Changes that wait in memory for the collector's word. */
  readonly inMemory: number;
  readonly spoolBytes: number;
  readonly now: number;
}

/** The page. */
export function agentMetrics({ version, agent, sources }: AgentStatus, { inMemory, spoolBytes, now }: AgentMeasured): string {
  const of = (value: (source: SourceStatus) => number): Sample[] => sources.map((source) => ({ labels: { source: source.name }, value: value(source) }));
  const read = sources.filter(({ readAt }) => readAt !== null);
  return [
    familyText({ name: 'portreeve_agent_build_info', type: 'gauge', help: 'The version that runs.' }, [{ labels: { version }, value: 1 }]),
    familyText(
      { name: 'portreeve_agent_source_failed', type: 'gauge', help: '1: the source could not be read; 0: it was read, or there is nothing to read.' },
      of(({ outcome }) => (outcome === 'failed' ? 1 : 0)),
    ),
    familyText(
      { name: 'portreeve_agent_source_age_seconds', type: 'gauge', help: 'Time since a source was read.' },
      read.map(({ name, readAt }) => ({ labels: { source: name }, value: Math.max(0, now - (readAt ?? now)) / 1_000 })),
    ),
    familyText(
      { name: 'portreeve_agent_source_cost_seconds', type: 'gauge', help: 'Processor time of one reading of a source.' },
      of(({ costMs }) => costMs / 1_000),
    ),
    ...(agent === undefined
      ? []
      : [
          valueText({ name: 'portreeve_agent_connected', type: 'gauge', help: '1 while a collector is connected.' }, agent.collector.connected ? 1 : 0),
          valueText(
            { name: 'portreeve_agent_unacknowledged_changes', type: 'gauge', help: 'Changes that the collector has not acknowledged.' },
            agent.collector.unacknowledged,
          ),
          valueText({ name: 'portreeve_agent_queue_length', type: 'gauge', help: 'Changes that wait in memory.' }, inMemory),
          valueText({ name: 'portreeve_agent_spool_bytes', type: 'gauge', help: 'Bytes of changes that wait on disk.' }, spoolBytes),
          valueText(
            { name: 'process_cpu_seconds_total', type: 'counter', help: 'Processor time that the agent has used, its tools left out.' },
            agent.cpuMs / 1_000,
          ),
          valueText({ name: 'process_resident_memory_bytes', type: 'gauge', help: 'Resident memory of the agent.' }, agent.rssBytes),
          valueText({ name: 'process_start_time_seconds', type: 'gauge', help: 'When it started, in seconds since 1970.' }, agent.startedAt / 1_000),
        ]),
  ].join('');
}
