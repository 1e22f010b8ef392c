// The drawing of a walk as SVG: well-formed whatever rules hold, nothing overlapping, and as it was looked at in a browser.
import { join } from 'node:path';
import fc from 'fast-check';
import { SaxesParser } from 'saxes';
import t from 'tap';
import { limits } from '../../../shared/limits.ts';
import { columnsOf } from '../../../shared/netfilter/visible.ts';
import type { WalkGraph } from '../../../shared/netfilter/walk.graph.model.ts';
import { type Layout, type Line, layoutOf, measures, type PlacedCard } from '../../../shared/netfilter/walk.layout.ts';
import { drawingStyle, walkSvg } from '../../../shared/netfilter/walk.svg.ts';
import { type DrawnCase, drawnCases, graphed, hostileText, randomWalks, serviceNode, traced, withTexts } from '../../support/drawn.ts';
import { golden } from '../../support/golden.ts';

/** Elements of a drawing. */
const known = new Set(['svg', 'title', 'desc', 'style', 'rect', 'text', 'path', 'g', 'circle']);

const cases = drawnCases();

t.test('captures', async (t) => {
  for (const { name, graph } of cases) golden(t, join(import.meta.dirname, 'drawings', `${name}.svg`), walkSvg(graph));
});

t.test('well-formed, and without anything that runs, whatever rules hold', async () => {
  const [base] = cases.filter(({ name }) => name === 'doubt-and-clients');
  fc.assert(
    fc.property(fc.array(hostileText, { minLength: 1, maxLength: 6 }), (texts) => {
      const { elements, text } = parsed(walkSvg(withTexts((base as DrawnCase).graph, texts)));
      if ([...elements].some((name) => !known.has(name))) throw new Error([...elements].join());
      if (/[\p{Cc}\p{Cf}\p{Cs}]/u.test(text.replaceAll('\n', ''))) throw new Error('something unseen is shown');
    }),
    { numRuns: 80, seed: Number(process.env['SEED'] ?? 1) },
  );
});

t.test('comments that would be markup are text', async (t) => {
  const comment = '</title></svg><script>alert(1)</script>&amp;]]>';
  const node = serviceNode({ endpoints: 2, filter: [`-A FORWARD -p tcp -m comment --comment "${comment}" -m tcp --dport 8000:8001 -j DROP`] });
  const { text, elements } = parsed(walkSvg(graphed(traced(node, 'src=198.51.100.7,dport=30080'))));
  t.ok(text.includes(comment));
  t.notOk(elements.has('script'));
});

t.test('a long comment is cut and shown in full to those who point at it', async (t) => {
  const comment = `begin ${'x'.repeat(800)} end`;
  const node = serviceNode({ endpoints: 1, filter: [`-A FORWARD -m comment --comment "${comment}" -j DROP`] });
  const svg = walkSvg(graphed(traced(node, 'src=198.51.100.7,dport=30080')));
  t.match(svg, new RegExp(`<title>[^<]*${comment}`));
  t.match(svg, /x…&#34; -j DROP<\/text>/, 'what the rule does is still there');
});

t.test('nothing overlaps, and no line runs through a card or along another line', async (t) => {
  const result = fc.check(
    fc.property(randomWalks, (walked) => {
      const wrong = overlaps(layoutOf(graphed(walked)));
      if (wrong !== undefined) throw new Error(wrong);
    }),
    { numRuns: Number(process.env['RUNS'] ?? 120), seed: Number(process.env['SEED'] ?? 1) },
  );
  t.equal(result.failed, false, `${result.errorInstance} ${JSON.stringify(result.counterexamplePath)}`);
  for (const { name, graph } of cases) t.equal(overlaps(layoutOf(graph)), undefined, name);
});

t.test('text fits into its card', async (t) => {
  for (const { name, graph } of cases) {
    const wide = layoutOf(graph).cards.flatMap(({ card, width }) =>
      card.lines.filter(
        ({ left, right }) =>
          (columnsOf(left) + columnsOf(right) + (left !== '' && right !== '' ? 2 : 0)) * measures.character > width - 2 * measures.padding + 0.1,
      ),
    );
    t.same(wide, [], name);
  }
});

t.test('verdicts differ in shape, and doubt is dashed', async (t) => {
  const shapes = new Map<string, string>();
  for (const { graph } of cases) {
    for (const node of graph.nodes.filter(({ kind }) => kind === 'end')) {
      const alone = walkSvg({ ...graph, nodes: [node], edges: [], lanes: graph.lanes.filter(({ id }) => id === node.lane) });
      if (node.kind === 'end') shapes.set(node.verdict, /class="shape" d="([^"]*)"/.exec(alone)?.[1] ?? '');
    }
  }
  t.ok(shapes.size >= 4);
  t.equal(new Set(shapes.values()).size, shapes.size);
  const doubtful = cases.find(({ name }) => name === 'doubt-and-clients')?.graph as WalkGraph;
  t.match(walkSvg(doubtful), /class="line doubt"/);
  t.match(walkSvg(doubtful), /class="card doubt"/);
});

t.test('for those who do not see it, and for pages', async (t) => {
  const graph = graphed(traced(serviceNode({ endpoints: 2, filter: ['FORWARD DROP'] }), 'src=198.51.100.7,dport=30080'));
  const svg = walkSvg(graph, { id: 'walk-1' });
  t.match(
    svg,
    /^<svg [^>]*role="img" aria-labelledby="walk-1-title walk-1-desc">\n<title id="walk-1-title">external: 198\.51\.100\.7 → 10\.9\.0\.1:30080\/tcp: drop<\/title>\n<desc id="walk-1-desc">The packet passes PREROUTING, ROUTING, FORWARD\. DROPPED:/,
  );
  t.ok(svg.includes(`<style>${drawingStyle}</style>`));
  t.notMatch(walkSvg(graph, { style: 'page' }), /<style>/);
  t.ok(
    drawingStyle.split('\n').every((rule) => rule.includes('.portreeve-walk')),
    'the style touches nothing else of a page',
  );
  t.notMatch(svg, /(?:href|src|url\(|@import|@font-face)/, 'self-contained');
  t.equal(walkSvg(graph, { id: '"><x' }).includes('<x'), false);
});

t.test('too many ways are counted', async (t) => {
  const filter = Array.from({ length: limits.drawingWaysMax + 2 }, (_, index) => `-A FORWARD -s 198.51.${index}.0/24 -j DROP`);
  const svg = walkSvg(graphed(traced(serviceNode({ endpoints: 1, filter }), 'src=198.51.0.0/16,dport=30080')));
  t.match(svg, /… and 3 more ways that are not drawn<\/text>/);
  parsed(svg);
});

function parsed(svg: string): { readonly elements: ReadonlySet<string>; readonly text: string } {
  const elements = new Set<string>();
  const texts: string[] = [];
  const parser = new SaxesParser({ xmlns: true });
  parser.on('error', (error) => {
    throw error;
  });
  parser.on('opentag', ({ name, attributes }) => {
    elements.add(name);
    const bad = Object.keys(attributes).find((attribute) => /^on/i.test(attribute));
    if (bad !== undefined) throw new Error(`attribute ${bad}`);
  });
  parser.on('text', (text) => texts.push(text));
  parser.write(svg).close();
  return { elements, text: texts.join('') };
}

/** The first thing that overlaps, in words. */
function overlaps({ cards, lines, width, height }: Layout): string | undefined {
  for (const [index, card] of cards.entries()) {
    if (card.x + card.width > width || card.y + card.height > height) return `${card.node.id} is outside`;
    const other = cards.slice(index + 1).find((each) => meet(card, each));
    if (other !== undefined) return `${card.node.id} and ${other.node.id}`;
  }
  const segments = lines.flatMap((line) => segmentsOf(line));
  for (const segment of segments) {
    const crossed = cards.find((card) => crosses(segment, card));
    if (crossed !== undefined) return `a line through ${crossed.node.id}`;
    const along = segments.find((other) => isAlong(segment, other));
    if (along !== undefined) return `two lines along each other: ${JSON.stringify([segment.ends, along.ends])}`;
  }
  const labels = lines.flatMap(({ label }) => (label === undefined ? [] : [{ ...label, box: boxOf(label) }]));
  for (const [index, { text, box }] of labels.entries()) {
    if (cards.some((card) => meet(card, box))) return `label ${text} over a card`;
    const other = labels.slice(index + 1).find((each) => meet(box, each.box));
    if (other !== undefined) return `labels ${text} and ${other.text}`;
  }
  return undefined;
}

type Box = Pick<PlacedCard, 'x' | 'y' | 'width' | 'height'>;

function meet(a: Box, b: Box): boolean {
  return a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;
}

function boxOf({ text, x, y }: NonNullable<Line['label']>): Box {
  return { x, y: y - 10, width: columnsOf(text) * measures.labelCharacter, height: 12 };
}

interface Segment {
  readonly ends: readonly [number, number, number, number];
  readonly ids: readonly string[];
}

function segmentsOf({ points, edges }: Line): readonly Segment[] {
  const ids = [edges[0]?.from ?? '', edges[0]?.to ?? ''];
  return points.slice(1).map(([x, y], index) => {
    const [fromX, fromY] = points[index] as [number, number];
    return { ids, ends: [Math.min(x, fromX), Math.min(y, fromY), Math.max(x, fromX), Math.max(y, fromY)] };
  });
}

/** Through the frame of a card, or through the dot of one that the line does not belong to. */
function crosses({ ends: [left, top, right, bottom], ids }: Segment, card: PlacedCard): boolean {
  const frame = left < card.x + card.width && card.x < right + 0.1 && top < card.y + card.height && card.y < bottom;
  const dot = !ids.includes(card.node.id) && left <= card.rail && card.rail <= right && top <= card.dot && card.dot <= bottom;
  return (frame && right >= card.x) || dot;
}

/** On the same straight for a while, and of different nodes at both ends. */
function isAlong(a: Segment, b: Segment): boolean {
  if (a === b || a.ids[0] === b.ids[0] || a.ids[1] === b.ids[1]) return false;
  const [left, top, right, bottom] = a.ends;
  const [otherLeft, otherTop, otherRight, otherBottom] = b.ends;
  const upright = left === right && otherLeft === otherRight && left === otherLeft && Math.min(bottom, otherBottom) - Math.max(top, otherTop) > 0.5;
  const level = top === bottom && otherTop === otherBottom && top === otherTop && Math.min(right, otherRight) - Math.max(left, otherLeft) > 0.5;
  return upright || level;
}
