// The drawing of a walk in Mermaid: only what this grammar knows is ever printed, so that no text of a rule can be read as more than text.
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { limits } from '../../../shared/limits.ts';
import { walkMermaid } from '../../../shared/netfilter/walk.mermaid.ts';
import { drawnCases, graphed, hostileText, randomWalks, serviceNode, traced, withTexts } from '../../support/drawn.ts';
import { golden } from '../../support/golden.ts';

const label = String.raw`"(?:[\p{L}\p{N}\p{M} .,:/()+='→◄…✓✕’·-]|#\d+;|<br/>)*"`;
const shapes = [
  String.raw`\(\[${label}\]\)`,
  String.raw`\[\[${label}\]\]`,
  String.raw`\[${label}\]`,
  String.raw`>${label}\]`,
  String.raw`\{\{${label}\}\}`,
  String.raw`\{${label}\}`,
];
const lines = [
  String.raw`  subgraph lane\d+\[${label}\]`,
  String.raw`    n\d+(?:${shapes.join('|')}):::(?:rule|quiet|translates|good|bad|open)`,
  '  end',
  String.raw`  n\d+ (?:-->|-\.->)(?:\|${label}\|)? n\d+`,
  String.raw`  more\[${label}\]`,
  '  classDef [a-z]+ [a-z0-9#:, -]+',
];
const line = new RegExp(`^(?:${lines.join('|')})$`, 'u');

/** What is wrong with a diagram, in words. */
function fault(text: string): string | undefined {
  const [init, head, ...rest] = text.trimEnd().split('\n');
  if (init !== '%%{init: {"flowchart": {"wrappingWidth": 720}}}%%' || head !== 'flowchart TB') return `${init}\n${head}`;
  const strange = rest.find((each) => !line.test(each));
  if (strange !== undefined) return strange;
  const depth = rest.reduce((open, each) => open + (each.startsWith('  subgraph ') ? 1 : each === '  end' ? -1 : 0), 0);
  const named = new Set(rest.flatMap((each) => /^ {4}(n\d+)/.exec(each)?.[1] ?? []));
  const lost = rest.flatMap((each) => /^ {2}(n\d+) \S+.* (n\d+)$/.exec(each)?.slice(1) ?? []).find((id) => !named.has(id));
  return depth === 0 ? lost : 'a lane is not closed';
}

const cases = drawnCases();

t.test('captures', async (t) => {
  for (const { name, graph } of cases) {
    const text = walkMermaid(graph);
    golden(t, join(import.meta.dirname, 'drawings', `${name}.mmd`), text);
    t.equal(fault(text), undefined);
  }
});

t.test('of any walk', async (t) => {
  const result = fc.check(
    fc.property(randomWalks, (walked) => fault(walkMermaid(graphed(walked))) === undefined),
    { numRuns: 100, seed: Number(process.env['SEED'] ?? 1) },
  );
  t.equal(result.failed, false, fc.defaultReportMessage(result)?.slice(-2000) ?? '');
});

t.test('whatever rules hold', async (t) => {
  const graph = cases.find(({ name }) => name === 'doubt-and-clients')?.graph;
  const result = fc.check(
    fc.property(fc.array(hostileText, { minLength: 1, maxLength: 6 }), (texts) => {
      const text = walkMermaid(withTexts(graph as NonNullable<typeof graph>, texts));
      const wrong = fault(text);
      if (wrong !== undefined) throw new Error(JSON.stringify(wrong));
      // Mermaid looks for these before it parses: they end a number of ours too early, or begin a directive.
      if (/(?<![a-z])(?:style|classDef|click)\b/i.test(text.replaceAll(/^ {2}classDef .*$/gm, ''))) throw new Error('a word of Mermaid');
      if (text.length > 50_000) throw new Error(`${text.length} characters`);
    }),
    { numRuns: 100, seed: Number(process.env['SEED'] ?? 1) },
  );
  t.equal(result.failed, false, String(result.errorInstance).slice(0, 500));
});

t.test('no longer than Mermaid takes', async (t) => {
  const filter = Array.from(
    { length: limits.drawingWaysMax },
    (_, index) => `-A FORWARD -s 198.51.${index}.0/24 -m comment --comment "${'<'.repeat(240)}" -j DROP`,
  );
  const text = walkMermaid(graphed(traced(serviceNode({ endpoints: 30, filter }), 'src=198.51.0.0/16,dport=30080')));
  t.ok(text.length <= limits.mermaidCharactersMax, String(text.length));
  t.equal(fault(text), undefined);
});
