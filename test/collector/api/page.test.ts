// How the collector serves the page: for every address of a view, under a policy without inline script or style, and never in place of an answer of the API.
import { existsSync } from 'node:fs';
import t from 'tap';
import { startCollector } from '../ingest/cluster.ts';

const browser = { accept: 'text/html,application/xhtml+xml' };
const isBuilt = existsSync(new URL('../../../dist/web/index.html', import.meta.url));

t.test('the page', { skip: isBuilt ? false : 'the page is not built: run "make web"' }, async (t) => {
  const collector = await startCollector(t.testdir());
  t.teardown(() => collector.close());
  const get = (path: string, headers: Record<string, string> = browser) => fetch(`${collector.address}${path}`, { headers });
  const page = await (await get('/')).text();

  await t.test('stands at every address of a view', async (t) => {
    for (const path of ['/', '/chart', '/findings/node1%2Fnodeport%2Ftcp%2F4%2F30080%2FC08', '/nodes/a.b', '/changes?text=x']) {
      const response = await get(path);
      t.match(response, { status: 200 }, path);
      t.match(response.headers.get('content-type'), /^text\/html/);
      t.equal(await response.text(), page);
    }
  });

  await t.test('never stands in for an answer', async (t) => {
    for (const path of ['/api/v1/none', '/assets/none.js', '/agent']) t.match(await get(path), { status: 404 }, path);
    const response = await get('/chart', { accept: 'application/json' });
    t.match([response.status, response.headers.get('content-type')], [404, /problem\+json/]);
    t.match(await fetch(`${collector.address}/chart`, { method: 'POST', headers: browser }), { status: 404 });
  });

  await t.test('has no script or style within, and may not have any', async (t) => {
    const policy = (await get('/')).headers.get('content-security-policy') ?? '';
    t.notMatch(policy, /unsafe/);
    t.match(policy, /script-src 'self'; style-src 'self'/);
    t.notMatch(page, /<style|<script(?![^>]* src=)|\son\w+=|\sstyle=/);
    t.notMatch(page, /https?:\/\//, 'nothing is asked of others');
  });

  await t.test('its files are kept for ever under names of their content, the page itself is asked for anew', async (t) => {
    const names = [...page.matchAll(/(?:src|href)="(\/[^"]+)"/g)].map(([, name]) => name as string);
    t.ok(names.length >= 3);
    for (const name of names) {
      const response = await get(name, {});
      t.match([response.status, response.headers.get('cache-control')], [200, /immutable/], name);
      const again = await get(name, { 'if-none-match': response.headers.get('etag') ?? '' });
      t.equal(again.status, 304);
    }
    t.equal((await get('/')).headers.get('cache-control'), 'no-cache');
  });
});
