// `portreeve agent`: watches this node and tells the collector; `portreeve agent status` says how it fares.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { AgentOptions } from '../../agent/main.ts';
import { failure } from '../../shared/errors.ts';
import { type Command, flagOf, type Io, numberOf, outputOption, type Parsed, requiredList, textOf } from '../command.ts';
import { startService } from '../service.ts';
import { runDirectory, socketName, socketOf } from './agent.socket.ts';

export const command: Command = {
  name: 'agent',
  summary: 'watch this node and stream its state and changes to the collector',
  usage: '--collector URL | status | connections PORT[/PROTO]',
  description: [
    'Runs until SIGTERM or SIGINT. Needs CAP_NET_ADMIN to read rules, and CAP_BPF and CAP_PERFMON to see drops and who changes rules. It reads the host and never changes it.',
    '',
    'agent status asks the running agent how every source fares: what was read or not and why, which capability it lacks, how it is watched, and what reading it',
    'costs. With --probe no agent is asked: each source is read once, and eBPF is tried for a moment. Exit code 0: every source is read or absent; 1: one has',
    'failed; 3: no agent answers.',
    '',
    'agent connections asks it for the tracked connections of one NodePort, as conntrack -L prints them.',
  ].join('\n'),
  options: [
    {
      name: 'collector',
      value: 'URL',
      summary: 'wss://HOST:PORT, or ws://HOST:PORT on a loopback address; once for each replica',
      env: 'PORTREEVE_COLLECTOR',
      multiple: true,
    },
    { name: 'node', value: 'NAME', summary: 'name of the Kubernetes node (default: the host name)' },
    { name: 'state', value: 'DIR', summary: 'directory for changes that wait while no collector takes them, and for the socket' },
    {
      name: 'socket',
      value: 'PATH',
      summary: `socket for agent status (default: ${socketName} in the state directory, else in ${runDirectory} if that is there)`,
    },
    { name: 'spool-bytes', value: 'BYTES', summary: 'what they may take there (default: 64 MiB); beyond it first and last of each object are kept' },
    { name: 'token-file', value: 'FILE', summary: 'token of a ServiceAccount (audience portreeve), read anew at each connection' },
    { name: 'join-token-file', value: 'FILE', summary: 'join token, for the first start without Kubernetes tokens (portreeve token create --node)' },
    { name: 'tls-cert', value: 'FILE', summary: 'client certificate of an authority of your own (common name: the node), read anew at each connection' },
    { name: 'tls-key', value: 'FILE', summary: 'its key' },
    { name: 'ca-file', value: 'FILE', summary: "authorities that the collector's certificate may come from, as PEM" },
    { name: 'metrics', value: 'HOST:PORT', summary: "where Prometheus finds this agent's metrics, in plain HTTP (default: nowhere)" },
    { name: 'watch-resets', summary: 'with eBPF, also watch the resets that clients are sent; each short packet of the node pays about 0.1 µs for it' },
    { name: 'log-level', value: 'LEVEL', summary: 'how much is logged on stderr', default: 'info', choices: ['debug', 'info', 'warn', 'error'] },
    { name: 'probe', summary: 'status: read each source once instead of asking an agent' },
    outputOption,
  ],
  examples: [
    'portreeve agent --collector ws://127.0.0.1:7300 --node node1',
    'portreeve agent --collector wss://collector.example:7300 --state /var/lib/portreeve --join-token-file /etc/portreeve/join-token',
    'portreeve agent --collector wss://a.example:7300 --collector wss://b.example:7300 --state /var/lib/portreeve',
    'portreeve agent status',
    'portreeve agent status --probe -o json',
    'portreeve agent connections 30999/udp',
  ],
  places: [['status', 'connections']],
  run: async (parsed, io) => {
    const [what, ...rest] = parsed.positionals;
    // What prints is loaded only by who asks: a running agent would carry it for months.
    if (what === 'status' && rest.length === 0) return await (await import('./agent.status.ts')).status(parsed, io);
    if (what === 'connections') return await (await import('./agent.connections.ts')).connections(parsed, io, rest);
    if (what !== undefined)
      throw failure('USAGE', [`agent ${parsed.positionals.join(' ')}: status, connections or nothing is wanted; see portreeve agent --help`]);
    return await runHere(parsed, io);
  },
};

async function runHere(parsed: Parsed, io: Io): Promise<number> {
  const [node, state, tokenFile] = [textOf(parsed, 'node'), textOf(parsed, 'state'), textOf(parsed, 'token-file')];
  const socket = socketOf(parsed) ?? (existsSync(runDirectory) ? join(runDirectory, socketName) : undefined);
  const [joinTokenFile, authorityFile] = [textOf(parsed, 'join-token-file'), textOf(parsed, 'ca-file')];
  if (joinTokenFile !== undefined && state === undefined) throw failure('USAGE', ['--join-token-file needs --state DIR, where the key is kept']);
  const [certificateFile, keyFile] = [textOf(parsed, 'tls-cert'), textOf(parsed, 'tls-key')];
  if ((certificateFile === undefined) !== (keyFile === undefined)) throw failure('USAGE', ['--tls-cert and --tls-key go together']);
  const spoolBytes = numberOf(parsed, 'spool-bytes', { min: 1024 * 1024, max: Number.MAX_SAFE_INTEGER });
  const metrics = textOf(parsed, 'metrics');
  const collector = requiredList(parsed, 'collector');
  const service = startService(io.env, io.signal);
  const options: AgentOptions = {
    collector,
    ...(metrics === undefined ? {} : { metrics }),
    onReady: (told) => service.ready(told),
    onReload: (act) => service.onReload(act),
    ...(spoolBytes === undefined ? {} : { spoolBytes }),
    ...(joinTokenFile === undefined ? {} : { joinTokenFile }),
    ...(authorityFile === undefined ? {} : { authorityFile }),
    ...(certificateFile === undefined ? {} : { certificateFile }),
    ...(keyFile === undefined ? {} : { keyFile }),
    ...(flagOf(parsed, 'watch-resets') ? { watchResets: true } : {}),
    ...(node === undefined ? {} : { node }),
    ...(state === undefined ? {} : { state }),
    ...(socket === undefined ? {} : { socket }),
    ...(tokenFile === undefined ? {} : { tokenFile }),
    logLevel: textOf(parsed, 'log-level') as NonNullable<AgentOptions['logLevel']>,
  };
  const { runAgent } = await import('../../agent/main.ts');
  try {
    await runAgent(options, io.signal);
  } finally {
    service.close();
  }
  return 0;
}
