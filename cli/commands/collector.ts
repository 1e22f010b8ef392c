// `portreeve collector`: runs the collector until SIGTERM; `backup` and `verify` are about its store.

import { failure } from '../../shared/errors.ts';
import { limits } from '../../shared/limits.ts';
import { type Command, flagOf, type Io, listOf, numberOf, type Parsed, requiredText, textOf } from '../command.ts';
import { startService } from '../service.ts';

export const command: Command = {
  name: 'collector',
  summary: 'run the collector',
  usage: '[backup --out FILE | verify]',
  description: [
    'Takes the connections of agents, compares what they report with the cluster objects, stores history, and answers get and explain. Any number of collectors may',
    'share one PostgreSQL (--database-url): each answers everything, and agents that are given all of them move when one ends.',
    '',
    'collector backup writes a copy of the store of --data while a collector runs on it, with the authority that agents know it by. collector verify reads all of the',
    'store and says what is wrong with it; exit code 1 when something is.',
  ].join('\n'),
  options: [
    { name: 'listen', value: 'HOST:PORT', summary: 'where to listen; port 0 takes a free one', default: '127.0.0.1:7300' },
    { name: 'data', value: 'DIR', summary: 'directory of the store' },
    { name: 'cluster', value: 'DIR', summary: 'read the cluster objects from JSON or YAML files, and watch them' },
    { name: 'kubeconfig', value: 'FILE', summary: 'read them from the API that this file names; without it and --cluster: in-cluster' },
    { name: 'database-url', value: 'URL', summary: 'keep history in PostgreSQL: postgres://USER:PASSWORD@HOST[,HOST]/DATABASE', env: 'DATABASE_URL' },
    { name: 'tls-cert', value: 'FILE', summary: "the server's certificate, as PEM (default: one of the collector's own authority)" },
    { name: 'tls-key', value: 'FILE', summary: 'its key' },
    { name: 'tls', summary: 'TLS on loopback addresses too; on others it is always there' },
    { name: 'name', value: 'NAME', summary: 'name or address that clients know it by, for a certificate of its own', multiple: true },
    { name: 'agent-ca', value: 'FILE', summary: 'authority of your own whose client certificates (common name: the node) let agents in' },
    { name: 'admin-token-file', value: 'FILE', summary: "write the administrator's token of the first start to this file instead of standard output" },
    {
      name: 'agent-service-account',
      value: 'NS/NAME',
      summary: "ServiceAccount whose tokens let agents in, or NS/* (default: all of the collector's namespace, else of portreeve)",
      multiple: true,
    },
    { name: 'out', value: 'FILE', summary: 'backup: the file to write' },
    { name: 'no-auth', summary: 'let everybody in; on loopback addresses only' },
    { name: 'retention-days', value: 'DAYS', summary: `days that history is kept (default: ${limits.retentionDays})` },
    { name: 'retention-bytes', value: 'BYTES', summary: `size over which the oldest changes go as well (default: ${limits.retentionBytes / 1024 ** 3} GiB)` },
    { name: 'alertmanager', value: 'URL', summary: 'tell this Alertmanager of findings' },
    { name: 'webhook', value: 'URL', summary: 'post findings that open, change and close to this URL' },
    { name: 'webhook-secret-file', value: 'FILE', summary: 'secret that signs them (x-portreeve-signature: sha256=…)', names: 'file' },
    { name: 'no-events', summary: 'no Kubernetes Events on Services whose NodePorts stop or begin to answer' },
    { name: 'metrics-per-node', summary: 'series for each node in /metrics' },
    {
      name: 'grace',
      value: 'MS',
      summary: `milliseconds that a difference must last before it is a finding; without it ${limits.graceMs} at first, then as measured`,
    },
  ],
  examples: [
    'portreeve collector --listen 0.0.0.0:7300 --name collector.example --data /var/lib/portreeve --kubeconfig /etc/kubernetes/admin.conf',
    'portreeve collector --data /var/lib/portreeve --cluster ./cluster --no-auth',
    'portreeve collector backup --data /var/lib/portreeve --out /backup/portreeve.db',
  ],
  async run(parsed, io) {
    const [what, ...rest] = parsed.positionals;
    const { backup, verify } = await import('./collector.store.ts');
    if (rest.length > 0 || (what !== undefined && what !== 'backup' && what !== 'verify'))
      throw failure('USAGE', [`collector ${parsed.positionals.join(' ')}: backup, verify or nothing is wanted; see portreeve collector --help`]);
    if (what === 'backup') return await backup(parsed, io);
    if (what === 'verify') return await verify(parsed, io);
    if (textOf(parsed, 'out') !== undefined) throw failure('USAGE', ['--out goes with collector backup']);
    return await runHere(parsed, io);
  },
};

async function runHere(parsed: Parsed, io: Io): Promise<number> {
  const graceMs = numberOf(parsed, 'grace', { min: 0, max: 3_600_000 });
  const given = (name: string): string | undefined => textOf(parsed, name);
  const optional = {
    cluster: given('cluster'),
    kubeconfig: given('kubeconfig'),
    databaseUrl: given('database-url'),
    adminTokenFile: given('admin-token-file'),
    graceMs,
  };
  const accounts = listOf(parsed, 'agent-service-account');
  const stray = accounts.find((account) => !/^[a-z0-9-]+\/([a-z0-9.-]+|\*)$/.test(account));
  if (stray !== undefined) throw failure('USAGE', [`--agent-service-account ${stray}: NAMESPACE/NAME or NAMESPACE/* is wanted`]);
  const retention = {
    retentionDays: numberOf(parsed, 'retention-days', { min: 1, max: 36_500 }),
    retentionBytes: numberOf(parsed, 'retention-bytes', { min: 1024 * 1024, max: Number.MAX_SAFE_INTEGER }),
  };
  const encryption = {
    tlsCertificate: given('tls-cert'),
    tlsKey: given('tls-key'),
    agentAuthority: given('agent-ca'),
    names: listOf(parsed, 'name'),
    ...(accounts.length === 0 ? {} : { agentServiceAccounts: accounts }),
    tls: flagOf(parsed, 'tls'),
  };
  const told = {
    alertmanager: given('alertmanager'),
    webhook: given('webhook'),
    webhookSecretFile: given('webhook-secret-file'),
    events: !flagOf(parsed, 'no-events'),
    metricsPerNode: flagOf(parsed, 'metrics-per-node'),
  };
  const { runCollector } = await import('../../collector/main.ts');
  const options = {
    listen: requiredText(parsed, 'listen'),
    data: requiredText(parsed, 'data'),
    noAuth: flagOf(parsed, 'no-auth'),
    ...defined(optional),
    ...defined(told),
    ...defined(encryption),
    ...defined(retention),
  };
  const service = startService(io.env, io.signal);
  try {
    const collector = await runCollector(options, io.signal);
    io.stdout.write(`collector listens on ${collector.address}\n`);
    service.onReload(() => collector.reload());
    service.ready(`listening on ${collector.address}`);
    await collector.closed;
  } finally {
    service.close();
  }
  return 0;
}

type Defined<T> = { readonly [K in keyof T]?: Exclude<T[K], undefined> };
const defined = <T extends object>(values: T): Defined<T> =>
  Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Defined<T>;
