// The drawing of a walk as data: what it must hold of any walk, and what it leaves out when there is too much.
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { Compile } from 'typebox/compile';
import { limits } from '../../../shared/limits.ts';
import { parseAddress, parsePrefix } from '../../../shared/model/address.ts';
import type { Decider } from '../../../shared/model/outcome.ts';
import type { GraphEdge, GraphNode, WalkGraph } from '../../../shared/netfilter/walk.graph.model.ts';
import { isDrawable, walkGraph } from '../../../shared/netfilter/walk.graph.schema.ts';
import { graphOf } from '../../../shared/netfilter/walk.graph.ts';
import { capturedNode } from '../../support/captures.ts';
import { type DrawnCase, drawnCases, graphed, randomWalks, serviceNode, type Traced, traced } from '../../support/drawn.ts';

const runs = { numRuns: Number(process.env['RUNS'] ?? 200), seed: Number(process.env['SEED'] ?? 1) };

const holds = (t: Test, law: (walked: Traced, graph: WalkGraph) => string | undefined): void => {
  const result = fc.check(
    fc.property(randomWalks, (walked) => {
      const wrong = law(walked, graphed(walked));
      if (wrong !== undefined) throw new Error(wrong);
    }),
    runs,
  );
  t.equal(result.failed, false, fc.defaultReportMessage(result)?.slice(0, 3000) ?? '');
};

t.test('what decides about a branch is in the graph', async (t) => {
  holds(t, ({ walked }, graph) => {
    if (graph.more > 0 || graph.nodes.some(({ kind }) => kind === 'gap') || graph.nodes.some(isCut)) return undefined;
    const drawn = new Set(graph.nodes.flatMap(decidersOf).map(keyOf));
    const deciders = walked.branches.flatMap(({ outcome }) =>
      [outcome.decidedBy, outcome.reply?.decidedBy, outcome.later?.decidedBy].filter((each) => each !== undefined),
    );
    const missing = deciders.find((decider) => !drawn.has(keyOf(decider)));
    return missing === undefined ? undefined : `${keyOf(missing)} is not drawn`;
  });
});

t.test('rules that bring a packet to a bad end are marked, and no others', async (t) => {
  holds(t, ({ walked }, graph) => {
    if (graph.more > 0) return undefined;
    const marked = new Set(
      graph.nodes
        .filter((node) => (node.kind === 'rule' || node.kind === 'policy') && node.decides)
        .flatMap(decidersOf)
        .map(keyOf),
    );
    const bad = walked.branches.filter(({ outcome }) => outcome.verdict === 'drop' || outcome.verdict === 'reject');
    const wanted = new Set(
      bad.flatMap(({ outcome: { decidedBy } }) =>
        (decidedBy?.by === 'rule' && decidedBy.chain !== undefined) || decidedBy?.by === 'policy' ? [keyOf(decidedBy)] : [],
      ),
    );
    const missing = [...wanted].find((key) => !marked.has(key));
    const decided = new Set(walked.branches.flatMap(({ outcome: { decidedBy } }) => (decidedBy === undefined ? [] : [keyOf(decidedBy)])));
    const wrong = [...marked].find((key) => !decided.has(key));
    return missing ?? wrong;
  });
});

t.test('no edge leads back, and every node but the client is led to', async (t) => {
  holds(t, (_, { nodes, edges, lanes }) => {
    const places = new Map(nodes.map(({ id }, index) => [id, index]));
    const back = edges.find(({ from, to }) => !((places.get(from) as number) < (places.get(to) as number)));
    if (back !== undefined) return `${back.from} → ${back.to}`;
    const lost = nodes.slice(1).find(({ id }) => !edges.some(({ to }) => to === id));
    return lost === undefined ? nodes.find(({ lane }) => !lanes.some(({ id }) => id === lane))?.id : lost.id;
  });
});

t.test('for one client, and one saying of the rules that cannot be judged, the edges out of a node take no more than all connections', async (t) => {
  let forks = 0;
  holds(t, (_, { nodes, edges }) => {
    for (const { id, share } of nodes) {
      const fork = edges.filter(({ from }) => from === id);
      if (fork.length > 1) forks++;
      for (const world of worldsOf(fork)) {
        const sum = fork.filter(world).reduce((total, { weight }) => total + weight, 0);
        if (sum > share + 1e-5) return `${sum} of ${share} out of ${id}: ${JSON.stringify(fork, null, 1)}`;
      }
      if (fork.length > 0 && fork.every(({ sources, unless }) => sources === undefined && unless === undefined)) {
        const sum = fork.reduce((total, { weight }) => total + weight, 0);
        if (Math.abs(sum - share) > 1e-5) return `${sum} out of ${id}, which has ${share}`;
      }
    }
    return undefined;
  });
  t.ok(forks > 80, `${forks} forks were looked at`);
});

t.test('a graph is plain JSON', async (t) => {
  const graph = graphed(traced(capturedNode('01-healthy-iptables-nft'), 'dport=30080'));
  t.strictSame(JSON.parse(JSON.stringify(graph)), graph);
});

t.test('the schema holds of every graph, and of no other', async (t) => {
  const schema = Compile(walkGraph);
  holds(t, (_, graph) => (schema.Check(graph) && isDrawable(graph) ? undefined : JSON.stringify([...schema.Errors(graph)].slice(0, 3))));
  for (const { graph } of drawnCases()) t.ok(schema.Check(graph) && isDrawable(graph));
  const [{ graph }] = drawnCases() as [DrawnCase];
  const [first, second] = graph.edges as [GraphEdge, GraphEdge];
  t.notOk(schema.Check({ ...graph, verdict: 'fine' }));
  t.notOk(schema.Check({ ...graph, packet: 'x'.repeat(limits.drawingTextMax + 1) }));
  for (const edges of [[{ ...first, from: first.to, to: first.from }], [...graph.edges, { ...second, to: 'n999' }], []])
    t.notOk(isDrawable({ ...graph, edges }));
  t.notOk(isDrawable({ ...graph, lanes: graph.lanes.slice(1) }));
});

t.test('endpoints that are alike are drawn once', async (t) => {
  for (const [endpoints, more] of [
    [limits.drawingListMax - 1, 0],
    [limits.drawingListMax, 0],
    [limits.drawingListMax + 1, 1],
  ] as const) {
    const graph = graphed(traced(serviceNode({ endpoints }), 'src=198.51.100.0/24,dport=30080'));
    const translating = graph.nodes.filter((node) => node.kind === 'rule' && node.does === 'translates');
    t.match(translating, [{ rules: { more } }], `${endpoints} endpoints are one node`);
    t.equal(translating.length, 1);
    t.match(graph.nodes.at(-1), { kind: 'end', verdict: 'forward', targets: { more } });
    t.equal(graph.edges.length, graph.nodes.length - 1, 'one line');
  }
});

t.test('an endpoint with a rule of its own is drawn apart', async (t) => {
  const node = serviceNode({ endpoints: 10, filter: ['-A FORWARD -d 10.244.1.10/32 -p tcp -m tcp --dport 8002 -j DROP'] });
  const graph = graphed(traced(node, 'src=198.51.100.0/24,dport=30080'));
  const ends = graph.nodes.filter((each) => each.kind === 'end');
  t.match(ends, [
    { verdict: 'forward', share: 0.9 },
    { verdict: 'drop', share: 0.1, targets: { shown: [{ address: '10.244.1.10:8002' }] } },
  ]);
  t.match(
    graph.nodes.filter((each) => each.kind === 'rule' && each.decides),
    [{ owner: 'admin', share: 0.1 }],
  );
  const fork = graph.nodes.find(({ id }) => graph.edges.filter(({ from }) => from === id).length === 2);
  t.match(fork, { kind: 'chain', table: 'filter', chain: 'FORWARD' }, 'where the ways part');
  t.same(
    graph.edges.filter(({ from }) => from === fork?.id).map(({ weight }) => weight),
    [0.9, 0.1],
  );
});

t.test('a doubt stands on the edges that it decides between', async (t) => {
  const filter = ['-A FORWARD -p tcp -m tcp --dport 8000 -m limit --limit 10/sec -j ACCEPT', '-A FORWARD -j DROP'];
  const graph = graphed(traced(serviceNode({ endpoints: 1, filter }), 'src=198.51.100.7,dport=30080'));
  const doubtful = graph.edges.filter(({ unless }) => unless !== undefined);
  t.match(
    doubtful.map(({ weight, unless }) => ({ weight, matched: unless?.[0]?.matched, rule: unless?.[0]?.decider.rule })).sort((a) => (a.matched ? -1 : 1)),
    [
      { weight: 1, matched: true, rule: 1 },
      { weight: 1, matched: false, rule: 1 },
    ],
  );
  t.match(
    graph.nodes.filter(({ kind }) => kind === 'end').map((each) => each.kind === 'end' && each.unless.shown.length),
    [1, 1],
    'both ends depend on it',
  );
});

t.test('clients with a way of their own are named on its edge', async (t) => {
  const filter = ['-A FORWARD -s 203.0.113.0/24 -j REJECT --reject-with icmp-port-unreachable'];
  const graph = graphed(traced(serviceNode({ endpoints: 3, filter }), 'src=203.0.112.0/20,dport=30080'));
  const [most, some] = graph.edges.filter(({ sources }) => sources !== undefined);
  t.match(most, { most: true, weight: 1 });
  t.match(some, { sources: { shown: ['203.0.113.0/24'], more: 0 }, weight: 1 });
});

t.test('what is lost afterwards stands behind the end', async (t) => {
  const lost = (filter: readonly string[]) => graphed(traced(serviceNode({ endpoints: 2, filter }), 'src=198.51.100.0/24,dport=30080')).nodes.at(-1);
  t.match(lost(['-A FORWARD -p tcp -m tcp --sport 8000:8001 -j DROP']), {
    kind: 'loss',
    lost: 'reply',
    verdict: 'drop',
    deciders: { shown: [{ chain: 'FORWARD', rule: 1 }] },
  });
  t.match(lost(['-A FORWARD -m conntrack --ctstate ESTABLISHED -m tcp -p tcp --dport 8000:8001 -j DROP']), { kind: 'loss', lost: 'later', verdict: 'drop' });
});

t.test('jumps to chains where nothing matches are one node, unless the packet may have come to its end there', async (t) => {
  const filter = [
    '-A FORWARD -j EMPTY',
    '-A FORWARD -j OUTER',
    '-A OUTER -j INNER',
    '-A INNER -s 192.0.2.1/32 -j DROP',
    '-A FORWARD -j LAST',
    '-A LAST -j DROP',
    '-N EMPTY',
    'EMPTY -',
  ];
  const graph = graphed(traced(serviceNode({ endpoints: 1, filter }), 'src=198.51.100.7,dport=30080'));
  t.match(
    graph.nodes.filter(({ kind }) => kind === 'passed'),
    [{ jumps: { shown: [{ effect: '→ EMPTY' }, { effect: '→ OUTER' }, { effect: '→ INNER' }] } }],
  );
  t.ok(graph.nodes.some((node) => node.kind === 'rule' && node.rules.shown[0]?.effect === '→ LAST'));
});

t.test('limits: ways, steps, nodes, characters', async (t) => {
  const ways = (count: number) => Array.from({ length: count - 1 }, (_, index) => `-A FORWARD -s 198.51.${index}.0/24 -j DROP`);
  const drawn = (count: number): WalkGraph => graphed(traced(serviceNode({ endpoints: 2, filter: ways(count) }), 'src=198.51.0.0/16,dport=30080'));
  t.equal(drawn(limits.drawingWaysMax - 1).more, 0);
  t.equal(drawn(limits.drawingWaysMax).more, 0);
  t.equal(drawn(limits.drawingWaysMax + 1).more, 1, 'one way is left out and counted');

  const logs = (count: number) => Array.from({ length: count }, () => '-A FORWARD -j LOG');
  const long = (count: number): WalkGraph =>
    graphed(traced(serviceNode({ endpoints: 1, filter: [...logs(count), '-A FORWARD -j DROP'] }), 'src=198.51.100.7,dport=30080'));
  const steps = long(0).nodes.length - 1;
  t.notOk(long(limits.drawingStepsMax - steps).nodes.some(({ kind }) => kind === 'gap'));
  const cut = long(limits.drawingStepsMax - steps + 1);
  t.match(
    cut.nodes.find(({ kind }) => kind === 'gap'),
    { steps: 2 },
  );
  t.equal(cut.nodes.length - 1, limits.drawingStepsMax);
  t.match(cut.nodes.at(-2), { kind: 'rule', decides: true }, 'what decides is kept');
  t.ok(long(5_000).nodes.length <= limits.drawingStepsMax + 1);

  const comment = 'x'.repeat(10_000);
  const big = graphed(
    traced(
      serviceNode({ endpoints: 40, filter: logs(60).map((rule) => rule.replace('-j', `-m comment --comment "${comment}" -j`)) }),
      'src=198.51.100.7,dport=30080',
    ),
  );
  const texts = textsOf(big);
  t.ok(texts.every((text) => text.length <= limits.drawingTextMax));
  t.ok(texts.reduce((sum, { length }) => sum + length, 0) < limits.drawingCharactersMax * 1.5);
  t.ok(
    texts.some((text) => /x…" -j LOG$/.test(text)),
    'a comment is cut before what the rule does',
  );
  t.ok(big.nodes.length <= limits.drawingNodesMax);
});

t.test('one way alone', async (t) => {
  const { walked, packet } = traced(capturedNode('ipvs-healthy'), 'dport=30080');
  t.equal(graphOf(walked, packet).nodes.filter(({ kind }) => kind === 'end').length, 2);
  t.match(
    graphOf(walked, packet, 1).nodes.filter(({ kind }) => kind === 'end'),
    [{ verdict: 'reject' }],
  );
  t.match(
    graphOf(walked, packet, 2).nodes.filter(({ kind }) => kind === 'end'),
    [{ verdict: 'forward' }],
  );
});

function keyOf({ by, family, table, chain, rule, text }: Decider): string {
  return [by, family, table, chain, rule, text.slice(0, 200)].join(' ');
}

function decidersOf(node: GraphNode): readonly Decider[] {
  switch (node.kind) {
    case 'rule':
      return node.rules.shown.map(({ decider }) => decider);
    case 'policy':
      return [node.decider];
    case 'end':
    case 'loss':
      return node.deciders.shown;
    default:
      return [];
  }
}

function isCut(node: GraphNode): boolean {
  return (node.kind === 'rule' && node.rules.more > 0) || ((node.kind === 'end' || node.kind === 'loss') && node.deciders.more > 0);
}

/** Which edges of a fork one client takes, for some clients that the edges name and all sayings of the rules that they name. */
function worldsOf(fork: readonly GraphEdge[]): readonly ((edge: GraphEdge) => boolean)[] {
  const rules = [...new Set(fork.flatMap(({ unless = [] }) => unless.map(({ decider }) => keyOf(decider))))].slice(0, 5);
  const sayings = Array.from(
    { length: 2 ** rules.length },
    (_, bits) =>
      (rule: string): boolean =>
        ((bits >> rules.indexOf(rule)) & 1) === 1,
  );
  const clients = [...new Set(fork.flatMap(({ sources }) => sources?.shown.slice(0, 4) ?? []))].map(
    (text) => parseAddress(text.split('/')[0] as string)?.value as bigint,
  );
  const takes = (client: bigint | undefined, { sources }: GraphEdge): boolean =>
    sources === undefined || (client !== undefined && sources.shown.some((text) => contains(text, client)));
  return sayings.flatMap((says) =>
    [undefined, ...clients].map(
      (client) => (edge: GraphEdge) => takes(client, edge) && (edge.unless ?? []).every(({ decider, matched }) => says(keyOf(decider)) === matched),
    ),
  );
}

function contains(prefix: string, client: bigint): boolean {
  const interval = parsePrefix(prefix)?.interval;
  return interval !== undefined && interval.lo <= client && client <= interval.hi;
}

function textsOf(value: unknown): readonly string[] {
  return typeof value === 'string' ? [value] : typeof value === 'object' && value !== null ? Object.values(value).flatMap(textsOf) : [];
}
