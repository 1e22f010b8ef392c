// `portreeve agent status`: how every source of this node's agent stands, asked on its socket; with --probe without an agent, by reading each source once.
import { hostname } from 'node:os';
import { join } from 'node:path';
import { askAt } from '../../agent/host/local-socket.ts';
import { type AgentStatus, probeEbpf, probeSources, type SourceStatus } from '../../agent/status.ts';
import { version } from '../../agent/version.ts';
import { failure } from '../../shared/errors.ts';
import { flagOf, type Io, type Parsed, requiredText, textOf } from '../command.ts';
import { printable, spanText, tableText } from '../table.ts';
import { runDirectory, socketName, socketOf } from './agent.socket.ts';
import { dataText } from './get.ts';

/** Prints the status. Exit codes: 0 every source is read or absent, 1 one has failed, 3 no agent answers. Throws AGENT_REFUSED for what answers and is none. */
export async function status(parsed: Parsed, io: Io): Promise<number> {
  const found = flagOf(parsed, 'probe') ? await probed(parsed, io) : await asked(parsed, io);
  if (found === undefined) return 3;
  const form = requiredText(parsed, 'output');
  io.stdout.write(form === 'json' || form === 'yaml' ? dataText(form, found) : statusText(found, Date.now()));
  return found.sources.some(({ outcome }) => outcome === 'failed') ? 1 : 0;
}

async function asked(parsed: Parsed, io: Io): Promise<AgentStatus | undefined> {
  const path = socketOf(parsed) ?? join(runDirectory, socketName);
  const answer = await askAt(path, { ask: 'status' });
  if (answer.kind === 'failed') throw failure('AGENT_REFUSED', [path, answer.reason]);
  if (answer.kind === 'answer') return answer.value as unknown as AgentStatus;
  io.stderr.write(`portreeve: ${failure('AGENT_UNREACHABLE', [path, 'no agent runs, or it was started without a socket']).message}\n`);
  return undefined;
}

const probed = async (parsed: Parsed, io: Io): Promise<AgentStatus> => ({
  apiVersion: 'portreeve/v1',
  kind: 'AgentStatus',
  node: textOf(parsed, 'node') ?? hostname(),
  version,
  ebpf: await probeEbpf(io.signal),
  sources: await probeSources(io.signal),
});

/** The status for a person. */
export function statusText(found: AgentStatus, now: number): string {
  const rows = found.sources.map((source) => [source.name, source.outcome, watchText(source), readText(source, now), costText(source), noteOf(source)]);
  return `${headText(found, now)}\n${tableText(['SOURCE', 'OUTCOME', 'WATCHED', 'READ', 'COST', 'NOTE'], rows)}`;
}

function headText({ node, version: release, agent, ebpf }: AgentStatus, now: number): string {
  if (agent === undefined)
    return `${printable(node)}: no agent was asked; each source was read once\n${ebpf === undefined ? '' : `eBPF: ${printable(ebpf)}\n`}`;
  const { collector, rssBytes, cpuMs, startedAt } = agent;
  const share = ((cpuMs * 100) / Math.max(1, now - startedAt)).toFixed(2);
  const waiting = `${collector.unacknowledged} ${collector.unacknowledged === 1 ? 'change waits' : 'changes wait'}`;
  return [
    `${printable(node)}: agent ${printable(release)}, pid ${agent.pid}, for ${spanText(now - startedAt)}, ${Math.round(rssBytes / 1e6)} MB, ${share} % of a core on average`,
    `collector ${printable(collector.url)}: ${collector.connected ? 'connected' : 'not connected'}, ${waiting} ${agent.spool === undefined ? 'in memory' : `in ${printable(agent.spool)}`}`,
    ...Object.entries(agent.parts).map(([name, text]) => `${printable(name)}: ${printable(text)}`),
    '',
  ].join('\n');
}

const watchText = ({ watch, periodMs }: SourceStatus): string => (watch === 'events' ? 'events' : `every ${spanText(periodMs)}`);
const readText = ({ readAt }: SourceStatus, now: number): string => (readAt === null ? 'never' : `${spanText(now - readAt)} ago`);
const costText = ({ costMs }: SourceStatus): string => (costMs >= 1_000 ? `${(costMs / 1_000).toFixed(1)} s` : `${costMs.toFixed(costMs < 10 ? 1 : 0)} ms`);

function noteOf({ reason, lacks, missingCapabilities }: SourceStatus): string {
  const said = `${reason ?? ''} ${lacks ?? ''}`;
  const unsaid = missingCapabilities.filter((name) => !said.includes(name));
  return [reason, lacks === undefined ? undefined : `lacks ${lacks}`, unsaid.length === 0 ? undefined : `without ${unsaid.join(', ')}`]
    .filter((part) => part !== undefined)
    .join('; ');
}
