// Keeps connections that are nobody's yet from taking the place of those that are: each address may have some, all together may have more, and the oldest go first.
import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { limits } from '../../shared/limits.ts';

/** Where a connection comes from. */
export interface Peer {
  readonly remoteAddress?: string | undefined;
  readonly remotePort?: number | undefined;
}

export interface ConnectionLimits {
  readonly ofAddressMax: number;
  readonly max: number;
}

export class Connections {
  readonly #limits: ConnectionLimits;
  /** By address and then by port, the oldest first. With TLS the socket of a port is exchanged for the encrypted one. */
  readonly #unknown = new Map<string, Map<number, Socket>>();
  #count = 0;
  #cut = 0;

  constructor(given: ConnectionLimits = { ofAddressMax: limits.unknownConnectionsOfAddressMax, max: limits.unknownConnectionsMax }) {
    this.#limits = given;
  }

  /** Connections that were cut to make room. */
  get cut(): number {
    return this.#cut;
  }

  /** Counts the connections of a server from now on. */
  watch(server: Server): void {
    server.on('connection', (socket: Socket) => this.#add(socket));
    // The plain socket beneath has told of the connection already.
    server.on('secureConnection', (socket: Socket) => this.#replace(socket));
  }

  /** A connection is known from now on and no longer counts here: others limit it. */
  know(peer: Peer): void {
    const { remoteAddress = '', remotePort = 0 } = peer;
    this.#forget(networkOf(remoteAddress), remotePort);
  }

  #add(socket: Socket): void {
    const { remoteAddress, remotePort } = socket;
    if (remoteAddress === undefined || remotePort === undefined) return void socket.destroy();
    const network = networkOf(remoteAddress);
    const ofNetwork = this.#unknown.get(network) ?? new Map<number, Socket>();
    ofNetwork.set(remotePort, socket);
    this.#unknown.set(network, ofNetwork);
    this.#count++;
    socket.once('close', () => this.#forget(network, remotePort));
    if (ofNetwork.size > this.#limits.ofAddressMax) this.#cutOldest(ofNetwork);
    else if (this.#count > this.#limits.max) this.#cutOldest([...this.#unknown.values()].reduce((most, each) => (each.size > most.size ? each : most)));
  }

  #replace(socket: Socket): void {
    const ofNetwork = this.#unknown.get(networkOf(socket.remoteAddress ?? ''));
    if (ofNetwork?.has(socket.remotePort ?? 0)) ofNetwork.set(socket.remotePort ?? 0, socket);
  }

  #cutOldest(sockets: ReadonlyMap<number, Socket>): void {
    const [oldest] = sockets.values();
    this.#cut++;
    const { remoteAddress = '', remotePort = 0 } = oldest ?? {};
    oldest?.destroy();
    this.#forget(networkOf(remoteAddress), remotePort);
  }

  #forget(network: string, port: number): void {
    const ofNetwork = this.#unknown.get(network);
    if (ofNetwork?.delete(port) !== true) return;
    this.#count--;
    if (ofNetwork.size === 0) this.#unknown.delete(network);
  }
}

/** Who has one address of IPv6 has its whole /64. */
const networkOf = (address: string): string => (address.includes(':') && !address.includes('.') ? address.split(':').slice(0, 4).join(':') : address);
