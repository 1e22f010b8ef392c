// `portreeve agent status`: with a running agent in a namespace, without one, and by reading each source once.
import { execFile, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import type { AgentStatus } from '../../../agent/status.ts';
import { statusText } from '../../../cli/commands/agent.status.ts';
import { noBpf } from '../../agent/bpf/program.ts';
import { inNamespace } from '../../agent/namespace.ts';

const cli = fileURLToPath(new URL('../../../cli/portreeve', import.meta.url));
const portreeve = (...words: string[]): Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }> =>
  new Promise((resolve) => execFile(cli, words, (error, stdout, stderr) => resolve({ code: (error?.code as number | undefined) ?? 0, stdout, stderr })));

/** The path of a socket has 107 bytes at most: a test's own folder lies too deep. */
function shortDirectory(t: Test): string {
  const directory = mkdtempSync(join(tmpdir(), 'portreeve-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  return directory;
}

if (process.env.PORTREEVE_TEST_NAMESPACE === undefined) {
  t.test('no agent runs', async (t) => {
    const found = await portreeve('agent', 'status', '--state', shortDirectory(t));
    t.equal(found.code, 3);
    t.match(found.stderr, /no agent answers at .*agent\.sock: no agent runs/);
    t.equal(found.stdout, '');
  });

  t.test('what is no command', async (t) => {
    t.match(await portreeve('agent', 'state'), { code: 2, stderr: /agent state: status, connections or nothing is wanted/ });
    t.match(await portreeve('agent'), { code: 2, stderr: /--collector is missing/ });
  });

  t.test('text of others does not reach the terminal as it is', async (t) => {
    const found: AgentStatus = {
      apiVersion: 'portreeve/v1',
      kind: 'AgentStatus',
      node: 'n\u001b[31m',
      version: '1',
      agent: {
        pid: 7,
        startedAt: 0,
        rssBytes: 61e6,
        cpuMs: 500,
        collector: { url: 'ws://127.0.0.1:1/agent', connected: false, unacknowledged: 1 },
        parts: { eBPF: 'rung 3\u001b[0m' },
      },
      sources: [
        {
          name: 'listeners',
          outcome: 'facts',
          lacks: 'names (needs CAP_SYS_PTRACE)',
          missingCapabilities: ['CAP_SYS_PTRACE'],
          watch: 'poll',
          periodMs: 3_000,
          readAt: 99_000,
          costMs: 7.25,
        },
        {
          name: 'ufw',
          outcome: 'failed',
          reason: 'a\u001b[2J\nb',
          missingCapabilities: ['CAP_DAC_READ_SEARCH'],
          watch: 'events',
          periodMs: 600_000,
          readAt: null,
          costMs: 1_234,
        },
      ],
    };
    t.equal(
      statusText(found, 100_000),
      [
        'n�[31m: agent 1, pid 7, for 100s, 61 MB, 0.50 % of a core on average',
        'collector ws://127.0.0.1:1/agent: not connected, 1 change waits in memory',
        'eBPF: rung 3�[0m',
        '',
        'SOURCE     OUTCOME  WATCHED   READ    COST    NOTE',
        'listeners  facts    every 3s  1s ago  7.3 ms  lacks names (needs CAP_SYS_PTRACE)',
        'ufw        failed   events    never   1.2 s   a�[2J b; without CAP_DAC_READ_SEARCH',
        '',
      ].join('\n'),
    );
  });
}

await inNamespace(t, {
  purpose: 'status',
  file: import.meta.url,
  timeoutMs: 120_000,
  tests: async () => {
    await t.test('a running agent that reaches no collector', async (t) => {
      const state = shortDirectory(t);
      const agent = spawn(cli, ['agent', '--collector', 'ws://127.0.0.1:1', '--node', 'node1', '--state', state], { stdio: 'ignore' });
      const ended = new Promise((resolve) => agent.once('exit', resolve));
      t.teardown(() => agent.kill('SIGKILL'));
      let found = await portreeve('agent', 'status', '--state', state, '-o', 'json');
      for (let tries = 0; tries < 100 && (found.code === 3 || found.stdout.includes('"readAt": null')); tries++) {
        await new Promise((resolve) => setTimeout(resolve, 100));
        found = await portreeve('agent', 'status', '--state', state, '-o', 'json');
      }
      const status = JSON.parse(found.stdout) as AgentStatus;
      t.match(status, {
        kind: 'AgentStatus',
        node: 'node1',
        agent: { pid: agent.pid, spool: state, collector: { url: 'ws://127.0.0.1:1/agent', connected: false } },
      });
      const of = (name: string) => status.sources.find((source) => source.name === name);
      t.match(of('iptables'), { outcome: 'facts', costMs: Number, readAt: Number, missingCapabilities: [] });
      t.match(of('listeners'), { outcome: 'facts', watch: 'poll', periodMs: Number });
      t.match(await portreeve('agent', 'status', '--socket', join(state, 'agent.sock')), {
        stdout: /^node1: agent .*\ncollector ws:\/\/127\.0\.0\.1:1\/agent: not connected[\s\S]*\niptables +facts/,
      });
      execFileSync('bash', ['-ec', 'iptables -A INPUT -m conntrack --ctstate INVALID -j DROP; echo x > /dev/udp/127.0.0.1/30999']);
      t.match(await portreeve('agent', 'connections', '30999/udp', '--state', state), { code: 0, stdout: /^udp .*dport=30999/ });
      t.match(await portreeve('agent', 'connections', '30998/udp', '--state', state), { code: 0, stdout: 'no connections\n' });
      t.match(await portreeve('agent', 'connections', 'web', '--state', state), { code: 2, stderr: /a port is wanted/ });
      agent.kill('SIGTERM');
      t.equal(await ended, 0);
      t.equal((await portreeve('agent', 'connections', '30999/udp', '--state', state)).code, 3);
      t.equal((await portreeve('agent', 'status', '--state', state)).code, 3, 'the socket is gone with it');
    });
    await t.test('each source once, without an agent', async (t) => {
      const found = await portreeve('agent', 'status', '--probe', '-o', 'json');
      const status = JSON.parse(found.stdout) as AgentStatus;
      t.equal(status.agent, undefined);
      t.ok(status.sources.length > 15);
      t.ok(status.sources.every(({ readAt }) => readAt !== null));
      t.match(status.ebpf, noBpf === false ? /^everything/ : /^(drops and processes|audit|monitors): ./, 'which rung of the ladder holds');
    });
    await t.test('without capabilities each source says what it lacks', async (t) => {
      const run = (...words: string[]): Promise<string> =>
        new Promise((resolve) => execFile('setpriv', [...words, cli, 'agent', 'status', '--probe', '-o', 'json'], (_error, stdout) => resolve(stdout)));
      const text = await run('--reuid=65534', '--regid=65534', '--clear-groups', '--inh-caps=-all', '--bounding-set=-all');
      const status = JSON.parse(text) as AgentStatus;
      const of = (name: string) => status.sources.find((source) => source.name === name);
      t.match(of('iptables'), {
        outcome: 'failed',
        reason: /\(the agent lacks CAP_NET_ADMIN, CAP_NET_RAW, CAP_DAC_READ_SEARCH\)/,
        missingCapabilities: ['CAP_NET_ADMIN', 'CAP_NET_RAW', 'CAP_DAC_READ_SEARCH'],
      });
      t.match(of('nftables'), { outcome: 'failed', reason: /CAP_NET_ADMIN/ });
      t.match(of('listeners'), { outcome: 'facts', lacks: /names of other users' processes \(needs CAP_SYS_PTRACE\)/ });
      t.match(of('pod-sockets'), { outcome: 'failed', reason: /CAP_SYS_PTRACE/ });
      t.match(of('interfaces'), { outcome: 'facts', missingCapabilities: [] });
      t.match(status.ebpf, /^monitors: no eBPF: /);
      if (noBpf === false) t.match(status.ebpf, /loading needs CAP_BPF and CAP_PERFMON/);
    });
  },
});
