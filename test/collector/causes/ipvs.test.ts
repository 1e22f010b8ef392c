// What a check says of nodes whose kube-proxy writes IPVS: nothing but the truth about healthy ones, and the fault where a virtual or real server is missing.
import { join } from 'node:path';
import { execa } from 'execa';
import t from 'tap';

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

t.test('the missing virtual and real servers are named', async (t) => {
  const named = [...(await check('ipvs-nodeport-deleted')), ...(await check('ipvs-realserver-missing'))];
  t.match(named.find(({ cause }) => cause === 'B14')?.summary, 'IPVS has no virtual server -t 192.0.2.11:30443');
  t.match(named.find(({ cause }) => cause === 'B05')?.summary, '10.244.2.7:8080');
});
