// The client: its types are those of the API as it is, and lists come whole, page by page.
import { readFileSync } from 'node:fs';
import t from 'tap';
import { type Call, callOf, requestAll } from '../../../collector/api/client.ts';
import { clientTypesFile, currentClientTypes } from '../../support/client-types.ts';

t.test('the types are current: "make client" writes them', async (t) => {
  t.equal(await currentClientTypes(t.testdir()), readFileSync(clientTypesFile, 'utf8'));
});

t.test('calls', async (t) => {
  t.strictSame(callOf('GET /nodes/{name}', { path: { name: 'a/b ?' }, query: { at: '2026-01-01T00:00:00Z' } }), {
    method: 'GET',
    path: 'nodes/a%2Fb%20%3F?at=2026-01-01T00%3A00%3A00Z',
  });
  t.strictSame(callOf('GET /findings', { query: { node: 'n', cause: undefined, limit: 3 } }), { method: 'GET', path: 'findings?node=n&limit=3' });
  t.strictSame(callOf('POST /incidents', { body: { port: 30080 } }), { method: 'POST', path: 'incidents', body: { port: 30080 } });
});

t.test('all pages of a list', async (t) => {
  const asked: string[] = [];
  const send = async ({ path }: Call) => {
    asked.push(path);
    const start = Number(new URLSearchParams(path.split('?')[1]).get('cursor') ?? 0);
    return { kind: 'NodeList', items: [start, start + 1], ...(start < 4 ? { next: String(start + 2) } : {}) };
  };
  t.match(await requestAll(send, 'GET /nodes', { query: { limit: 2 } }), { kind: 'NodeList', items: [0, 1, 2, 3, 4, 5] } as never);
  t.strictSame(asked, ['nodes?limit=2', 'nodes?limit=2&cursor=2', 'nodes?limit=2&cursor=4']);
  t.match(await requestAll(send, 'GET /nodes', { most: 3 }), { items: [0, 1, 2] } as never);
});
