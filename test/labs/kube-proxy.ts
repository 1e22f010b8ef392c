// The lab's stand-in for kube-proxy on one node: writes the rules for the objects of a cluster directory, again when they change, and holds the same sockets.
//
// Like kube-proxy it writes only what follows from the objects and does not notice that somebody else removed a rule, so a gap stays open until it is repaired.
import { readFileSync, watch } from 'node:fs';
import { createServer } from 'node:http';
import { execa } from 'execa';
import { type ProxyInput, printUpdate, printWhole, type RenderedTable, renderTables, type ServiceObject } from './kube-proxy-rules.ts';

type Family = 4 | 6;
type Rules = Readonly<Record<Family, readonly RenderedTable[]>>;

const [node = '', directory = ''] = process.argv.slice(2);
process.title = 'kube-proxy';

let current = read();
for (const family of [4, 6] as const) await restore(family, printWhole(current[family]));
await Promise.all([serve(10249, '127.0.0.1'), serve(10256, '::'), ...healthPorts().map((port) => serve(port, '::'))]);
watchObjects();
console.log('ready');

function read(): Rules {
  const items = (file: string) => JSON.parse(readFileSync(`${directory}/${file}`, 'utf8')).items;
  const objects = { services: items('services.json'), endpointSlices: items('endpointslices.json') };
  const of = (family: Family, clusterCidr: string): readonly RenderedTable[] => {
    const input: ProxyInput = { node, family, clusterCidr, accounting: 'none', ...objects };
    return renderTables(input);
  };
  return { 4: of(4, '10.244.0.0/16'), 6: of(6, 'fd00:10:244::/48') };
}

// Files are replaced one after another; a short wait takes them together.
function watchObjects(): void {
  let timer: NodeJS.Timeout | undefined;
  let syncing = Promise.resolve();
  watch(directory, () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      syncing = syncing.then(sync);
    }, 100);
  });
}

async function sync(): Promise<void> {
  const next = read();
  for (const family of [4, 6] as const) {
    const text = printUpdate(current[family], next[family]);
    if (text !== printUpdate(current[family], current[family])) await restore(family, text, '--noflush');
  }
  current = next;
}

async function restore(family: Family, input: string, ...options: readonly string[]): Promise<void> {
  await execa(family === 4 ? 'iptables-restore' : 'ip6tables-restore', ['-w', '5', ...options], { input });
}

function healthPorts(): number[] {
  const { items } = JSON.parse(readFileSync(`${directory}/services.json`, 'utf8')) as { readonly items: readonly ServiceObject[] };
  return items.flatMap(({ spec }) => (spec.healthCheckNodePort === undefined ? [] : [spec.healthCheckNodePort]));
}

function serve(port: number, address: string): Promise<void> {
  const server = createServer((_request, response) => {
    response.setHeader('content-type', 'application/json');
    response.end(`${JSON.stringify({ lastUpdated: new Date().toISOString(), nodeEligible: true, localEndpoints: 1 })}\n`);
  });
  return new Promise((resolve) => server.listen(port, address, resolve));
}
