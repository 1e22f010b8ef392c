// The Helm chart: rendered for the clusters that its values are for, held to recorded manifests and to the types of the Kubernetes API. `helm lint` cannot be had from
// the registries that this project uses; these tests stand in for it, with the template engine and the function library that Helm is built from.
import { spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Ajv } from 'ajv';
import t from 'tap';
import { parse } from 'yaml';
import { root, version } from '../../packaging/release.ts';
import { chart, type Manifest, manifestsOf, partsOf, render, rendererObstacle } from './chart.ts';

t.setTimeout(120_000);
const values = (name: string): string => join(root, `packaging/helm/values/${name}.yaml`);
const golden = (name: string): string => join(root, `test/packaging/chart/${name}.golden.yaml`);
const base = join(root, 'packaging/kustomize/base/portreeve.yaml');
const variants = ['k3s', 'kubeadm-iptables', 'kubeadm-ipvs', 'nftables', 'postgresql'];
const obstacle = rendererObstacle();
const skip = { skip: obstacle ?? false };
const fixed = join(mkdtempSync(join(tmpdir(), 'portreeve-chart-')), 'fixed.yaml');
writeFileSync(fixed, 'tls: {mode: secret}\n');
t.teardown(() => rmSync(join(fixed, '..'), { recursive: true }));

const find = (manifests: readonly Manifest[], kind: string, name?: string): Manifest =>
  manifests.find((each) => each.kind === kind && (name === undefined || each.metadata.name === name));

t.test('the manifests are those on record (UPDATE_GOLDEN=1 writes them anew)', skip, async (t) => {
  for (const name of variants) holdTo(t, golden(name), render(values(name), fixed));
  const text = partsOf(render(values('kustomize')))
    .map((part) => `---\n# Source: ${part}`)
    .join('');
  const kept = text.replaceAll(/^ +(?:helm\.sh\/chart|app\.kubernetes\.io\/managed-by): .*\n/gm, '');
  holdTo(t, base, `# Rendered from packaging/helm/portreeve with packaging/helm/values/kustomize.yaml.\n${kept}`);
});

function holdTo(t: { readonly equal: (found: string, wanted: string, name: string) => unknown }, file: string, text: string): void {
  if (process.env['UPDATE_GOLDEN']) writeFileSync(file, text);
  t.equal(text, readFileSync(file, 'utf8'), file.slice(root.length + 1));
}

t.test("every field is one of the API's, of its type, and none that is required is missing", skip, async (t) => {
  const core = [...variants, 'kustomize']
    .flatMap((name) => manifestsOf(render(values(name), fixed)))
    .filter(({ apiVersion }) => !/cert-manager|monitoring/.test(apiVersion));
  // The client's types are made from the API's own OpenAPI; a literal of such a type may hold no field that the type does not know.
  const lines = core.map((manifest, index) => `export const a${index}: k8s.V1${manifest.kind} = ${JSON.stringify(manifest)};`);
  const directory = mkdtempSync(join(tmpdir(), 'portreeve-types-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  symlinkSync(join(root, 'node_modules'), join(directory, 'node_modules'));
  writeFileSync(join(directory, 'package.json'), '{"type":"module"}');
  writeFileSync(join(directory, 'manifests.ts'), `import type * as k8s from '@kubernetes/client-node';\n${lines.join('\n')}\n`);
  const options = ['--noEmit', '--strict', '--skipLibCheck', '--module', 'NodeNext', '--target', 'ES2024', '--types', 'node'];
  const check = (): ReturnType<typeof spawnSync> =>
    // Without what tap adds to every Node.js that a test starts: the compiler's launcher cannot be loaded through that.
    spawnSync('env', ['-u', 'NODE_OPTIONS', join(root, 'node_modules/.bin/tsc'), ...options, 'manifests.ts'], { cwd: directory, encoding: 'utf8' });
  const checked = check();
  t.equal(String(checked.stdout), '', `${core.length} manifests`);
  t.equal(checked.status, 0, String(checked.stderr));
  writeFileSync(
    join(directory, 'manifests.ts'),
    "import type * as k8s from '@kubernetes/client-node';\nexport const a: k8s.V1DaemonSet = { spec: { hostNetwrok: true } };\n",
  );
  t.match(String(check().stdout), 'hostNetwrok', 'the check notices a field that is misspelt');
});

t.test('values are checked by the schema', async (t) => {
  const schema = JSON.parse(readFileSync(join(chart, 'values.schema.json'), 'utf8'));
  const holds = new Ajv({ strict: false, allErrors: true }).compile(schema);
  t.ok(holds(parse(readFileSync(join(chart, 'values.yaml'), 'utf8'))), 'those of the chart', { errors: holds.errors });
  for (const name of [...variants, 'kustomize']) t.ok(holds(parse(readFileSync(values(name), 'utf8'))), name, { errors: holds.errors });
  for (const wrong of [
    'agent: {hostPid: true}',
    'tls: {mode: none}',
    'collector: {replicas: 0}',
    'agent: {collector: "ws://x:1"}',
    'agent: {hostPaths: [{name: a, hostPath: etc}]}',
  ])
    t.notOk(holds(parse(wrong)), wrong);
});

t.test('the agent has what it needs and no more', skip, async (t) => {
  for (const name of variants) {
    const { spec } = find(manifestsOf(render(values(name), fixed)), 'DaemonSet').spec.template;
    const [agent] = spec.containers;
    t.same(agent.securityContext.capabilities.drop, ['ALL'], name);
    t.equal(agent.securityContext.readOnlyRootFilesystem, true);
    t.equal(agent.securityContext.privileged, undefined);
    t.same([spec.securityContext.runAsNonRoot, spec.securityContext.seccompProfile.type], [true, 'RuntimeDefault']);
    t.notOk(agent.securityContext.capabilities.add.includes('SYS_ADMIN'));
    const written = agent.volumeMounts.filter(({ readOnly }: Manifest) => readOnly !== true).map(({ name: volume }: Manifest) => volume);
    t.same(written, ['state', 'run'], 'only its own directories may be written');
    t.ok(
      spec.volumes.every(
        (volume: Manifest) => volume.hostPath === undefined || agent.volumeMounts.find(({ name: mounted }: Manifest) => mounted === volume.name).readOnly,
      ),
    );
    t.same(spec.tolerations, [{ operator: 'Exists' }], 'it runs on every node, whatever its taints');
    t.equal(spec.volumes.find((volume: Manifest) => volume.name === 'token').projected.sources[0].serviceAccountToken.audience, 'portreeve');
  }
});

t.test('hostPID and capabilities come only where they are asked for', skip, async (t) => {
  const bare = find(manifestsOf(render(fixed)), 'DaemonSet').spec.template.spec;
  t.equal(bare.hostPID, undefined);
  t.same(bare.containers[0].securityContext.capabilities.add, ['NET_ADMIN', 'DAC_READ_SEARCH', 'NET_RAW', 'BPF', 'PERFMON']);
  const nft = find(manifestsOf(render(values('nftables'), fixed)), 'DaemonSet').spec.template.spec;
  t.equal(nft.hostPID, true);
  t.notOk(nft.containers[0].securityContext.capabilities.add.includes('NET_RAW'));
});

t.test('the collector may read what it compares, and nothing else', skip, async (t) => {
  const manifests = manifestsOf(render(fixed));
  const { rules } = find(manifests, 'ClusterRole');
  t.same(
    rules.flatMap(({ resources, verbs }: Manifest) => resources.flatMap((resource: string) => verbs.map((verb: string) => `${verb} ${resource}`))).sort(),
    ['services', 'nodes', 'pods', 'events', 'endpointslices', 'networkpolicies']
      .flatMap((resource) => [`list ${resource}`, `watch ${resource}`])
      .concat('create tokenreviews', 'create subjectaccessreviews', 'create events', 'patch events')
      .sort(),
  );
  const kept = parse(
    readFileSync(join(root, 'packaging/deb/rbac.yaml'), 'utf8')
      .split(/^---\n/m)
      .find((part) => part.includes('kind: ClusterRole\n')) ?? '',
  );
  t.same(kept.rules, rules, 'the example for collectors outside the cluster says the same');
});

t.test('several collectors need PostgreSQL', skip, async (t) => {
  const several = join(fixed, '../several.yaml');
  writeFileSync(several, 'collector: {replicas: 2}\n');
  t.throws(() => render(several), /needs collector\.postgresql\.secretName/);
  const manifests = manifestsOf(render(values('postgresql'), fixed));
  t.equal(find(manifests, 'Deployment').spec.replicas, 3);
  t.ok(find(manifests, 'PodDisruptionBudget'));
  t.equal(find(manifests, 'StatefulSet'), undefined);
  t.equal(find(manifestsOf(render(fixed)), 'PodDisruptionBudget'), undefined);
});

t.test('the certificate that is made names the collector, and comes from the authority that agents are given', skip, async (t) => {
  const { data } = find(manifestsOf(render()), 'Secret');
  const [authority, certificate] = ['ca.crt', 'tls.crt'].map((name) => new X509Certificate(Buffer.from(data[name], 'base64'))) as [
    X509Certificate,
    X509Certificate,
  ];
  t.ok(certificate.checkIssued(authority) && certificate.verify(authority.publicKey));
  const url: string = find(manifestsOf(render()), 'DaemonSet').spec.template.spec.containers[0].args[0];
  t.ok(certificate.checkHost(new URL(url.replace('--collector=', '')).hostname), url);
  t.ok(certificate.checkHost('portreeve-collector.portreeve.svc'));
  t.notOk(certificate.checkHost('elsewhere.example'));
});

t.test('kustomize takes the base', { skip: existsSync('/usr/bin/kubectl') ? false : 'kubectl is not installed' }, async (t) => {
  const ran = spawnSync('kubectl', ['kustomize', join(root, 'packaging/kustomize/base')], { encoding: 'utf8' });
  t.equal(ran.status, 0, 'kubectl kustomize', { told: ran.stderr });
  t.match(ran.stdout, /^kind: DaemonSet$/m);
  t.match(ran.stdout, /pod-security\.kubernetes\.io\/enforce: privileged/);
});

t.test('the version is that of package.json', async (t) => {
  const about = parse(readFileSync(join(chart, 'Chart.yaml'), 'utf8'));
  t.same([about.version, about.appVersion], [version, version]);
});
