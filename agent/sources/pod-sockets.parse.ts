// Reads the addresses of a network namespace from /proc/PID/net, and writes what listens there as one paragraph of pod-sockets.txt.
import { formatAddress, parseAddress } from '../../shared/model/address.ts';

/** Sockets kept of one namespace. */
export const socketsMax = 200;

/** Addresses other than loopback and link-local ones: of /proc/PID/net/fib_trie (IPv4) and if_inet6 (IPv6), sorted. */
export function addressesIn(trie: string, inet6: string): readonly string[] {
  const four = [...trie.matchAll(/\|-- (\d+\.\d+\.\d+\.\d+)\n\s+\/32 host LOCAL/g)]
    .map((found) => found[1] as string)
    .filter((address) => !address.startsWith('127.'));
  const six = [...inet6.matchAll(/^([0-9a-f]{32}) [0-9a-f]+ [0-9a-f]+ ([0-9a-f]{2}) /gm)]
    // 00 is the global scope; 10 is loopback, 20 the link's own.
    .filter(([, , scope]) => scope === '00')
    .map(([, digits]) => formatAddress(6, BigInt(`0x${digits}`)));
  return [...new Set([...four, ...six])].filter((address) => parseAddress(address) !== undefined).sort();
}

/** `addresses 10.244.1.5 fd00::5`, then the sockets as `ss -H -tuln` prints them, sorted. */
export function namespaceText(addresses: readonly string[], sockets: readonly string[]): string {
  const lines = sockets.filter((line) => /^(?:tcp|udp|sctp) /.test(line)).sort();
  return `addresses ${addresses.join(' ')}\n${lines
    .slice(0, socketsMax)
    .map((line) => `${line}\n`)
    .join('')}`;
}
