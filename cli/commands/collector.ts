// `portreeve collector`: runs the collector until SIGTERM.

import { version } from '../../agent/version.ts';
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
  ],
  async run(parsed, io) {
    const graceMs = numberOf(parsed, 'grace', { min: 0, max: 3_600_000 });
    const given = (name: string): string | undefined => textOf(parsed, name);
    const optional = { cluster: given('cluster'), kubeconfig: given('kubeconfig'), databaseUrl: given('database-url'), graceMs };
    const encryption = {
      tlsCertificate: given('tls-cert'),
      tlsKey: given('tls-key'),
      agentAuthority: given('agent-ca'),
      names: listOf(parsed, 'name'),
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
      version,
      ...defined(optional),
      ...defined(told),
      ...defined(encryption),
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
