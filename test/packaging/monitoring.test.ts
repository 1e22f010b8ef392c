// Alert rules and dashboard against the real thing: promtool checks and tests the rules, and a real Prometheus that scrapes a real collector and a real agent has
// data for every query.
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { parse } from 'yaml';
import { nodePortFact, TestAgent } from '../collector/ingest/client.ts';
import { endpoints, getJson, objectsOf, startCollector, until, writeObjects } from '../collector/ingest/cluster.ts';
import { freePort, isInstalled, patiently, startProgram } from '../support/programs.ts';

const root = join(import.meta.dirname, '../..');
const folder = join(root, 'packaging/monitoring');
const dashboard = JSON.parse(readFileSync(join(folder, 'dashboard.json'), 'utf8')) as {
  readonly panels: readonly { readonly title: string; readonly targets?: readonly { readonly expr: string }[] }[];
};
const queries = dashboard.panels.flatMap(({ title, targets = [] }) => targets.map(({ expr }) => ({ title, expr })));

t.test('every runbook is there', async (t) => {
  const rules = parse(readFileSync(join(folder, 'alerts.yaml'), 'utf8')) as {
    readonly groups: readonly { readonly rules: readonly { alert: string; annotations: Record<string, string> }[] }[];
  };
  for (const { alert, annotations } of rules.groups.flatMap((group) => group.rules)) {
    const [file = '', anchor = ''] = (annotations['runbook_url'] ?? '').replace('{{ $labels.cause | toLower }}', 'c08').split('#');
    const text = readFileSync(join(root, file), 'utf8');
    const headings = [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) =>
      heading
        .toLowerCase()
        .replaceAll(/[^a-z0-9 -]/g, '')
        .replaceAll(' ', '-'),
    );
    t.ok(text.includes(`<a id="${anchor}">`) || headings.includes(anchor), `${alert}: ${file}#${anchor}`);
  }
});

t.test('promtool', { skip: isInstalled('promtool') ? false : 'promtool is not installed (Debian package prometheus)' }, async (t) => {
  for (const words of [
    ['check', 'rules', join(folder, 'alerts.yaml')],
    ['test', 'rules', join(folder, 'alerts.test.yaml')],
  ]) {
    const { status, stdout, stderr } = spawnSync('promtool', words, { encoding: 'utf8' });
    t.equal(status, 0, `${words[0]} rules: ${stdout}${stderr}`);
  }
});

const canScrape = isInstalled('prometheus') && isInstalled('promtool');

t.test('what is scraped', { skip: canScrape ? false : 'prometheus is not installed', timeout: 120_000 }, async (t) => {
  const directory = t.testdir({ tsdb: {} });
  const collector = await startCollector(join(directory, 'collector'), { webhook: 'http://127.0.0.1:9/' });
  t.teardown(() => collector.close());
  const agentPort = await freePort();
  const words = [
    '--disable-warning=ExperimentalWarning',
    join(root, 'cli/main.ts'),
    'agent',
    '--collector',
    collector.address.replace('http', 'ws'),
    '--node',
    'node2',
    '--metrics',
    `127.0.0.1:${agentPort}`,
  ];
  startProgram(t, process.execPath, words);
  const agent = await TestAgent.start(collector.address);
  agent.sendFacts([nodePortFact(30080, 'forward', endpoints)]);
  await agent.until('ack', (ack) => ack.state === 1);

  const target = new URL(collector.address).host;
  const port = await freePort();
  const jobs = [
    { job_name: 'portreeve', static_configs: [{ targets: [target] }] },
    { job_name: 'portreeve-agent', static_configs: [{ targets: [`127.0.0.1:${agentPort}`] }] },
  ];
  const config = {
    global: { scrape_interval: '500ms', scrape_timeout: '400ms', evaluation_interval: '1s' },
    rule_files: [join(folder, 'alerts.yaml')],
    scrape_configs: jobs,
  };
  writeFileSync(join(directory, 'prometheus.yaml'), JSON.stringify(config));
  startProgram(t, 'prometheus', [
    `--config.file=${join(directory, 'prometheus.yaml')}`,
    `--storage.tsdb.path=${join(directory, 'tsdb')}`,
    `--web.listen-address=127.0.0.1:${port}`,
    '--log.level=error',
  ]);
  const ask = async (query: string): Promise<readonly { readonly metric: Record<string, string>; readonly value: readonly [number, string] }[]> => {
    const answer = await fetch(`http://127.0.0.1:${port}/api/v1/query?query=${encodeURIComponent(query)}`);
    const { status, data, error } = (await answer.json()) as { status: string; error?: string; data: { result: never[] } };
    if (status !== 'success') throw new Error(error);
    return data.result;
  };
  const up = await patiently(
    () => ask('up == 1'),
    (found) => found.length === 2,
    40_000,
  );
  t.equal(up?.length, 2, 'both are scraped');

  await patiently(
    () => ask('count_over_time(portreeve_changes_total[1m]) >= 3'),
    (found) => found.length > 0,
  );
  // An edited Service, whose rules follow; then a fault.
  const slices = objectsOf()['endpointslices.json'] as { endpoints: object[] };
  await writeObjects(join(directory, 'collector/cluster'), { 'endpointslices.json': { ...slices, endpoints: slices.endpoints.slice(0, 1) } });
  await until(
    () => getJson(collector.address, 'services'),
    ({ items }) => items[0].endpoints.ready === 1,
  );
  agent.sendFacts([nodePortFact(30080, 'forward', endpoints.slice(0, 1))], { seq: 2, full: false });
  await until(
    () => getJson(collector.address, 'services'),
    ({ items }) => items[0].programming !== null,
  );
  agent.sendFacts([nodePortFact(30080, 'drop', endpoints.slice(0, 1))], { seq: 3, full: false });
  await patiently(
    () => ask('portreeve_findings'),
    (found) => found.length > 0,
  );

  for (const { title, expr } of queries) {
    const query = expr.replaceAll('$__rate_interval', '1m');
    const found = await patiently(
      () => ask(query),
      (each) => each.length > 0,
      10_000,
    );
    t.ok((found?.length ?? 0) > 0, `${title}: ${expr}`);
  }
  const firing = await patiently(
    () => ask('ALERTS{alertname="PortreeveNodePortUnreachable"}'),
    (found) => found.length > 0,
  );
  t.match(firing?.[0]?.metric, { cause: /^[A-D]\d\d$/ }, 'the rules are evaluated on it');

  const page = await (await fetch(`${collector.address}/metrics`)).text();
  for (const [name, text] of [
    ['collector', page],
    ['agent', await (await fetch(`http://127.0.0.1:${agentPort}/metrics`)).text()],
  ] as const) {
    const { status, stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], { input: text, encoding: 'utf8' });
    t.equal(status, 0, `promtool check metrics, ${name}: ${stdout}${stderr}`);
  }
  await agent.stop();
});
