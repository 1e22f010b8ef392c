// `portreeve agent connections PORT[/PROTO]`: the tracked connections of one NodePort on this node, as its agent sees them.
import { join } from 'node:path';
import { askAt } from '../../agent/host/local-socket.ts';
import { failure } from '../../shared/errors.ts';
import type { Io, Parsed } from '../command.ts';
import { requiredText } from '../command.ts';
import { printable } from '../table.ts';
import { runDirectory, socketName, socketOf } from './agent.socket.ts';
import { dataText } from './get.ts';

/** Prints a line for each connection, as `conntrack -L` does. Exit codes: 0, 3 no agent answers. Throws USAGE, and AGENT_REFUSED when they cannot be told. */
export async function connections(parsed: Parsed, io: Io, words: readonly string[]): Promise<number> {
  const [, port, protocol = 'tcp'] = /^(\d{1,5})(?:\/(tcp|udp|sctp))?$/.exec(words[0] ?? '') ?? [];
  if (port === undefined || words.length !== 1 || Number(port) < 1 || Number(port) > 65_535)
    throw failure('USAGE', [`agent connections ${words.join(' ')}: a port is wanted, 30080 or 30080/udp`]);
  const path = socketOf(parsed) ?? join(runDirectory, socketName);
  const lines: string[] = [];
  for (const family of [4, 6] as const) {
    const answer = await askAt(path, { ask: 'connections', protocol, family, port: Number(port) });
    if (answer.kind === 'absent') {
      io.stderr.write(`portreeve: ${failure('AGENT_UNREACHABLE', [path, 'no agent runs, or it was started without a socket']).message}\n`);
      return 3;
    }
    if (answer.kind === 'failed') throw failure('AGENT_REFUSED', [path, answer.reason]);
    const found = answer.value['lines'];
    lines.push(...(Array.isArray(found) ? found.map(String) : []));
  }
  const form = requiredText(parsed, 'output');
  if (form === 'json' || form === 'yaml') io.stdout.write(dataText(form, { apiVersion: 'portreeve/v1', kind: 'Connections', items: lines }));
  else io.stdout.write(lines.length === 0 ? 'no connections\n' : lines.map((line) => `${printable(line)}\n`).join(''));
  return 0;
}
