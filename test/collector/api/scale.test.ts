// What must not grow with the cluster: series of the metrics do not, and a row of the matrix takes bytes by what differs, not by NodePorts.
import t from 'tap';
import { metricsText } from '../../../collector/api/metrics.ts';
import { Telemetry } from '../../../collector/api/telemetry.ts';
import { VerdictBook } from '../../../collector/api/verdict-book.ts';
import { catalogue } from '../../../collector/causes/catalogue.ts';
import { CollectorState, type NodeView } from '../../../collector/state/state.ts';
import type { Fact } from '../../../shared/model/fact.ts';
import type { Finding } from '../../../shared/model/finding.ts';
import { factsInStep, largeCluster, nodeName } from '../../bench/large-cluster.ts';

function measured(nodes: number, services: number, perNode = false) {
  const objects = largeCluster({ nodes, services, endpoints: 2 });
  const state = new CollectorState({ graceMs: 0 });
  const book = new VerdictBook({ state, store: { appendVerdicts: async () => undefined }, onError: () => undefined });
  state.setObjects(objects);
  for (let index = 0; index < nodes; index++) {
    const name = nodeName(index);
    state.connect(name, { session: 's', version: '1', bootId: 'b', stream: 'x', capabilities: [], clockOffsetMs: 0 });
    const sources = Array.from({ length: 25 }, (_, each): Fact => ({ kind: 'source', key: `source/s${each}`, source: `s${each}`, outcome: 'facts' }));
    const facts = [...sources, ...factsInStep(index, state.node(name)?.expectations ?? [], objects)];
    state.setFacts(name, new Map(facts.map((fact) => [fact.key, fact])));
    state.settle(name);
  }
  // The worst that could be: every cause in every severity on every node.
  const findings = catalogue.flatMap(({ id }) => (['error', 'warning', 'info'] as const).map((severity) => ({ cause: id, severity }) as Finding));
  const views = state.nodes.map(
    ({ name, connected, facts, expectations, drifts }): NodeView => ({
      name,
      connected,
      facts,
      expectations,
      drifts,
      pending: [],
      findings,
      heardAt: Date.now(),
    }),
  );
  const telemetry = new Telemetry(state);
  const matrix = book.matrix();
  const text = metricsText({
    version: '1',
    nodes: views,
    matrix,
    changesTotal: 0,
    objectIssues: 0,
    kinds: [],
    latency: state.latency.total,
    graceMs: 0,
    queues: { store: 0 },
    diagnosisMs: 0,
    telemetry,
    notifications: [],
    perNode,
    now: Date.now(),
  });
  telemetry.close();
  state.close();
  void book.close();
  return { series: text.split('\n').filter((line) => line !== '' && !line.startsWith('#')).length, matrix, text };
}

t.test('the number of series is that of a small cluster, and below 2,000 at its worst', async (t) => {
  const [small, large] = [measured(3, 5), measured(120, 40)];
  t.equal(large.series, small.series);
  t.ok(large.series < 2_000, `${large.series} series`);
  t.equal(measured(120, 5, true).series, small.series + 2 * 120, 'two a node where they are asked for');
  t.match(large.text, /portreeve_nodeports\{state="ok"\} [1-9]/);
});

t.test('a row is short', async (t) => {
  const { matrix } = measured(4, 1_000);
  t.equal(matrix.columns.length, 1_000);
  for (const { codes } of matrix.rows) t.ok(codes.length < 600, `${codes.length} bytes`);
});
