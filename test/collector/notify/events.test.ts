// A whole collector that follows an API: the Service gets an Event when its NodePort stops to answer, and one when it does again, and none where that is left out.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { runCollector } from '../../../collector/main.ts';
import { type ApiObject, ApiServer } from '../../support/api-server.ts';
import { nodePortFact, TestAgent } from '../ingest/client.ts';
import { endpoints, getJson, objectsOf, until } from '../ingest/cluster.ts';

for (const events of [true, false])
  t.test(events ? 'events' : 'no events', async (t) => {
    const api = new ApiServer();
    for (const value of Object.values(objectsOf())) for (const item of (value as { items?: ApiObject[] }).items ?? [value as ApiObject]) api.put(item);
    const server = await api.start();
    t.teardown(() => api.stop());
    const directory = t.testdir();
    const kubeconfig = join(directory, 'config');
    const cluster = {
      clusters: [{ name: 'x', cluster: { server } }],
      users: [{ name: 'x', user: {} }],
      contexts: [{ name: 'x', context: { cluster: 'x', user: 'x' } }],
    };
    await writeFile(kubeconfig, JSON.stringify({ 'current-context': 'x', ...cluster }));
    const collector = await runCollector({
      listen: '127.0.0.1:0',
      data: join(directory, 'data'),
      kubeconfig,
      noAuth: true,
      logLevel: 'silent',
      graceMs: 0,
      events,
    });
    t.teardown(() => collector.close());
    await until(
      async () => (await fetch(`${collector.address}/readyz`)).status,
      (status) => status === 200,
    );
    const agent = await TestAgent.start(collector.address);
    const findings = async () => (await getJson(collector.address, 'findings')).items.length as number;
    agent.sendFacts([nodePortFact(30080, 'drop', endpoints)]);
    await until(findings, (count) => count > 0);
    agent.sendFacts([nodePortFact(30080, 'forward', endpoints)], { seq: 2, full: false });
    await until(findings, (count) => count === 0);
    if (events)
      await until(
        async () => api.created.length,
        (count) => count === 2,
      );
    const wanted = [
      {
        namespace: 'shop',
        event: { type: 'Warning', reason: 'NodePortUnreachable', message: /30080/, involvedObject: { kind: 'Service', name: 'web', uid: 'u1' } },
      },
      { namespace: 'shop', event: { type: 'Normal', reason: 'NodePortReachable' } },
    ];
    if (events) t.match(api.created, wanted);
    t.equal(api.created.length, events ? 2 : 0);
    const page = await (await fetch(`${collector.address}/metrics`)).text();
    t.equal(page.includes('portreeve_notifications_total{target="kubernetes-events",outcome="sent"} 2'), events);
    await agent.stop();
  });
