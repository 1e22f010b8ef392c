// `portreeve collector`: runs the collector until SIGTERM.
import { limits } from '../../shared/limits.ts';
import { type Command, flagOf, listOf, numberOf, requiredText, textOf } from '../command.ts';

export const command: Command = {
  name: 'collector',
  summary: 'run the collector',
  usage: '',
  description: 'Takes the connections of agents, compares what they report with the cluster objects, stores history, and answers get and explain.',
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
    { name: 'no-auth', summary: 'let everybody in; on loopback addresses only' },
    { name: 'retention-days', value: 'DAYS', summary: `days that history is kept (default: ${limits.retentionDays})` },
    { name: 'retention-bytes', value: 'BYTES', summary: `size over which the oldest changes go as well (default: ${limits.retentionBytes / 1024 ** 3} GiB)` },
    {
      name: 'grace',
      value: 'MS',
      summary: `milliseconds that a difference must last before it is a finding; without it ${limits.graceMs} at first, then as measured`,
    },
  ],
  examples: [
    'portreeve collector --listen 0.0.0.0:7300 --name collector.example --data /var/lib/portreeve --kubeconfig /etc/kubernetes/admin.conf',
    'portreeve collector --data /var/lib/portreeve --cluster ./cluster --no-auth',
  ],
  async run(parsed, io) {
    const graceMs = numberOf(parsed, 'grace', { min: 0, max: 3_600_000 });
    const given = (name: string): string | undefined => textOf(parsed, name);
    const optional = { cluster: given('cluster'), kubeconfig: given('kubeconfig'), databaseUrl: given('database-url'), graceMs };
    const retention = {
      retentionDays: numberOf(parsed, 'retention-days', { min: 1, max: 36_500 }),
      retentionBytes: numberOf(parsed, 'retention-bytes', { min: 1024 * 1024, max: Number.MAX_SAFE_INTEGER }),
    };
    const encryption = {
      tlsCertificate: given('tls-cert'),
      tlsKey: given('tls-key'),
      agentAuthority: given('agent-ca'),
      names: listOf(parsed, 'name'),
      tls: flagOf(parsed, 'tls'),
    };
    const { runCollector } = await import('../../collector/main.ts');
    const options = {
      listen: requiredText(parsed, 'listen'),
      data: requiredText(parsed, 'data'),
      noAuth: flagOf(parsed, 'no-auth'),
      ...defined(optional),
      ...defined(encryption),
      ...defined(retention),
    };
    const collector = await runCollector(options, io.signal);
    io.stdout.write(`collector listens on ${collector.address}\n`);
    await collector.closed;
    return 0;
  },
};

type Defined<T> = { readonly [K in keyof T]?: Exclude<T[K], undefined> };
const defined = <T extends object>(values: T): Defined<T> =>
  Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Defined<T>;
