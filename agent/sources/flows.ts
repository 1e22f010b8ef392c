// Tracked connections to the node's own addresses that are sent elsewhere, as far as they can be stale: UDP, which has no end, and TCP that got no answer yet.
import { limits } from '../../shared/limits.ts';
import type { NodePortKey } from '../../shared/model/fact.ts';
import type { Machine } from '../host/machine.ts';
import { flowsFault, ownAddresses, steadyFlows } from './flows.parse.ts';
import { madeFile, type Reading, type Source } from './source.ts';

const file = 'conntrack.txt';

export const flows: Source = {
  name: 'flows',
  needs: { commands: ['conntrack'], capabilities: ['CAP_NET_ADMIN'] },
  files: [file],
  wakes: [],
  pollMs: () => 30_000,
  read: async (machine, known) => {
    const count = await machine.read('/proc/sys/net/netfilter/nf_conntrack_count');
    // Asking conntrack loads its module.
    if (count.kind !== 'done') return { outcome: 'absent', reason: 'the kernel tracks no connections (nf_conntrack is not loaded)' };
    const entries = Number(count.content.toString('latin1'));
    if (entries === 0) return madeFile(file, '', '/proc/sys/net/netfilter/nf_conntrack_count: there are none');
    const own = ownAddresses(known.get('ip-addr.json'));
    const tables =
      entries <= wholeMax
        ? [await list(machine, ['-L'])]
        : [await list(machine, ['-L', '-p', 'udp']), await list(machine, ['-L', '-p', 'tcp', '--state', 'SYN_SENT'])];
    // A conntrack that lists IPv4 alone where it is not told lists fewer than there are.
    if (own.some((address) => address.includes(':')) && entriesOf(tables) < entries) tables.push(await list(machine, ['-L', '-f', 'ipv6', '-p', 'udp']));
    const failed = tables.find((table) => table.outcome !== 'facts');
    if (failed !== undefined) return entries <= procEntriesMax ? await fromProc(machine, own, failed) : failed;
    const texts = tables.flatMap((table) => (table.outcome === 'facts' ? [...table.files.values()] : []));
    return made(steadyFlows(texts.map(String).join('\n'), new Set(own)), 'conntrack -L, those to addresses of the node');
  },
};

/** A list costs as much as the kernel's table is large, and not as it is full: with so many entries, one list of all of them is less than one for each question. */
const wholeMax = 5_000;

const entriesOf = (tables: readonly Reading[]): number =>
  tables.reduce((sum, table) => sum + (table.outcome === 'facts' ? String(table.files.get(file)).split('\n').length - 1 : 0), 0);

/** Of `conntrack -L` for one NodePort. */
export const connectionsMax = 1_000;

/** The tracked connections of one NodePort, as `conntrack -L` prints them, at most so many; or why they cannot be told. */
export async function connectionsOf(
  machine: Machine,
  { protocol, family, port }: NodePortKey,
): Promise<{ readonly lines: readonly string[] } | { readonly error: string }> {
  const words = ['-L', '-f', family === 4 ? 'ipv4' : 'ipv6', '-p', protocol, '--orig-port-dst', String(port)];
  const reading = await list(machine, words);
  if (reading.outcome !== 'facts') return { error: reading.reason };
  const lines = String(reading.files.get(file))
    .split('\n')
    .filter((line) => line !== '');
  return { lines: lines.slice(0, connectionsMax) };
}

async function list(machine: Machine, words: readonly string[]): Promise<Reading> {
  const outcome = await machine.run('conntrack', words, limits.toolTimeoutMs);
  if (outcome.kind === 'missing') return { outcome: 'absent', reason: 'conntrack is not installed' };
  if (outcome.kind === 'failed') return { outcome: 'failed', reason: `conntrack ${words.join(' ')}: ${outcome.reason}` };
  const fault = flowsFault(outcome.stdout);
  return fault === undefined ? madeFile(file, outcome.stdout, 'conntrack') : { outcome: 'failed', reason: `conntrack ${words.join(' ')}: ${fault}` };
}

/** The kernel's own list is read in one piece, while everything else waits: only where it is short. */
const procEntriesMax = 20_000;

async function fromProc(machine: Machine, own: readonly string[], failed: Exclude<Reading, { outcome: 'facts' }>): Promise<Reading> {
  const table = await machine.read('/proc/net/nf_conntrack');
  return table.kind === 'done'
    ? made(steadyFlows(table.content.toString('latin1'), new Set(own)), `/proc/net/nf_conntrack, those to addresses of the node (${failed.reason})`)
    : failed;
}

const made = ({ text, left }: { readonly text: string; readonly left: number }, from: string): Reading => ({
  ...madeFile(file, text, from),
  ...(left === 0 ? {} : { lacks: `${left} of the connections: only so many are kept` }),
});
