import { join } from 'node:path';
import t from 'tap';
import { main } from '../../../cli/main.ts';
import { type LintedNode, lintCluster, lintRules } from '../../../collector/lint/index.ts';
import { registerOf } from '../../../collector/lint/register.ts';
import { clusterOf, pod, service, slice } from '../expect/cluster.ts';

const uid = { uid: '4f3c' };
const documented = { annotations: { description: 'the shop' } };
const ready = [
  { address: '10.244.1.5', node: 'node1' },
  { address: '10.244.2.5', node: 'node2' },
];
const probed = (name: string, more: object = {}) => {
  const made = pod(name, { app: 'web' }, { ports: [{ containerPort: 8080, protocol: 'TCP' }] });
  const containers = made.spec.containers.map((container) => ({ ...container, readinessProbe: { httpGet: { path: '/' } }, ...more }));
  return { ...made, spec: { ...made.spec, containers } };
};
const sound = [service('web', {}, { ...uid, ...documented }), slice('web', ready), probed('web-1'), probed('web-2')];
const port = (nodePort: number) => ({ name: `p${nodePort}`, port: nodePort, targetPort: 8080, nodePort });
const node = (range: string, reserved = ''): LintedNode => ({
  name: 'node1',
  sysctls: new Map([
    ['net.ipv4.ip_local_port_range', range],
    ['net.ipv4.ip_local_reserved_ports', reserved],
  ]),
});

const cases: readonly {
  readonly name: string;
  readonly cluster: Parameters<typeof clusterOf>[0];
  readonly node?: LintedNode;
  readonly rules: readonly string[];
}[] = [
  { name: 'a sound Service', cluster: sound, rules: [] },
  { name: 'a sound Service and the default port range', cluster: sound, node: node('32768\t60999'), rules: [] },
  {
    name: 'a manifest without a number',
    cluster: [service('web', { ports: [{ name: 'http', port: 80, targetPort: 8080 }] }, documented), slice('web', ready)],
    rules: ['unpinned-node-port'],
  },
  {
    name: 'a number where all pods have a name for it',
    cluster: [
      ...sound.slice(0, 2),
      probed('web-1', { ports: [{ name: 'http', containerPort: 8080 }] }),
      probed('web-2', { ports: [{ name: 'http', containerPort: 8080 }] }),
    ],
    rules: ['numeric-target-port'],
  },
  {
    name: 'pods that name the port differently',
    cluster: [
      ...sound.slice(0, 2),
      probed('web-1', { ports: [{ name: 'http', containerPort: 8080 }] }),
      probed('web-2', { ports: [{ name: 'web', containerPort: 8080 }] }),
    ],
    rules: [],
  },
  { name: 'no readiness probe', cluster: [...sound.slice(0, 2), pod('web-1', { app: 'web' }, { ports: [] })], rules: ['no-readiness-probe'] },
  {
    name: "a Service that asks for the client's address",
    cluster: [service('web', {}, { ...uid, annotations: { description: 'x', 'example.org/preserve-client-ip': 'true' } }), ...sound.slice(1)],
    rules: ['client-address-lost'],
  },
  {
    name: 'one that has it',
    cluster: [
      service('web', { externalTrafficPolicy: 'Local' }, { ...uid, annotations: { description: 'x', 'example.org/preserve-client-ip': 'true' } }),
      ...sound.slice(1),
    ],
    rules: [],
  },
  { name: 'one endpoint', cluster: [sound[0] as (typeof sound)[0], slice('web', ready.slice(0, 1)), ...sound.slice(2)], rules: ['single-endpoint'] },
  {
    name: 'six NodePorts; five are not many',
    cluster: [
      service('web', { ports: [1, 2, 3, 4, 5, 6].map((each) => port(30000 + each)) }, { ...uid, ...documented }),
      service('less', { ports: [1, 2, 3, 4, 5].map((each) => port(30100 + each)), selector: undefined }, { ...uid, ...documented }),
      ...sound.slice(1),
    ],
    rules: ['wide-exposure'],
  },
  {
    name: 'two Services with one number',
    cluster: [...sound, service('other', { selector: undefined }, { ...uid, ...documented })],
    rules: ['duplicate-port'],
  },
  { name: 'nothing says what it is for', cluster: [service('web', {}, uid), ...sound.slice(1)], rules: ['undocumented-port'] },
  { name: 'a port range that overlaps', cluster: sound, node: node('1024\t65535'), rules: ['ephemeral-overlap'] },
  { name: 'reserved', cluster: sound, node: node('1024\t65535', '30000-32767'), rules: [] },
];

for (const { name, cluster, node: linted, rules } of cases) {
  t.test(name, (t) => {
    const lints = lintCluster(clusterOf(cluster), linted);
    t.same(
      lints.map(({ rule }) => rule),
      rules,
      lints.map(({ text }) => text).join('\n'),
    );
    t.end();
  });
}

t.test('every rule has a case', (t) => {
  t.same(new Set(cases.flatMap(({ rules }) => rules)), new Set(Object.keys(lintRules)));
  t.end();
});

t.test('the register: by number, with owner and purpose, health checks among them', (t) => {
  const objects = clusterOf([
    service('web', {}, { labels: { team: 'shop' }, ...documented }),
    service('lb', { type: 'LoadBalancer', healthCheckNodePort: 30001, ports: [{ name: 'x', port: 80, nodePort: 30081 }] }),
    service('inside', { type: 'ClusterIP', ports: [{ name: 'x', port: 80 }] }),
  ]);
  t.match(registerOf(objects), [
    { port: 30001, kind: 'healthCheckNodePort', service: 'shop/lb' },
    { port: 30080, kind: 'nodePort', service: 'shop/web', owner: 'shop', purpose: 'the shop', targetPort: 8080 },
    { port: 30081, service: 'shop/lb', owner: '' },
  ]);
  t.equal(registerOf(objects).length, 3);
  t.end();
});

t.test('the command', async (t) => {
  const cluster = t.testdir({
    'web.yaml': `kind: Service\nmetadata: { name: web, namespace: shop, annotations: { description: '=1+1, "quoted"' } }\nspec: { type: NodePort, ports: [{ port: 80, nodePort: 30080 }] }\n`,
    empty: {},
  });
  t.match(await run('--cluster', cluster), { code: 0, out: 'nothing to remark\n' });
  t.match(await run('--cluster', cluster, '--register', '-o', 'csv'), {
    code: 0,
    out: 'port,protocol,service,portName,targetPort,externalTrafficPolicy,kind,owner,purpose\r\n30080,tcp,shop/web,,80,Cluster,nodePort,,"\'=1+1, ""quoted"""\r\n',
  });
  t.match(JSON.parse((await run('--cluster', cluster, '--register', '-o', 'json')).out), { kind: 'NodePortRegister', items: [{ port: 30080 }] });
  t.match(await run('--cluster', join(cluster, 'empty')), { code: 2, err: /holds no Service/ });
  t.match(await run('--cluster', cluster, '-o', 'csv'), { code: 2, err: /csv goes with --register/ });
  t.match(await run('--cluster', join(import.meta.dirname, '../../fixtures/01-healthy-iptables-nft')), {
    code: 1,
    out: /^warning {2}no-readiness-probe {2}shop\/api: /,
  });
});

async function run(...words: readonly string[]): Promise<{ readonly code: number; readonly out: string; readonly err: string }> {
  let [out, err] = ['', ''];
  const sink = (add: (text: string) => void) => ({ write: (text: string) => add(text) }) as unknown as NodeJS.WritableStream;
  const io = {
    stdout: sink((text) => {
      out += text;
    }),
    stderr: sink((text) => {
      err += text;
    }),
    env: {},
    signal: new AbortController().signal,
    colour: false,
  };
  return { code: await main(['lint', ...words], io), out, err };
}
