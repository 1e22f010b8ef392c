// What a check says of nodes whose kube-proxy writes IPVS: nothing but the truth about healthy ones, and the fault where a virtual or real server is missing.
import { join } from 'node:path';
import { execa } from 'execa';
import t from 'tap';
import { json, replaced, testEdited } from '../../support/edited.ts';

const root = join(import.meta.dirname, '../../..');
t.setTimeout(120_000);

interface Found {
  readonly cause: string;
  readonly port: number;
  readonly severity: string;
  readonly summary: string;
}

async function check(fixture: string): Promise<readonly Found[]> {
  const folder = join(root, 'test/fixtures', fixture);
  const { stdout } = await execa(process.execPath, [join(root, 'cli/main.ts'), 'check', '--capture', folder, '--cluster', folder, '-o', 'json'], {
    reject: false,
  });
  return (JSON.parse(stdout) as { readonly findings: readonly Found[] }).findings;
}

const serious = (found: readonly Found[]): string[] => found.filter(({ severity }) => severity !== 'info').map(({ cause, port }) => `${cause} ${port}`);

// game/no-endpoints has no endpoint in any of these captures: that is true and no matter of the node.
const cases = [
  { fixture: 'ipvs-healthy', expected: ['A01 30500'] },
  { fixture: 'ipvs-healthy-iptables-nft', expected: ['A01 30500'] },
  { fixture: 'ipvs-healthy-k8s-1.23', expected: ['A01 30500'] },
  { fixture: 'ipvs-nodeport-deleted', expected: ['A01 30500', 'B14 30443'] },
  { fixture: 'ipvs-realserver-missing', expected: ['A01 30500', 'B05 30080'] },
];

for (const { fixture, expected } of cases) {
  t.test(fixture, async (t) => t.same(serious(await check(fixture)).sort(), expected));
}

t.test('A06 is said where IPVS sends clients to another node although the policy is Local', async (t) =>
  t.match(
    (await check('ipvs-healthy')).find(({ cause }) => cause === 'A06'),
    { port: 30082, summary: /IPVS here sends them to 10\.244\.2\.18:8000/ },
  ),
);

t.test('the missing virtual and real servers are named', async (t) => {
  const named = [...(await check('ipvs-nodeport-deleted')), ...(await check('ipvs-realserver-missing'))];
  t.match(named.find(({ cause }) => cause === 'B14')?.summary, 'IPVS has no virtual server -t 192.0.2.11:30443');
  t.match(named.find(({ cause }) => cause === 'B05')?.summary, '10.244.2.7:8080');
});

// The captures are of a node without links to others; with a default route its packets to their pods go somewhere.
const gateway = json('ip-route.json', (routes) => [...routes, { dst: 'default', gateway: '192.0.2.1', dev: 'eth0', flags: [] }]);

testEdited([
  {
    name: 'B11: the set of NodePorts has lost one',
    capture: 'ipvs-healthy',
    given: [gateway],
    edits: [replaced('ipset-save.txt', /^add KUBE-NODE-PORT-TCP 30080\n/m, '')],
    cause: 'B11',
    expect: { port: 30080, severity: 'error', symptom: 'timeout', summary: /10\.244\.2\.7:8080.*KUBE-NODE-PORT-TCP does not have 30080/ },
  },
  {
    name: 'B11: the set of NodePorts over UDP was never filled',
    capture: 'ipvs-healthy-iptables-nft',
    given: [gateway],
    edits: [replaced('ipset-save.txt', /^add KUBE-NODE-PORT-UDP .*\n/gm, '')],
    cause: 'B11',
    expect: { port: 30999, protocol: 'udp' },
  },
  {
    name: 'B11: the set of NodePorts was never made, so no rule names it',
    capture: 'ipvs-healthy-k8s-1.23',
    given: [gateway],
    edits: [
      replaced('ipset-save.txt', /^(add|create) KUBE-NODE-PORT-TCP .*\n/gm, ''),
      replaced('iptables-save.txt', /^-A KUBE-NODE-PORT .*KUBE-NODE-PORT-TCP .*\n/gm, ''),
    ],
    cause: 'B11',
    count: 3,
    expect: { summary: /KUBE-NODE-PORT-TCP is not there/, remedy: [/^ipset list KUBE-NODE-PORT-TCP/] },
  },
  {
    name: 'B11: pods do not reach themselves',
    capture: 'ipvs-healthy',
    given: [gateway],
    edits: [replaced('ipset-save.txt', /^add KUBE-LOOP-BACK .*\n/gm, '')],
    cause: 'B11',
    count: 2,
    expect: { severity: 'warning', summary: /pods that reach themselves: the ipset KUBE-LOOP-BACK/ },
  },
]);
