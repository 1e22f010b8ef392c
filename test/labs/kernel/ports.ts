// Ports of the arena, small in number so that random rules meet random packets often.

/** Where every host of the arena listens. */
export const tcpPorts: readonly number[] = [8080, 8443, 2222];
export const udpPorts: readonly number[] = [5353];
/** Ports that packets are sent to and rules name; on most of them nothing listens. */
export const askedPorts: readonly number[] = [30080, 30081, 8080, 8443, 2222, 9999];
export const askedUdpPorts: readonly number[] = [30053, 5353, 9998];
