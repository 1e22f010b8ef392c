// A real Alertmanager on loopback: its own payload opens an incident with a ranked cause and ends it, and it takes the collector's word of findings.
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { freePort, isInstalled, patiently, startProgram } from '../../support/programs.ts';
import { changeOf, nodePortFact, TestAgent } from '../ingest/client.ts';
import { endpoints, getJson, startCollector, until } from '../ingest/cluster.ts';

const program = 'prometheus-alertmanager';
const rule = '-A FORWARD -p tcp -m tcp --dport 8080 -j DROP';

t.test(
  'Alertmanager',
  { skip: isInstalled(program) && isInstalled('amtool') ? false : `${program} is not installed (Debian package of that name)`, timeout: 90_000 },
  async (t) => {
    const directory = t.testdir({ data: {} });
    const port = await freePort();
    const url = `http://127.0.0.1:${port}`;
    const collector = await startCollector(join(directory, 'collector'), { alertmanager: url });
    t.teardown(() => collector.close());
    const config = {
      route: { receiver: 'portreeve', group_by: ['alertname'], group_wait: '100ms', group_interval: '200ms', repeat_interval: '1h' },
      receivers: [{ name: 'portreeve', webhook_configs: [{ url: `${collector.address}/api/v1/alerts`, send_resolved: true }] }],
    };
    mkdirSync(directory, { recursive: true });
    writeFileSync(join(directory, 'alertmanager.yaml'), JSON.stringify(config));
    startProgram(t, program, [
      `--config.file=${join(directory, 'alertmanager.yaml')}`,
      `--storage.path=${join(directory, 'data')}`,
      `--web.listen-address=127.0.0.1:${port}`,
      '--cluster.listen-address=',
      '--log.level=error',
    ]);
    const ready = await patiently(
      async () => (await fetch(`${url}/-/ready`)).status,
      (status) => status === 200,
    );
    t.equal(ready, 200, 'it runs');

    const agent = await TestAgent.start(collector.address);
    agent.sendChanges([
      changeOf(1, {
        at: Date.now() - 5_000,
        before: '-P FORWARD ACCEPT',
        after: `-P FORWARD ACCEPT\n${rule}`,
        actor: { how: 'nft-generation', comm: 'iptables', pid: 4711 },
      }),
    ]);
    agent.sendFacts([nodePortFact(30080, 'drop', endpoints)]);
    await until(
      () => getJson(collector.address, 'findings'),
      ({ items }) => items.length > 0,
    );
    const amtool = (...words: string[]) => spawnSync('amtool', [`--alertmanager.url=${url}`, ...words], { encoding: 'utf8' });
    const added = amtool(
      'alert',
      'add',
      'alertname=ShopDown',
      'namespace=shop',
      'service=web',
      'severity=page',
      '--annotation=summary=customers cannot get in',
    );
    t.equal(added.status, 0, added.stderr);
    const incidents = () => getJson(collector.address, 'incidents?service=shop/web');
    // biome-ignore lint/suspicious/noExplicitAny: tests look into answers freely.
    const ofShop = (answer: any) => answer.items.find(({ labels }: any) => labels.alertname === 'ShopDown');
    const opened = ofShop(await patiently(incidents, (answer) => ofShop(answer) !== undefined));
    t.match(opened, {
      origin: 'alertmanager',
      service: 'shop/web',
      endedAt: null,
      text: 'ShopDown: customers cannot get in',
      causes: [{ cause: 'C08', node: 'node1', confidence: 'certain', remedy: [/iptables -D FORWARD/], change: { after: new RegExp(rule) } }],
    });

    const known = await patiently(
      async () =>
        (await (await fetch(`${url}/api/v2/alerts`)).json()) as readonly {
          readonly labels: Record<string, string>;
          readonly annotations: Record<string, string>;
        }[],
      (alerts) => alerts.some(({ labels }) => labels['cause'] === 'C08'),
    );
    t.match(
      known?.find(({ labels }) => labels['cause'] === 'C08'),
      {
        labels: {
          alertname: 'NodePortUnreachable',
          severity: 'critical',
          namespace: 'shop',
          service: 'web',
          node: 'node1',
          nodeport: '30080',
          protocol: 'tcp',
        },
        annotations: { remedy: /iptables -D FORWARD/ },
      },
    );

    t.equal(
      amtool(
        'alert',
        'add',
        'alertname=ShopDown',
        'namespace=shop',
        'service=web',
        'severity=page',
        `--end=${new Date().toISOString()}`,
        '--annotation=summary=customers cannot get in',
      ).status,
      0,
    );
    const over = ofShop(await patiently(incidents, (answer) => ofShop(answer)?.endedAt !== null));
    t.match(over, { id: opened.id, endedAt: Number, causes: [{ cause: 'C08' }] }, 'the same incident is over');
    agent.sendFacts([nodePortFact(30080, 'forward', endpoints)], { seq: 2, full: false });
    const left = await patiently(
      async () => (await (await fetch(`${url}/api/v2/alerts?active=true`)).json()) as readonly { readonly labels: Record<string, string> }[],
      (alerts) => !alerts.some(({ labels }) => labels['cause'] === 'C08'),
    );
    t.notOk(
      left?.some(({ labels }) => labels['cause'] === 'C08'),
      'the end of a finding is told',
    );
    await agent.stop();
  },
);
