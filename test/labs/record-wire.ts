// Records what an agent and a collector of this version say to each other, as later versions must understand it: `node test/labs/record-wire.ts` writes
// test/shared/wire/recorded/MINOR.ndjson, a line a frame: {"from":"agent"|"collector","frame":{…}}. Done once for each minor version, before its release; a recording
// of a version that is out is never changed.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type RawData, WebSocket, WebSocketServer } from 'ws';
import { runCollector } from '../../collector/main.ts';
import { version } from '../../packaging/release.ts';
import { zstdCapability } from '../../shared/wire/codec.ts';
import { buildCluster } from './cluster.ts';
import { relayTo } from './relay.ts';

const root = new URL('../..', import.meta.url).pathname;
const directory = mkdtempSync(join(tmpdir(), 'portreeve-record-'));
const lines: string[] = [];
const cluster = await buildCluster();
const collector = await runCollector({ listen: '127.0.0.1:0', data: join(directory, 'data'), cluster: cluster.directory, noAuth: true, logLevel: 'silent' });
const between = await listen(collector.address.replace('http', 'ws'));
const relay = await relayTo(join(directory, 'sock'), () => (between.address() as AddressInfo).port);
try {
  const [node] = [cluster.nodes.node1];
  await cluster.namespaces.start(node, [process.execPath, join(root, 'test/labs/relay.ts'), '7300', join(directory, 'sock')], { ready: /^ready$/m });
  await cluster.namespaces.start(node, [join(root, 'cli/portreeve'), 'agent', '--collector', 'ws://127.0.0.1:7300', '--node', 'node1']);
  await untilSaid('"from":"agent","frame":{"type":"state"');
  await cluster.namespaces.run(node, ['iptables', '-w', '-I', 'FORWARD', '-p', 'tcp', '--dport', '8080', '-j', 'DROP']);
  await untilSaid('"from":"agent","frame":{"type":"changes"');
  await fetch(`${collector.address}/api/v1/trace?node=node1&packet=${encodeURIComponent('src=192.0.2.1,dport=30080')}`);
  await sleep(3_000);
  const file = join(root, `test/shared/wire/recorded/${version.replace(/\.\d+$/, '')}.ndjson`);
  mkdirSync(join(file, '..'), { recursive: true });
  writeFileSync(file, lines.join(''));
  process.stdout.write(`${file}: ${lines.length} frames\n`);
} finally {
  await cluster.close();
  relay.close();
  between.close();
  await collector.close();
  rmSync(directory, { recursive: true });
}

/** A WebSocket server that passes everything on and writes it down. Frames are to be readable, so neither side is told that the other reads compressed ones. */
async function listen(url: string): Promise<WebSocketServer> {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1', perMessageDeflate: false });
  server.on('connection', (near, request) => {
    const far = new WebSocket(`${url}/agent`, request.headers['sec-websocket-protocol'], { perMessageDeflate: false });
    const waiting: string[] = [];
    near.on('message', (data) => {
      const frame = written('agent', data);
      if (far.readyState === WebSocket.OPEN) far.send(frame);
      else waiting.push(frame);
    });
    far.on('open', () => {
      for (const frame of waiting) far.send(frame);
    });
    far.on('message', (data) => near.send(written('collector', data)));
    near.on('close', () => far.close());
    far.on('close', () => near.close());
  });
  await new Promise((resolve) => server.once('listening', resolve));
  return server;
}

function written(from: 'agent' | 'collector', data: RawData): string {
  const frame = JSON.parse(data.toString()) as { capabilities?: readonly string[] };
  if (frame.capabilities !== undefined) frame.capabilities = frame.capabilities.filter((name) => name !== zstdCapability);
  lines.push(`${JSON.stringify({ from, frame })}\n`);
  return JSON.stringify(frame);
}

async function untilSaid(text: string): Promise<void> {
  for (const deadline = Date.now() + 30_000; !lines.some((line) => line.includes(text)); await sleep(100))
    if (Date.now() > deadline) throw new Error(`nobody said ${text}`);
}
