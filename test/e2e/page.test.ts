// The page in a real browser against a real collector with the demo lab: a fault that happens while one looks, its story, its remedy, and every view.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Browser, Page } from 'playwright-core';
import t, { type Test } from 'tap';
import { buildCluster, type Cluster, labObstacle } from '../labs/cluster.ts';
import { type Product, startProduct } from '../labs/product.ts';
import { accessibilityFaults, browserObstacle, openPage, picture, startBrowser, type Watched } from './browser.ts';

const obstacle = browserObstacle() ?? (await labObstacle());

const rule = ['FORWARD', '-p', 'tcp', '-m', 'tcp', '--dport', '8080', '-j', 'DROP'];
/** What a hostile comment would do, were it taken for HTML. */
const hostile = `<img src=x onerror="document.title='taken'"><script>document.title='taken'</script>`;
const hostileRule = ['PREROUTING', '-t', 'raw', '-p', 'tcp', '-m', 'tcp', '--dport', '30082', '-m', 'comment', '--comment', hostile, '-j', 'DROP'];

t.setTimeout(300_000);

t.test('the page', { skip: obstacle ?? false }, async (t) => {
  const cluster = await buildCluster();
  t.teardown(() => cluster.close());
  const product = await startProduct(cluster);
  t.teardown(() => product.close());
  const browser = await startBrowser();
  t.teardown(() => browser.close());
  await untilHealthy(product);
  const watched = await openPage(browser, product.url, { permissions: ['clipboard-read', 'clipboard-write'] });
  await t.test('all green says so, with the age of what it rests on', (t) => green(t, watched.page, product));
  const before = Date.now();
  await t.test('a fault appears without a reload, and leads to its story and its remedy', (t) => fault(t, watched, cluster));
  await t.test('rules with HTML in them stay text', (t) => comments(t, watched.page, { cluster, url: product.url }));
  await t.test('what somebody reports is looked into', (t) => reported(t, watched.page, product.url));
  await t.test('every view is accessible, dark and light, wide and narrow', (t) => views(t, browser, product.url));
  await t.test('the past is shown as it was believed', (t) => past(t, watched.page, before));
  await t.test('another client is walked through the live rules', (t) => another(t, watched.page, product.url));
  await t.test('the page is worked with keys alone', (t) => keys(t, watched.page, product.url));
  await t.test('the remedy that was copied opens the NodePort, and the page tells it', (t) => repaired(t, watched.page, { cluster, product }));
  t.same(watched.complaints, [], 'no script fails, the content policy refuses nothing, and nobody else is asked');
});

async function untilHealthy(product: Product): Promise<void> {
  for (const deadline = Date.now() + 60_000; (await product.healthyNodes()).length < 2; await sleep(100))
    if (Date.now() > deadline) throw new Error(`the lab did not become healthy:\n${product.logs()}`);
}

async function green(t: Test, page: Page, { url }: Product): Promise<void> {
  await page.goto(url);
  await page.waitForSelector('.standing.is-good');
  t.match(await page.innerText('.standing h1'), /^All \d+ NodePorts on 2 nodes answer/);
  t.match(await page.innerText('.standing-said p'), /What nodes do is .+ old at most · what the cluster asks for is .+ old/);
  await page.waitForSelector('.pill.live');
  await mark(page);
  await picture(page, 'now-healthy');
}

/** A mark that a reload would lose. */
const mark = (page: Page): Promise<unknown> => page.evaluate('globalThis.isSamePage = true');
const isSamePage = (page: Page): Promise<boolean> => page.evaluate('globalThis.isSamePage === true');

/** Whether anything of a rule was taken for more than text. */
const taken = (page: Page): Promise<readonly string[]> =>
  page.evaluate(`[
    ...(document.title.includes('taken') ? ['the title was changed'] : []),
    ...[...document.querySelectorAll('img, #page script, iframe, object')].map(({ outerHTML }) => outerHTML),
  ]`);

/** Pixels in which a story is seen whole. */
const storyHeight = 1_990;

async function fault(t: Test, { page }: Watched, cluster: Cluster): Promise<void> {
  const { exitCode, stderr } = await cluster.namespaces.run(cluster.nodes.node1, ['iptables', '-w', '-I', ...rule]);
  t.equal(exitCode, 0, stderr);
  await page.waitForSelector('.incident.is-error:has-text("30080/tcp")', { timeout: 30_000 });
  t.ok(await isSamePage(page), 'without a reload');
  const [met] = await cluster.meet([{ protocol: 'tcp', to: '172.31.0.11:30080', timeoutMs: 500 }]);
  t.equal(met?.outcome, 'timeout', 'a real client meets what the page says');
  const incident = page.locator('.incident.is-error').first();
  const text = await incident.innerText();
  t.match(text, /shop\/web · 30080\/tcp and 3 more on node1/);
  t.match(text, /times out/);
  t.match(text, /C0\d\s*certain/);
  t.match(text, /since \d\d:\d\d:\d\d/);
  t.match(text, /Change\s+.*iptables.*pid \d+/, 'the change before it, and who made it');
  await picture(page, 'now');
  await incident.locator('a').first().click();
  await page.waitForSelector('.walk svg.portreeve-walk');
  t.match(new URL(page.url()).pathname, /^\/findings\/node1%2Fnodeport%2Ftcp%2F4%2F30080%2FC0\d$/);
  t.match(await page.innerText('.story h1'), /shop\/web · 30080\/tcp on node1 does not answer/);
  t.match(await page.innerText('.steps .is-deciding'), /FORWARD.*filter.*rule 1.*decides/s);
  t.match(await page.innerText('.walk'), /decides; owner: admin, changed by iptables/, 'the drawing names the owner and the actor');
  t.equal(await page.locator('.witness').count(), 4);
  t.equal(await page.locator('.lane-row').count(), 7);
  t.equal(await page.locator('.lane-mark.is-trigger').count(), 1, 'the change that made it is marked in its lane');
  t.match(await page.innerText('.told .is-trigger'), /ip filter FORWARD/);
  t.match(await page.innerText('.remedy'), /portreeve explain node1 30080 --server http/);
  // What the kernel saw is told a moment later; a picture without it would tell less.
  if (process.env.UPDATE_SCREENSHOTS === '1')
    await page.waitForSelector('.witness:not(.is-silent):has-text("Kernel")', { timeout: 20_000 }).catch(() => undefined);
  await picture(page, 'story', storyHeight);
}

async function comments(t: Test, page: Page, { cluster, url }: { readonly cluster: Cluster; readonly url: string }): Promise<void> {
  await page.goto(url);
  const { exitCode, stderr } = await cluster.namespaces.run(cluster.nodes.node2, ['iptables', '-w', '-I', ...hostileRule]);
  t.equal(exitCode, 0, stderr);
  const incident = page.locator('.incident.is-error:has-text("30082/tcp")');
  await incident.waitFor({ timeout: 30_000 });
  const shows = async (selector: string): Promise<void> => {
    t.match(await page.innerText(selector), /<img\s+src=x\s+onerror=.*<script>/s, `${new URL(page.url()).pathname} shows it as it is written`);
    t.same(await taken(page), []);
  };
  await shows('.incidents');
  await incident.locator('a').first().click();
  await page.waitForSelector('.walk svg.portreeve-walk');
  await shows('.walk');
  await shows('.steps');
  await shows('.told');
  await shows('.remedy');
  await page.goto(`${url}/changes`);
  await page.waitForSelector('.ledger');
  await shows('.ledger');
}

async function reported(t: Test, page: Page, url: string): Promise<void> {
  await page.goto(url);
  await page.click('.reported summary');
  const fill = async (service: string, when: string): Promise<void> => {
    await page.fill('.reported [placeholder=Service]', service);
    await page.fill('.reported [placeholder^=when]', when);
    await page.click('.reported button');
  };
  await fill('shop/web', 'at dawn');
  await page.waitForSelector('.reported .trouble:has-text("is no time")');
  await fill('shop/web', '');
  const report = page.locator('.incident.is-reported');
  await report.waitFor();
  t.match(await report.innerText(), /shop\/web.*C0\d\s+certain.*drops the packets.*iptables/s, 'the finding of that Service is named first, with who made it');
  t.equal(await page.locator('.reported .trouble').count(), 0);
  await report.locator('.causes a').first().click();
  await page.waitForURL('**/findings/node1*30080*');
}

const paths = {
  now: '/',
  chart: '/chart',
  story: '/story/node1/30080/tcp',
  'story-healthy': '/story/node2/30080/tcp',
  nodes: '/nodes',
  node: '/nodes/node1',
  services: '/services',
  service: '/services/shop/web',
  register: '/register',
  changes: '/changes',
  gaps: '/gaps',
  'no-view': '/nothing/here',
} as const;

/** What a view shows when its answers are there. */
const ready = '.standing, .matrix canvas, .story .lanes, table, .particulars, .ledger, #ledger, .notice';

async function views(t: Test, browser: Browser, url: string): Promise<void> {
  const looks = [
    { colorScheme: 'light', viewport: { width: 1280, height: 800 } },
    { colorScheme: 'dark', viewport: { width: 400, height: 800 } },
  ] as const;
  for (const look of looks) {
    const { page, complaints } = await openPage(browser, url, look);
    for (const [name, path] of Object.entries(paths)) {
      await page.goto(`${url}${path}`);
      await page.waitForSelector(ready);
      await page.waitForLoadState('load');
      t.same(await accessibilityFaults(page), [], `${name}, ${look.colorScheme}`);
      const wide = await page.evaluate<number>('document.documentElement.scrollWidth - document.documentElement.clientWidth');
      t.ok(wide <= 0, `${name} fits into ${look.viewport.width} pixels, and is ${wide} wider`);
      t.same(await taken(page), []);
      if (look.colorScheme === 'light' ? !['now', 'story', 'no-view'].includes(name) : ['now', 'story', 'chart'].includes(name))
        await picture(page, look.colorScheme === 'light' ? name : `${name}-narrow-dark`);
    }
    t.same(complaints, []);
    await page.context().close();
  }
  await darkStory(browser, url);
}

async function darkStory(browser: Browser, url: string): Promise<void> {
  if (process.env.UPDATE_SCREENSHOTS !== '1') return;
  const { page } = await openPage(browser, url, { colorScheme: 'dark' });
  for (const name of ['now', 'story', 'chart'] as const) {
    await page.goto(`${url}${paths[name]}`);
    await page.waitForSelector(ready);
    await page.waitForTimeout(500);
    await picture(page, `${name}-dark`, name === 'story' ? storyHeight : undefined);
  }
}

async function past(t: Test, page: Page, before: number): Promise<void> {
  await mark(page);
  await page.fill('.time-field input', new Date(before).toISOString());
  await page.press('.time-field input', 'Enter');
  await page.waitForSelector('.past-banner');
  t.match(new URL(page.url()).searchParams.get('at'), /^\d{4}-/, 'the address holds the time');
  await page.click('.head nav a:has-text("Now")');
  await page.waitForSelector('.standing.is-good');
  t.equal(await page.locator('.incident.is-error').count(), 0, 'nothing was broken then');
  t.match(await page.innerText('.standing'), /From the history/);
  await page.fill('.time-field input', 'some day');
  await page.press('.time-field input', 'Enter');
  t.equal(await page.getAttribute('.time-field input', 'aria-invalid'), 'true', 'what is no time is not taken for one');
  await page.click('.past-banner button');
  await page.waitForSelector('.standing.is-bad');
  t.equal(new URL(page.url()).search, '');
  t.ok(await isSamePage(page), 'without a reload');
}

async function another(t: Test, page: Page, url: string): Promise<void> {
  await page.goto(`${url}/story/node1/30080/tcp`);
  await page.click('.trace summary');
  await page.selectOption('.trace select', 'node');
  await page.click('.trace button');
  await page.waitForSelector('.trace .walk');
  t.match(await page.innerText('.trace .walk'), /OUTPUT.*FORWARDED|DELIVERED|SENT ON/s, 'processes of the node itself do not go through FORWARD');
  await page.selectOption('.trace select', 'external');
  await page.fill('.trace input', 'nowhere');
  await page.click('.trace button');
  await page.waitForSelector('.trace .trouble');
  t.match(await page.innerText('.trace .trouble'), /nowhere/, 'what is no address is said to be none');
}

async function keys(t: Test, page: Page, url: string): Promise<void> {
  await page.goto(`${url}/chart`);
  await page.waitForSelector('.matrix canvas');
  await page.keyboard.press('Tab');
  t.equal(await page.evaluate('document.activeElement?.className'), 'skip', 'the first key leads past the head');
  await page.keyboard.press('/');
  await page.keyboard.type('node2 30081');
  await page.waitForSelector('.jump [aria-selected="true"]');
  await page.keyboard.press('Enter');
  await page.waitForURL('**/story/node2/30081/tcp');
  await page.goBack();
  await page.waitForSelector('.matrix canvas');
  await page.focus('.matrix-scroller');
  await page.keyboard.press('n');
  const cell = (): Promise<string> => page.innerText('[role=gridcell]');
  t.match(await cell(), /node1 · 300(80|81|84|87)\/tcp .*: times out/, 'n goes to the next fault');
  await page.keyboard.press('ArrowDown');
  t.match(await cell(), /node2 · .*: answers/);
  await page.keyboard.press('Enter');
  await page.waitForURL('**/story/node2/300*/tcp');
  await page.waitForSelector('.story-head.is-good');
  await page.goBack();
  await page.locator('.matrix canvas').click({ position: { x: 163, y: 145 } });
  await page.waitForURL('**/story/node1/30053/tcp');
}

async function repaired(t: Test, page: Page, { cluster, product }: { readonly cluster: Cluster; readonly product: Product }): Promise<void> {
  await page.goto(product.url);
  await page.click('.incident.is-error:has-text("30080/tcp") a');
  await page.click('.remedy .command button');
  const copied = await page.evaluate<string>('navigator.clipboard.readText()');
  t.match(copied, /^iptables -D FORWARD .*--dport 8080/);
  const { exitCode, stderr } = await cluster.namespaces.run(cluster.nodes.node1, ['sh', '-c', copied]);
  t.equal(exitCode, 0, stderr);
  await page.waitForSelector('.story h1:has-text("is over")', { timeout: 30_000 });
  await cluster.namespaces.run(cluster.nodes.node2, ['iptables', '-w', '-D', ...hostileRule]);
  await page.click('.head nav a:has-text("Now")');
  await page.waitForSelector('.standing.is-good', { timeout: 30_000 });
  t.match(await page.innerText('.over'), /shop\/web · 30080\/tcp on node1/, 'what is over is still told');
  const [met] = await cluster.meet([{ protocol: 'tcp', to: '172.31.0.11:30080' }]);
  t.equal(met?.outcome, 'ok');
}
