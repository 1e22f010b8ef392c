// The page of a collector that wants tokens: it asks for one, keeps it where only the API is sent it, and tells what it may not show.
import { join } from 'node:path';
import t from 'tap';
import { createApiToken } from '../../collector/identity/access.ts';
import { openSqliteStore } from '../../collector/store/sqlite.store.ts';
import { nodePortFact, TestAgent } from '../collector/ingest/client.ts';
import { endpoints, startCollector } from '../collector/ingest/cluster.ts';
import { accessibilityFaults, browserObstacle, openPage, picture, startBrowser } from './browser.ts';

t.setTimeout(120_000);

t.test('a token is asked for, and taken', { skip: browserObstacle() ?? false }, async (t) => {
  const directory = t.testdir({});
  const { store } = await openSqliteStore(join(directory, 'data'));
  const { token } = await createApiToken(store, { name: 'operator', role: 'view', by: 'test', now: Date.now() });
  await store.close();
  const collector = await startCollector(directory, { noAuth: false });
  t.teardown(() => collector.close());
  const browser = await startBrowser();
  t.teardown(() => browser.close());
  const { page, complaints } = await openPage(browser, collector.address);
  const enter = async (text: string): Promise<void> => {
    await page.waitForSelector('#token');
    await page.fill('#token', text);
    await Promise.all([page.waitForNavigation(), page.click('.sign-in button')]);
  };
  await page.goto(`${collector.address}/nodes/node1`);
  await page.waitForSelector('#token');
  t.same(await accessibilityFaults(page), []);
  await picture(page, 'sign-in');
  await enter('pra_wrong');
  t.match(await page.innerText('.notice'), /A token is needed/);
  await enter(token);
  await page.waitForSelector('.particulars');
  t.equal(new URL(page.url()).pathname, '/nodes/node1', 'one stays where one wanted to go');
  const [cookie, ...others] = await page.context().cookies(`${collector.address}/api/v1/nodes`);
  t.match(cookie, { name: 'portreeve_token', path: '/api/v1', sameSite: 'Strict', expires: -1 });
  t.same([others, await page.context().cookies(collector.address)], [[], []], 'nothing else is kept, and nothing else is sent it');
  await page.waitForSelector('.pill.live');
  t.same(complaints, []);
});

t.test('when the collector goes away and comes back, the page says so and catches up', { skip: browserObstacle() ?? false }, async (t) => {
  const directory = t.testdir({});
  const first = await startCollector(directory);
  const browser = await startBrowser();
  t.teardown(() => browser.close());
  const { page } = await openPage(browser, first.address);
  await page.goto(first.address);
  await page.waitForSelector('.pill.live');
  t.match(await page.innerText('.standing'), /no agent that speaks/, 'what nobody has reported is not called healthy');
  await first.close();
  await page.waitForSelector('.pill.lost');
  const second = await startCollector(directory, { listen: new URL(first.address).host });
  t.teardown(() => second.close());
  const agent = await TestAgent.start(second.address);
  agent.sendFacts([nodePortFact(30080, 'drop', endpoints)]);
  await page.waitForSelector('.pill.live', { timeout: 20_000 });
  await page.waitForSelector('.incident.is-error:has-text("30080/tcp")', { timeout: 20_000 });
  await agent.stop();
});
