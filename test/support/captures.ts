// Reads the captures under test/fixtures as the product does, and what real connections met when they were taken.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseAddress, single } from '../../shared/model/address.ts';
import { type Symptom, symptomOf } from '../../shared/model/outcome.ts';
import { readNode } from '../../shared/netfilter/node.read.ts';
import type { CaptureFiles, NodeState } from '../../shared/netfilter/node.ts';
import type { Packet } from '../../shared/netfilter/packet.ts';
import type { Walk } from '../../shared/netfilter/walk.ts';

export const fixtures = join(import.meta.dirname, '../fixtures');

/** Folders of numbered captures (a real kube-proxy in a lab), in order. */
export const numberedCaptures: readonly string[] = readdirSync(fixtures)
  .filter((name) => /^\d\d-/.test(name))
  .sort();

export function captureFiles(name: string): CaptureFiles {
  const folder = join(fixtures, name);
  return new Map(
    readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => [entry.name, readFileSync(join(folder, entry.name))]),
  );
}

export const capturedNode = (name: string): NodeState => readNode(captureFiles(name));

/** One line of traffic.json. */
export interface Traffic {
  readonly label: string;
  readonly from: string;
  readonly proto: 'tcp' | 'udp' | 'sctp';
  readonly to: string;
  readonly outcome: Symptom;
  readonly answers?: Readonly<Record<string, number>>;
}

/** What real connections met at the captured node: from outside, and from the node itself. */
export function trafficOf(name: string): readonly Traffic[] {
  const read = (file: string): Traffic[] => JSON.parse(readFileSync(join(fixtures, name, file), 'utf8')) as Traffic[];
  return [...read('traffic.json').filter((each) => !each.label.includes('@node2')), ...read('traffic-from-node1.json')];
}

const clients: Readonly<Record<string, string>> = { ext: '172.31.0.100', ext6: 'fd00:31:0:1::100' };

/** The packet of a recorded connection. */
export function packetOf(traffic: Traffic): Packet {
  const colon = traffic.to.lastIndexOf(':');
  const destination = parseAddress(traffic.to.slice(0, colon).replace(/^\[|\]$/g, ''));
  if (destination === undefined) throw new Error(`no address in ${traffic.to}`);
  const own = destination.family === 4 ? clients['ext'] : clients['ext6'];
  const source = traffic.from === 'n1' ? destination : parseAddress(own as string);
  if (source === undefined) throw new Error('no source');
  return {
    vantage: traffic.from === 'n1' ? 'node' : 'external',
    family: destination.family,
    protocol: traffic.proto === 'tcp' ? 6 : 17,
    sources: single(source.value),
    sourcePort: 40000,
    destination: destination.value,
    destinationPort: Number(traffic.to.slice(colon + 1)),
  };
}

/** The symptoms that a walk predicts, as one word or several joined by `/`. */
export const predicted = (walked: Walk): string => [...new Set(walked.outcomes.map(symptomOf))].sort().join('/');
