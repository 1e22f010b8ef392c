// `portreeve agent`: watches this node and tells the collector; `portreeve agent status` says how it fares.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { AgentOptions } from '../../agent/main.ts';
import { failure } from '../../shared/errors.ts';
import { type Command, type Io, outputOption, type Parsed, requiredText, textOf } from '../command.ts';
import { connections } from './agent.connections.ts';
import { runDirectory, socketName, socketOf, status } from './agent.status.ts';

export const command: Command = {
  name: 'agent',
  summary: 'watch this node and stream its state and changes to the collector',
  usage: '--collector URL | status | connections PORT[/PROTO]',
  description: [
    'Runs until SIGTERM or SIGINT. Needs CAP_NET_ADMIN to read rules. It reads the host and never changes it.',
    '',
    'agent status asks the running agent how every source fares: what was read or not and why, which capability it lacks, how it is watched, and what reading it',
    'costs. With --probe no agent is asked: each source is read once. Exit code 0: every source is read or absent; 1: one has failed; 3: no agent answers.',
    '',
    'agent connections asks it for the tracked connections of one NodePort, as conntrack -L prints them.',
  ].join('\n'),
  options: [
    { name: 'collector', value: 'URL', summary: 'wss://HOST:PORT, or ws://HOST:PORT on a loopback address' },
    { name: 'node', value: 'NAME', summary: 'name of the Kubernetes node (default: the host name)' },
    { name: 'state', value: 'DIR', summary: 'directory for changes that wait while no collector takes them, and for the socket' },
    {
      name: 'socket',
      value: 'PATH',
      summary: `socket for agent status (default: ${socketName} in the state directory, else in ${runDirectory} if that is there)`,
    },
    { name: 'token-file', value: 'FILE', summary: 'bearer token for the collector' },
    { name: 'log-level', value: 'LEVEL', summary: 'how much is logged on stderr', default: 'info', choices: ['debug', 'info', 'warn', 'error'] },
    { name: 'probe', summary: 'status: read each source once instead of asking an agent' },
    outputOption,
  ],
  examples: [
    'portreeve agent --collector ws://127.0.0.1:7300 --node node1',
    'portreeve agent status',
    'portreeve agent status --probe -o json',
    'portreeve agent connections 30999/udp',
  ],
  run: async (parsed, io) => {
    const [what, ...rest] = parsed.positionals;
    if (what === 'status' && rest.length === 0) return await status(parsed, io);
    if (what === 'connections') return await connections(parsed, io, rest);
    if (what !== undefined)
      throw failure('USAGE', [`agent ${parsed.positionals.join(' ')}: status, connections or nothing is wanted; see portreeve agent --help`]);
    return await runHere(parsed, io);
  },
};

async function runHere(parsed: Parsed, io: Io): Promise<number> {
  const [node, state, tokenFile] = [textOf(parsed, 'node'), textOf(parsed, 'state'), textOf(parsed, 'token-file')];
  const socket = socketOf(parsed) ?? (existsSync(runDirectory) ? join(runDirectory, socketName) : undefined);
  const options: AgentOptions = {
    collector: requiredText(parsed, 'collector'),
    ...(node === undefined ? {} : { node }),
    ...(state === undefined ? {} : { state }),
    ...(socket === undefined ? {} : { socket }),
    ...(tokenFile === undefined ? {} : { tokenFile }),
    logLevel: textOf(parsed, 'log-level') as NonNullable<AgentOptions['logLevel']>,
  };
  const { runAgent } = await import('../../agent/main.ts');
  await runAgent(options, io.signal);
  return 0;
}
