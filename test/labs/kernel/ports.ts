// Ports of the arena, small in number so that random rules meet random packets often.
import type { Protocol } from './host.ts';

/** Where every host of the arena listens; the node's kernel has no SCTP. */
export const tcpPorts: readonly number[] = [8080, 8443, 2222];
export const udpPorts: readonly number[] = [5353];
export const sctpPorts: readonly number[] = [3868];
/** Ports that packets are sent to and rules name; on most of them nothing listens. */
export const askedPorts: Readonly<Record<Protocol, readonly number[]>> = {
  tcp: [30080, 30081, 8080, 8443, 2222, 9999],
  udp: [30053, 5353, 9998],
  sctp: [30036, 3868, 9997],
};

/** Whether a host of the arena answers. */
export const serves = (protocol: Protocol, port: number): boolean => ({ tcp: tcpPorts, udp: udpPorts, sctp: sctpPorts })[protocol].includes(port);
