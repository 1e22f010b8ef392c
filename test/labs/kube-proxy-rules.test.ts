// The lab's kube-proxy rules are held against captures of a real kube-proxy: the same objects give the same chains and rules.
import { readFileSync } from 'node:fs';
import t from 'tap';
import { type ProxyInput, printUpdate, printWhole, renderTables } from './kube-proxy-rules.ts';

const fixtures = new URL('../fixtures/', import.meta.url);
const read = (name: string, file: string): string => readFileSync(new URL(`${name}/${file}`, fixtures), 'utf8');
const items = (name: string, file: string) => JSON.parse(read(name, file)).items;

function inputOf(name: string, family: 4 | 6): ProxyInput {
  return {
    node: 'node1',
    family,
    clusterCidr: family === 4 ? '10.244.0.0/16' : 'fd00:10:244::/48',
    accounting: 'nfacct',
    services: items(name, 'services.json'),
    endpointSlices: items(name, 'endpointslices.json'),
  };
}

// kube-proxy goes through its Services in no particular order, so chains that several Services share are compared as sets; all others in order.
const shared = ['KUBE-SERVICES', 'KUBE-NODEPORTS', 'KUBE-EXTERNAL-SERVICES', 'KUBE-PROXY-FIREWALL'];

function byChain(text: string): Record<string, string[]> {
  const chains: Record<string, string[]> = {};
  let table = '';
  for (const line of text.split('\n')) {
    if (line.startsWith('*')) table = line.slice(1);
    else if (line.startsWith(':')) chains[`${table} ${line.slice(1).split(' ')[0]}`] = [];
    else if (line.startsWith('-A ')) chains[`${table} ${line.split(' ')[1]}`]?.push(line);
  }
  for (const [name, rules] of Object.entries(chains)) if (shared.some((chain) => name.endsWith(` ${chain}`))) rules.sort();
  return chains;
}

for (const name of ['01-healthy-iptables-nft', '04-selector-mismatch-iptables', '06-etp-local-no-local-endpoint']) {
  t.test(name, async (t) => {
    t.same(byChain(printWhole(renderTables(inputOf(name, 4)))), byChain(read(name, 'iptables-save.txt')), 'IPv4');
    t.same(byChain(printWhole(renderTables(inputOf(name, 6)))), byChain(read(name, 'ip6tables-save.txt')), 'IPv6');
  });
}

t.test('an update leaves built-in chains alone and removes chains that nothing needs any more', async (t) => {
  const before = inputOf('01-healthy-iptables-nft', 4);
  const after = { ...before, endpointSlices: before.endpointSlices.filter(({ metadata }) => metadata.labels?.['kubernetes.io/service-name'] !== 'web') };
  const text = printUpdate(renderTables(before), renderTables(after));
  t.notMatch(text, /^-A (INPUT|FORWARD|OUTPUT|PREROUTING|POSTROUTING) /m);
  t.match(text, /^-X KUBE-SVC-67NZLRHBNDSAWJRO$/m);
  t.match(text, /^-A KUBE-EXTERNAL-SERVICES -p tcp -m comment --comment "shop\/web:http has no endpoints" .* --dport 30080 -j REJECT/m);
});
