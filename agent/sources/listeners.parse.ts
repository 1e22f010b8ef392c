// Makes one text of the sockets that `ss` and /proc/net list: one line each, without what changes while the sockets stay the same.
import { formatAddress } from '../../shared/model/address.ts';

/** Whether a line looks like one of `ss -H -tulnp`. */
export const isSocketLine = (line: string): boolean => /^[a-z_]+\s+[A-Z][A-Z0-9-]+\s+-?\d+\s+-?\d+\s+\S+:\S+\s/.test(`${line} `);

/**
 * The lines of `ss` with the receive queue set to 0 (how many connections wait changes all the time) and the columns one space apart. A line that does not
 * begin as a socket's does belongs to the one before it: names of processes may hold newlines, which are shown as `\n`.
 */
export function steadySockets(text: string): string {
  const lines: string[] = [];
  for (const line of text.split('\n')) {
    if (line.trim() === '') continue;
    if (isSocketLine(line) || lines.length === 0) lines.push(line);
    else lines.push(`${lines.pop()}\\n${line}`);
  }
  return lines.map((line) => `${shown(line)}\n`).join('');
}

const shown = (line: string): string => {
  const found = /^(\S+)\s+(\S+)\s+\S+\s+(\S+)\s+(\S+)\s+(\S+)\s*(.*)$/.exec(line);
  if (found === null) return printable(line);
  const [, protocol, state, send, local, peer, rest = ''] = found;
  return printable(`${protocol} ${state} 0 ${send} ${local} ${peer} ${rest}`.trimEnd());
};

// biome-ignore lint/suspicious/noControlCharactersInRegex: names of processes may hold control characters.
const controls = /[\u0000-\u001f\u007f]/g;
const printable = (text: string): string => text.replaceAll(controls, (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`);

/** States of /proc/net/tcp and udp: 0A is LISTEN, 07 is what a UDP socket without a peer has. */
const takers: Readonly<Record<string, string>> = { tcp: '0A', tcp6: '0A', udp: '07', udp6: '07' };

/** The sockets of one list of /proc/net (`tcp`, `tcp6`, `udp`, `udp6`) that take connections or datagrams, as `ss -H -tuln` prints them. */
export function socketLines(text: string, list: string): string[] {
  return text.split('\n').flatMap((line) => {
    const [, local, remote, state] = /^\s*\d+: ([0-9A-F]+:[0-9A-F]{4}) ([0-9A-F]+):[0-9A-F]{4} ([0-9A-F]{2}) /.exec(line) ?? [];
    if (local === undefined || state !== takers[list] || /[^0]/.test(remote ?? '')) return [];
    const socket = socketAddress(local);
    if (socket === undefined) return [];
    const any = list.endsWith('6') ? '[::]' : '0.0.0.0';
    return [
      `${list.slice(0, 3)} ${list.startsWith('tcp') ? 'LISTEN' : 'UNCONN'} 0 0 ${socket.family === 6 ? `[${socket.address}]` : socket.address}:${socket.port} ${any}:*`,
    ];
  });
}

/** Reads `0100007F:1F90`: the address in words of 32 bits, each in the order of a little-endian machine; the port as it is written. */
export function socketAddress(text: string): { readonly family: 4 | 6; readonly address: string; readonly port: number } | undefined {
  const found = /^([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4})$/i.exec(text);
  if (found === null) return undefined;
  const words = (found[1] as string).match(/.{8}/g) ?? [];
  const hexadecimal = words.map((word) => (word.match(/../g) ?? []).reverse().join('')).join('');
  const family = words.length === 1 ? 4 : 6;
  return { family, address: formatAddress(family, BigInt(`0x${hexadecimal}`)), port: Number.parseInt(found[2] as string, 16) };
}
