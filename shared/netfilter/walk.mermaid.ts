// Prints the drawing of a walk in Mermaid, for wikis, tickets and chats that draw it. Texts of a foreign hand cannot break its syntax.
import { limits } from '../limits.ts';
import { cutTo, visible } from './visible.ts';
import { cardOf } from './walk.cards.ts';
import type { GraphEdge, GraphNode, WalkGraph } from './walk.graph.model.ts';
import { edgeText, moreText } from './walk.words.ts';

/** The drawing of a graph as a Mermaid flowchart. Where all texts together would be more than Mermaid takes, each is cut. */
export function walkMermaid(graph: WalkGraph): string {
  for (const columns of [72, 48, 24]) {
    const text = flowchart(graph, columns);
    if (text.length <= limits.mermaidCharactersMax) return text;
  }
  return flowchart(graph, 8);
}

function flowchart(graph: WalkGraph, columns: number): string {
  const { lanes, nodes, edges, more } = graph;
  const links = [...Map.groupBy(edges, ({ from, to }) => `${from} ${to}`).values()];
  return [
    // Lines are broken here already.
    '%%{init: {"flowchart": {"wrappingWidth": 720}}}%%',
    'flowchart TB',
    ...lanes.flatMap(({ id, title }, index) => [
      `  subgraph lane${index}["${escaped(title)}"]`,
      ...nodes.filter(({ lane }) => lane === id).map((node) => `    ${nodeText(node, columns, graph)}`),
      '  end',
    ]),
    ...links.map((own) => `  ${linkText(own, columns, graph)}`),
    ...(more === 0 ? [] : [`  more["${escaped(moreText(more))}"]`]),
    ...Object.entries(classes).map(([name, style]) => `  classDef ${name} ${style}`),
    '',
  ].join('\n');
}

function nodeText(node: GraphNode, columns: number, graph: WalkGraph): string {
  const { lines, tone } = cardOf(node, columns, graph);
  const text = lines.map(({ left, right }) => escaped([left, right].filter((part) => part !== '').join(' · '))).join('<br/>');
  const [open, close] = shapeOf(node);
  const sign = node.kind === 'end' ? `${signs[node.verdict]} ` : node.kind === 'loss' ? '! ' : '';
  return `${node.id}${open}"${escaped(sign)}${text}"${close}:::${classOf(node, tone)}`;
}

/** Verdicts differ in shape as well as in colour. */
function shapeOf(node: GraphNode): readonly [string, string] {
  if (node.kind === 'client') return ['([', '])'];
  if (node.kind === 'chain') return ['[[', ']]'];
  if (node.kind === 'loss') return ['>', ']'];
  if (node.kind !== 'end') return ['[', ']'];
  if (node.verdict === 'forward' || node.verdict === 'local') return ['([', '])'];
  return node.verdict === 'unknown' ? ['{', '}'] : ['{{', '}}'];
}

const signs = { forward: '✓', local: '✓', drop: '✕', reject: '✕', refused: '✕', unknown: '?' } as const;

function classOf(node: GraphNode, tone: string): string {
  if (node.kind === 'loss') return 'bad';
  if (node.kind === 'end') return node.verdict === 'forward' || node.verdict === 'local' ? 'good' : node.verdict === 'unknown' ? 'open' : 'bad';
  return tone === 'decides' ? 'bad' : tone === 'translates' ? 'translates' : tone === 'rule' ? 'rule' : 'quiet';
}

const classes: Readonly<Record<string, string>> = {
  rule: 'fill:#ffffff,stroke:#818b98,color:#1f2328',
  quiet: 'fill:#f6f8fa,stroke:#d1d9e0,color:#59636e',
  translates: 'fill:#ddf4ff,stroke:#0969da,color:#1f2328',
  good: 'fill:#dafbe1,stroke:#1a7f37,color:#1f2328,stroke-width:2px',
  bad: 'fill:#ffebe9,stroke:#cf222e,color:#1f2328,stroke-width:3px',
  open: 'fill:#fbefff,stroke:#8250df,color:#1f2328,stroke-dasharray:5 4',
};

function linkText(own: readonly GraphEdge[], columns: number, { nodes, edges }: WalkGraph): string {
  const [{ from, to }] = own as [GraphEdge, ...GraphEdge[]];
  const leaving = edges.filter((edge) => edge.from === from);
  const share = nodes.find(({ id }) => id === from)?.share ?? 1;
  const isFork = leaving.some((edge) => edge.to !== to);
  const label = isFork ? edgeText(own, { share, edges: leaving, nodes: new Map(nodes.map((node) => [node.id, node])) }) : '';
  const arrow = own.every(({ unless, weight }) => unless !== undefined || weight === 0) ? '-.->' : '-->';
  return `${from} ${arrow}${label === '' ? '' : `|"${escaped(cutTo(columns, visible(label)))}"|`} ${to}`;
}

/**
 * What has a meaning in Mermaid, in the Markdown of its labels or in HTML is written as the number of its character. The words that Mermaid looks for before it
 * parses anything lose their first letter the same way.
 */
const escaped = (text: string): string =>
  text.replace(/[^\p{L}\p{N}\p{M} .,:/()+='→◄…✓✕’·-]|(?<=^|\s)-(?=\s)|\b[sc](?=tyle|lassDef|lick)/gu, (character) => `#${character.codePointAt(0)};`);
