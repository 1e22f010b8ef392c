// Each case spoils a sound capture of a real kube-proxy in one way; the finding must name the cause and the way out.
import t from 'tap';
import { checkNode } from '../../cli/commands/check.run.ts';
import { readObjects } from '../../collector/kubernetes/objects.ts';
import type { Finding } from '../../shared/model/finding.ts';
import { captureFiles } from '../support/captures.ts';

const iptables = '01-healthy-iptables-nft';
const legacy = '03-healthy-iptables-legacy';
const nftables = '02-healthy-nftables';

type Edit = readonly [file: string, by: (text: string) => string];

interface Case {
  readonly name: string;
  readonly capture: string;
  readonly edits: readonly Edit[];
  /** The cause of every finding that is not for information, and the first of them. */
  readonly cause: string;
  readonly ports: readonly number[];
  readonly expect: Partial<Record<keyof Finding, unknown>>;
}

const save = 'iptables-save.txt';
const replaced = (file: string, pattern: RegExp, by: string): Edit => [file, (text) => text.replace(pattern, by)];
const json = (file: string, by: (value: never) => unknown): Edit => [file, (text) => JSON.stringify(by(JSON.parse(text) as never))];
const firstInForward = (rule: string): Edit => replaced(save, /^-A FORWARD/m, `-A FORWARD ${rule}\n-A FORWARD`);
const all = [30053, 30053, 30080, 30081, 30082, 30083, 30084, 30087];

interface NftItem {
  readonly map?: { readonly name: string; readonly family: string; elem: readonly unknown[] };
}

const withoutElement = (text: string): string => {
  const dump = JSON.parse(text) as { nftables: NftItem[] };
  for (const { map } of dump.nftables)
    if (map?.name === 'service-nodeports' && map.family === 'ip') map.elem = map.elem.filter((element) => !JSON.stringify(element).includes('30080'));
  return JSON.stringify(dump);
};
const withoutTable = (text: string): string =>
  JSON.stringify({ nftables: (JSON.parse(text) as { nftables: unknown[] }).nftables.filter((item) => !JSON.stringify(item).includes('kube-proxy')) });

const cases: readonly Case[] = [
  {
    name: 'a map element was deleted',
    capture: nftables,
    edits: [['nft.json', withoutElement]],
    cause: 'B06',
    ports: [30080],
    expect: { symptom: 'refused', severity: 'error' },
  },
  {
    name: "kube-proxy's nftables table was deleted",
    capture: nftables,
    edits: [['nft.json', withoutTable]],
    cause: 'B02',
    ports: [0],
    expect: { severity: 'error' },
  },
  {
    name: 'the jump from PREROUTING was deleted',
    capture: iptables,
    edits: [replaced(save, /^-A PREROUTING .*KUBE-SERVICES\n/m, '')],
    cause: 'B02',
    ports: [0],
    expect: { summary: /nat PREROUTING → KUBE-SERVICES is missing/ },
  },
  {
    name: 'the nat table was flushed',
    capture: iptables,
    edits: [replaced(save, /\*nat\n[\s\S]*?COMMIT\n/, '*nat\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n')],
    cause: 'B06',
    ports: [0],
    expect: { symptom: 'refused' },
  },
  {
    name: 'all rules of KUBE-NODEPORTS were deleted',
    capture: iptables,
    edits: [replaced(save, /^-A KUBE-NODEPORTS .*-j KUBE-EXT.*\n/gm, '')],
    cause: 'B06',
    ports: [0],
    expect: { title: /rules of all NodePorts/ },
  },
  {
    name: 'the last endpoint chain was flushed',
    capture: iptables,
    edits: [replaced(save, /^-A KUBE-SEP-\w+ .*"shop\/web:http".*DNAT.*10\.244\.2\.11.*\n/m, '')],
    cause: 'B06',
    ports: [30080],
    expect: { symptom: 'refused', summary: /about 50 %/ },
  },
  {
    name: 'an earlier endpoint chain was flushed: clients are served',
    capture: iptables,
    edits: [replaced(save, /^-A KUBE-SEP-\w+ .*"shop\/web:http".*DNAT.*10\.244\.1\.11.*\n/m, '')],
    cause: 'B05',
    ports: [30080],
    expect: { symptom: 'ok', severity: 'warning' },
  },
  {
    name: 'an endpoint is gone from the slices',
    capture: iptables,
    edits: [replaced('endpointslices.json', /10\.244\.2\.11/g, '10.244.2.99')],
    cause: 'B05',
    ports: [30080, 30084, 30087],
    expect: { severity: 'error' },
  },
  {
    name: 'forwarding is off',
    capture: iptables,
    edits: [replaced('sysctl.txt', /net\.ipv4\.ip_forward ?= ?1/, 'net.ipv4.ip_forward = 0')],
    cause: 'D01',
    ports: all,
    expect: { symptom: 'timeout', remedy: ['sysctl -w net.ipv4.ip_forward=1', /99-kubernetes/] },
  },
  {
    name: 'the route to the pods of the other node is lost',
    capture: iptables,
    edits: [json('ip-route.json', (routes: never) => (routes as { dst: string }[]).filter(({ dst }) => dst !== '10.244.2.0/24' && dst !== 'default'))],
    cause: 'D17',
    ports: all.filter((port) => port !== 30083),
    expect: { summary: /about 50 %/ },
  },
  {
    name: 'icmp-host-prohibited first in FORWARD',
    capture: iptables,
    edits: [firstInForward('-j REJECT --reject-with icmp-host-prohibited')],
    cause: 'C08',
    ports: all,
    expect: { symptom: 'unreachable', remedy: ['iptables -D FORWARD -j REJECT --reject-with icmp-host-prohibited'] },
  },
  {
    name: 'only one network is let in',
    capture: iptables,
    edits: [firstInForward('! -s 10.0.0.0/8 -p tcp -m tcp --dport 8443 -j DROP')],
    cause: 'C08',
    ports: [30053, 30083],
    expect: { symptom: 'timeout', severity: 'error' },
  },
  {
    name: 'one network is shut out',
    capture: iptables,
    edits: [firstInForward('-s 198.51.100.0/24 -p tcp -m tcp --dport 8443 -j DROP')],
    cause: 'C08',
    ports: [30053, 30083],
    expect: { severity: 'warning', summary: /clients from 198\.51\.100\.0\/24/ },
  },
  {
    name: 'FORWARD policy DROP in legacy tables',
    capture: legacy,
    edits: [replaced(save, /(\*filter[\s\S]*?:FORWARD) ACCEPT/, '$1 DROP')],
    cause: 'C01',
    ports: [30083, 30087],
    expect: { remedy: ['iptables-legacy -P FORWARD ACCEPT'] },
  },
  { name: 'a rule that cannot be judged', capture: iptables, edits: [firstInForward('-m frobnicate --level 3 -j DROP')], cause: '', ports: [], expect: {} },
];

for (const { name, capture, edits, cause, ports, expect } of cases) {
  t.test(name, (t) => {
    const findings = diagnose(t, capture, edits);
    const faults = findings.filter(({ severity }) => severity !== 'info');
    t.same([...new Set(faults.map((finding) => finding.cause))], cause === '' ? [] : [cause], faults.map(({ summary }) => summary).join('\n'));
    t.same(faults.map(({ port }) => port).sort(), ports);
    if (cause === '')
      t.ok(findings.every((finding) => finding.cause === 'unknown') && findings.length === all.length, 'every NodePort is said to be not judged');
    else t.match(faults[0], expect);
    t.end();
  });
}

function diagnose(t: { readonly not: (a: unknown, b: unknown, message: string) => unknown }, capture: string, edits: readonly Edit[]): readonly Finding[] {
  const files = new Map(captureFiles(capture));
  for (const [file, by] of edits) {
    const before = (files.get(file) as Buffer).toString('utf8');
    const after = by(before);
    t.not(after, before, `${file} was changed`);
    files.set(file, Buffer.from(after));
  }
  const objectFiles = ['services.json', 'endpointslices.json', 'nodes.json', 'pods.json'].map((name) => ({
    name,
    text: (files.get(name) as Buffer).toString('utf8'),
  }));
  const checked = checkNode({ files, objects: readObjects(objectFiles).objects, now: 0 });
  if (checked === undefined) throw new Error('the capture says which node it is of');
  return checked.findings;
}
