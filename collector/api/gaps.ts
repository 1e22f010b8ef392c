// The resource of gaps: times of which the ledger of a node does not tell everything, and why.
import type { FastifyInstance } from 'fastify';
import Type, { type Static } from 'typebox';
import { limits } from '../../shared/limits.ts';
import type { Store } from '../store/store.ts';
import type { Freshness } from './freshness.ts';
import { spanOf } from './paging.ts';
import { Problem } from './problem.ts';
import { apiVersion, listOf } from './schemas.ts';
import { principalOf } from './security.ts';

const time = (description: string) => Type.Optional(Type.String({ maxLength: 40, description: `${description} RFC 3339, or milliseconds since 1970.` }));
const gapsQuery = Type.Object({
  node: Type.Optional(Type.String({ maxLength: 253 })),
  from: time('Gaps that reach to this time or beyond.'),
  to: time('Gaps that begin by this time.'),
  limit: Type.Integer({ minimum: 1, maximum: limits.apiItemsMax, default: 100, description: 'Items in the answer.' }),
});

/** Under /api/v1. Gaps tell of nodes, and so are for who may see all. */
export function addGaps(app: FastifyInstance, { store, view }: { readonly store: Pick<Store, 'gaps'>; readonly view: () => Freshness }): void {
  const schema = {
    operationId: 'getGapList',
    summary: 'Times of which the ledger does not tell everything, newest first.',
    querystring: gapsQuery,
    response: { 200: listOf('GapList', 'Gap') },
  };
  app.get('/gaps', { schema }, async (request) => {
    const { who, seesAll } = principalOf(request);
    if (!seesAll) throw new Problem(403, `${who} may not see this: gaps tell of all nodes, and want the right to list Services everywhere`);
    const { node, limit, from, to } = request.query as Static<typeof gapsQuery>;
    const span = spanOf({ ...(from === undefined ? {} : { from }), ...(to === undefined ? {} : { to }) });
    const items = await store.gaps({ limit, ...span, ...(node === undefined ? {} : { node }) });
    return { apiVersion, kind: 'GapList', view: view(), items };
  });
}
