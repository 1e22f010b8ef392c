// `portreeve agent`: watches this node and tells the collector.
import { type AgentOptions, runAgent } from '../../agent/main.ts';
import { failure } from '../../shared/errors.ts';
import { type Command, flagOf, numberOf, requiredText, textOf } from '../command.ts';

export const command: Command = {
  name: 'agent',
  summary: 'watch this node and stream its state and changes to the collector',
  usage: '--collector URL',
  description:
    'Runs until SIGTERM or SIGINT. Needs CAP_NET_ADMIN to read rules, and CAP_BPF and CAP_PERFMON to see drops and who changes rules. It reads the host and never changes it.',
  options: [
    { name: 'collector', value: 'URL', summary: 'wss://HOST:PORT, or ws://HOST:PORT on a loopback address' },
    { name: 'node', value: 'NAME', summary: 'name of the Kubernetes node (default: the host name)' },
    { name: 'state', value: 'DIR', summary: 'directory for changes that wait while no collector takes them' },
    { name: 'spool-bytes', value: 'BYTES', summary: 'what they may take there (default: 64 MiB); beyond it first and last of each object are kept' },
    { name: 'token-file', value: 'FILE', summary: 'token of a ServiceAccount (audience portreeve), read anew at each connection' },
    { name: 'join-token-file', value: 'FILE', summary: 'join token, for the first start without Kubernetes tokens (portreeve token create --node)' },
    { name: 'ca-file', value: 'FILE', summary: "authorities that the collector's certificate may come from, as PEM" },
    { name: 'watch-resets', summary: 'with eBPF, also watch the resets that clients are sent; each short packet of the node pays about 0.1 µs for it' },
    { name: 'log-level', value: 'LEVEL', summary: 'how much is logged on stderr', default: 'info', choices: ['debug', 'info', 'warn', 'error'] },
  ],
  examples: [
    'portreeve agent --collector ws://127.0.0.1:7300 --node node1',
    'portreeve agent --collector wss://collector.example:7300 --state /var/lib/portreeve --join-token-file /etc/portreeve/join-token',
  ],
  run: async (parsed, io) => {
    const [node, state, tokenFile] = [textOf(parsed, 'node'), textOf(parsed, 'state'), textOf(parsed, 'token-file')];
    const [joinTokenFile, authorityFile] = [textOf(parsed, 'join-token-file'), textOf(parsed, 'ca-file')];
    if (joinTokenFile !== undefined && state === undefined) throw failure('USAGE', ['--join-token-file needs --state DIR, where the key is kept']);
    const spoolBytes = numberOf(parsed, 'spool-bytes', { min: 1024 * 1024, max: Number.MAX_SAFE_INTEGER });
    const options: AgentOptions = {
      collector: requiredText(parsed, 'collector'),
      ...(node === undefined ? {} : { node }),
      ...(state === undefined ? {} : { state }),
      ...(spoolBytes === undefined ? {} : { spoolBytes }),
      ...(tokenFile === undefined ? {} : { tokenFile }),
      ...(joinTokenFile === undefined ? {} : { joinTokenFile }),
      ...(authorityFile === undefined ? {} : { authorityFile }),
      ...(flagOf(parsed, 'watch-resets') ? { watchResets: true } : {}),
      logLevel: textOf(parsed, 'log-level') as NonNullable<AgentOptions['logLevel']>,
    };
    await runAgent(options, io.signal);
    return 0;
  },
};
