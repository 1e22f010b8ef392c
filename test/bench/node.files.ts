// The files of a capture of a node with the rules of a benchmark's dump: one interface with the node's address, one with pods, and the settings of a router.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

const address = (local: string, prefixlen: number): object => ({ family: 'inet', local, prefixlen });
const files: Readonly<Record<string, string>> = {
  'capture.json': JSON.stringify({ node: 'bench' }),
  'ip-addr.json': JSON.stringify([
    { ifindex: 1, ifname: 'lo', flags: ['LOOPBACK', 'UP', 'LOWER_UP'], addr_info: [address('127.0.0.1', 8)] },
    { ifindex: 2, ifname: 'eth0', flags: ['UP', 'LOWER_UP'], addr_info: [address('172.31.0.11', 24)] },
    { ifindex: 3, ifname: 'cni0', flags: ['UP', 'LOWER_UP'], addr_info: [address('10.244.0.1', 24)] },
  ]),
  'ip-route.json': JSON.stringify([
    { dst: 'default', gateway: '172.31.0.1', dev: 'eth0', flags: [] },
    { dst: '172.31.0.0/24', dev: 'eth0', flags: [] },
    { dst: '10.244.0.0/24', dev: 'cni0', flags: [] },
  ]),
  'sysctl.txt': 'net.ipv4.ip_forward = 1\nnet.ipv4.conf.all.rp_filter = 0\n',
};

/** The host's part of the capture by file name. */
export const hostFiles = (): ReadonlyMap<string, Buffer> => new Map(Object.entries(files).map(([name, text]) => [name, Buffer.from(text)]));

/** Writes the host's part of the capture into a directory. */
export function writeHostFiles(directory: string): void {
  for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, name), text);
}
