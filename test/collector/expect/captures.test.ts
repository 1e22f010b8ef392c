// Captures of real kube-proxies of four releases and three modes: none that is in step has a drift, and with one part of it removed there is some.
import t from 'tap';
import { type CheckedNode, checkNode } from '../../../cli/commands/check.run.ts';
import { type ClusterObjects, readObjects } from '../../../collector/kubernetes/objects.ts';
import type { CaptureFiles } from '../../../shared/netfilter/node.ts';
import { captureFiles } from '../../support/captures.ts';

const objectNames = ['services.json', 'endpointslices.json', 'nodes.json', 'pods.json'];

function objectsOf(files: CaptureFiles): ClusterObjects {
  return readObjects(objectNames.flatMap((name) => (files.has(name) ? [{ name, text: (files.get(name) as Buffer).toString('utf8') }] : []))).objects;
}

function check(name: string, edit?: { readonly file: string; readonly by: (text: string) => string }): CheckedNode {
  const files = new Map(captureFiles(name));
  if (edit !== undefined) files.set(edit.file, Buffer.from(edit.by((files.get(edit.file) as Buffer).toString('utf8'))));
  const checked = checkNode({ files, objects: objectsOf(files), now: 0, ...(name.startsWith('ipvs') ? { node: 'worker-1' } : {}) });
  if (checked === undefined) throw new Error(`${name} does not say which node it is of`);
  return checked;
}

// The node of the IPVS captures is not joined to the others, so nothing can be said of what lies beyond them.
const told = ({ drifts }: CheckedNode): string[] => drifts.filter(({ kind }) => kind !== 'unknown').map(({ kind, key }) => `${kind} ${key}`);

const inStep = [
  '01-healthy-iptables-nft',
  '02-healthy-nftables',
  '03-healthy-iptables-legacy',
  '04-selector-mismatch-iptables',
  '05-selector-mismatch-nftables',
  '06-etp-local-no-local-endpoint',
  '13-host-process-on-nodeport',
  '14-input-drop-is-harmless',
  '15-dual-stack-nftables',
  '16-k3s-like-healthy',
  '17-wrong-target-port',
  '19-old-release-healthy',
  '20-old-release-1.23-sockets',
  'ipvs-healthy',
  'ipvs-healthy-iptables-nft',
  'ipvs-healthy-k8s-1.23',
];
for (const name of inStep) {
  t.test(`${name} is in step`, (t) => {
    const checked = check(name);
    t.same(told(checked), []);
    t.ok(checked.expectations.length >= 8, `${checked.expectations.length} NodePorts`);
    t.end();
  });
}

const outOfStep: readonly { readonly name: string; readonly drifts: readonly string[] }[] = [
  { name: '07-stale-nodeport-proxy-stopped', drifts: ['missing nodeport/tcp/4/30180', 'unexpected nodeport/tcp/4/30080'] },
  { name: '08-nodeports-rule-deleted', drifts: ['missing nodeport/tcp/4/30080'] },
  { name: 'ipvs-nodeport-deleted', drifts: ['refused nodeport/tcp/4/30443'] },
  { name: 'ipvs-realserver-missing', drifts: ['endpoints nodeport/tcp/4/30080'] },
];
for (const { name, drifts } of outOfStep) {
  t.test(`${name} is not`, (t) => {
    t.same(told(check(name)).sort(), [...drifts].sort());
    t.end();
  });
}

interface NftItem {
  readonly rule?: { readonly family: string; readonly table: string; readonly chain: string; readonly expr: readonly unknown[] };
  readonly map?: { readonly family: string; readonly name: string; readonly elem?: readonly unknown[] };
}

t.test('nftables: each part of the way to a NodePort, removed by itself', (t) => {
  const name = '05-selector-mismatch-nftables';
  const { nftables } = JSON.parse((captureFiles(name).get('nft.json') as Buffer).toString('utf8')) as { readonly nftables: readonly NftItem[] };
  const { expectations } = check(name);
  const exposed = new Set(expectations.filter(({ expect }) => expect === 'forward').map(({ service }) => `${service.namespace}/${service.name}/`));
  const isOurs = (chain: string): boolean => [...exposed].some((each) => chain.includes(`-${each}`));
  const cluster = new Set(
    expectations.filter(({ externalTrafficPolicy }) => externalTrafficPolicy === 'Cluster').map(({ service }) => `${service.namespace}/${service.name}/`),
  );
  let removed = 0;
  const without = (edit: (item: NftItem, index: number) => NftItem[], what: string): void => {
    removed++;
    const text = JSON.stringify({ nftables: nftables.flatMap(edit) });
    t.not(told(check(name, { file: 'nft.json', by: () => text })).length, 0, what);
  };
  for (const [at, item] of nftables.entries()) {
    const { rule, map } = item;
    const gone = (_: NftItem, index: number): NftItem[] => (index === at ? [] : [nftables[index] as NftItem]);
    if (map?.family === 'ip' && (map.name === 'service-nodeports' || map.name === 'no-endpoint-nodeports'))
      for (const [place, element] of (map.elem ?? []).entries())
        without(
          (each, index) => (index === at ? [{ map: { ...map, elem: (map.elem ?? []).filter((_, other) => other !== place) } }] : [each]),
          `${map.name} ${JSON.stringify(element).slice(0, 100)}`,
        );
    if (rule?.family !== 'ip' || rule.table !== 'kube-proxy') continue;
    const text = JSON.stringify(rule.expr);
    const ofCluster = [...cluster].some((each) => rule.chain.includes(`-${each}`));
    const leads = /^external-/.test(rule.chain) && isOurs(rule.chain) && /"goto"/.test(text) && (ofCluster || !/saddr|fib/.test(text));
    const translates = /^endpoint-/.test(rule.chain) && ofCluster && /"dnat"/.test(text);
    const entry = rule.chain === 'nat-prerouting' || (rule.chain === 'services' && text.includes('@service-nodeports'));
    if (leads || translates || entry) without(gone, `${rule.chain} ${text.slice(0, 100)}`);
  }
  t.ok(removed > 25, `${removed} parts`);
  t.end();
});

t.test('IPVS: each virtual server of a NodePort on the address that is asked about, and each of its real servers', (t) => {
  const name = 'ipvs-healthy';
  const lines = (captureFiles(name).get('ipvsadm-Sn.txt') as Buffer).toString('utf8').split('\n');
  const { expectations } = check(name);
  const byPort = new Map(
    expectations.map((expectation) => [`${expectation.nodePort.protocol === 'udp' ? '-u' : '-t'} 192.0.2.11:${expectation.nodePort.port}`, expectation]),
  );
  let removed = 0;
  for (const line of lines) {
    const [, kind = '', address = ''] = /^-(A|a) (-[tu] \S+)/.exec(line) ?? [];
    const expectation = byPort.get(address);
    // Of a Local Service without a local endpoint the remote ones need not be there: releases differ.
    if (expectation === undefined || (kind === 'a' && expectation.expect !== 'forward') || (kind === 'A' && expectation.expect === 'drop')) continue;
    removed++;
    const gone = (each: string): boolean => each === line || (kind === 'A' && each.startsWith(`-a ${address} `));
    const by = (text: string): string =>
      text
        .split('\n')
        .filter((each) => !gone(each))
        .join('\n');
    t.not(told(check(name, { file: 'ipvsadm-Sn.txt', by })).length, 0, line);
  }
  t.ok(removed > 10, `${removed} parts`);
  t.end();
});
