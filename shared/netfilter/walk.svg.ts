// Prints the drawing of a walk as SVG: one self-contained picture without script or font, for light and dark pages.

import { visible } from './visible.ts';
import type { Card, CardLine } from './walk.cards.ts';
import type { EndNode, GraphNode, LossNode, WalkGraph } from './walk.graph.model.ts';
import { type Band, type Layout, type Line, layoutOf, measures, type PlacedCard, paddingOf } from './walk.layout.ts';
import { endSentences, lossSentences, moreText, placed, verdictTitles } from './walk.words.ts';

export interface SvgOptions {
  /** Begins the ids of title and description, which must be unique in a page. */
  readonly id?: string;
  /** `page`: the colours come from a style sheet of the page, which holds `drawingStyle`; a page may forbid styles inside of pictures. */
  readonly style?: 'inside' | 'page';
}

/** The drawing of a graph as an SVG document of its own, which may also stand in an HTML page. */
export function walkSvg(graph: WalkGraph, { id = 'portreeve-walk', style = 'inside' }: SvgOptions = {}): string {
  const layout = layoutOf(graph);
  const { width, height } = layout;
  const name = escaped(id);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" class="portreeve-walk" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-labelledby="${name}-title ${name}-desc">`,
    `<title id="${name}-title">${shown(`${graph.packet}: ${graph.verdict}`)}</title>`,
    `<desc id="${name}-desc">${shown(describe(graph))}</desc>`,
    ...(style === 'inside' ? [`<style>${drawingStyle}</style>`] : []),
    `<rect class="ground" width="${width}" height="${height}" rx="8"/>`,
    ...layout.bands.map((band, index) => bandSvg(band, index, layout)),
    ...layout.lines.map(lineSvg),
    ...layout.cards.map((card) => cardSvg(card, graph)),
    ...layout.lines.flatMap(labelSvg),
    ...(graph.more === 0 ? [] : [noteSvg(moreText(graph.more), layout)]),
    '</svg>\n',
  ].join('\n');
}

/** The drawing in a few sentences, for those who do not see it. */
function describe({ lanes, nodes, more }: WalkGraph): string {
  const hooks = lanes.filter(({ kind }) => !['client', 'end', 'reply', 'later'].includes(kind)).map(({ title }) => title);
  const ends = nodes.flatMap((node) => {
    if (node.kind === 'end') return [`${verdictTitles[node.verdict]}: ${endSentences(node).join('; ')}.`];
    return node.kind === 'loss' ? [`${lossSentences(node).join(', ')}.`] : [];
  });
  const deciding = nodes.flatMap((node) =>
    node.kind === 'rule' && node.decides ? node.rules.shown.slice(0, 1).map(({ decider }) => `Decided by ${placed(decider)} (owner: ${node.owner}).`) : [],
  );
  return [`The packet passes ${hooks.join(', ')}.`, ...ends, ...deciding, ...(more === 0 ? [] : [`${moreText(more)}.`])].join(' ');
}

function bandSvg({ lane, y, height, title }: Band, index: number, { width }: Layout): string {
  const text = `<text class="lane" x="${measures.margin}" y="${title + 4}">${shown(lane.title)}</text>`;
  return `<rect class="band${index % 2 === 0 ? '' : ' odd'}" y="${y}" width="${width}" height="${height}"/>${text}`;
}

function lineSvg({ points, dashed }: Line): string {
  const path = points.map(([x, y], index) => `${index === 0 ? 'M' : 'L'}${x} ${y}`).join('');
  return `<path class="line${dashed ? ' doubt' : ''}" d="${path}"/>`;
}

function labelSvg({ label }: Line): readonly string[] {
  if (label === undefined) return [];
  const { text, full, x, y } = label;
  return [`<text class="label" x="${x}" y="${y}">${text === full ? '' : `<title>${escaped(full)}</title>`}${escaped(text)}</text>`];
}

const noteSvg = (text: string, { height }: Layout): string =>
  `<text class="label" x="${measures.margin + measures.gutter}" y="${height - measures.margin}">${escaped(text)}</text>`;

function cardSvg(placedCard: PlacedCard, graph: WalkGraph): string {
  const { node, card, x, y, width, height, rail, dot } = placedCard;
  const tone = toneOf(node, card, graph);
  const doubtful = (node.kind === 'end' && node.unless.shown.length > 0) || (node.kind === 'rule' && !node.certain);
  return [
    `<g class="step ${tone}"><title>${escaped(card.title)}</title>`,
    `<rect class="card${doubtful ? ' doubt' : ''}" x="${x}" y="${y}" width="${width}" height="${height}" rx="5"/>`,
    ...(card.tone === 'decides' ? [`<rect class="bar" x="${x}" y="${y}" width="4" height="${height}" rx="2"/>`] : []),
    ...card.lines.map((line, index) => textSvg(line, { x, y: y + paddingOf(card) + index * measures.lineHeight, width })),
    node.kind === 'end' || node.kind === 'loss' ? symbolSvg(node, { x: rail, y: dot }) : `<circle class="dot" cx="${rail}" cy="${dot}" r="4"/>`,
    '</g>',
  ].join('');
}

/** The class that gives a card its colour: that of the verdict at ends and where they are decided. */
function toneOf(node: GraphNode, { tone }: Card, { nodes, edges }: WalkGraph): string {
  if (node.kind === 'loss') return node.verdict === 'unknown' ? 'open' : 'bad';
  if (node.kind === 'end') return edges.some(({ from }) => from === node.id) ? 'passing' : verdictTones[node.verdict];
  if (tone !== 'decides') return tone;
  const next = nodes.find((each) => each.kind === 'end' && edges.some(({ from, to }) => from === node.id && to === each.id));
  return next?.kind === 'end' ? verdictTones[next.verdict] : 'bad';
}

const verdictTones: Readonly<Record<EndNode['verdict'], string>> = {
  forward: 'good',
  local: 'good',
  refused: 'warn',
  reject: 'warn',
  drop: 'bad',
  unknown: 'open',
};

interface TextPlace {
  readonly x: number;
  readonly y: number;
  readonly width: number;
}

/** Foreign scripts may be wider than we think: such a line is cut at the edge of its card. */
function textSvg({ left, right, look, rightLook }: CardLine, { x, y, width }: TextPlace): string {
  const base = measures.lineHeight - 4;
  const inner = width - 2 * measures.padding;
  const texts = [
    ...(left === '' ? [] : [`<text class="${look}" x="0" y="${base}">${escaped(left)}</text>`]),
    ...(right === '' ? [] : [`<text class="${rightLook}" x="${inner}" y="${base}" text-anchor="end">${escaped(right)}</text>`]),
  ].join('');
  if (/[^\x20-\x7e‘’…→◄]/.test(left + right))
    return `<svg x="${x + measures.padding}" y="${y}" width="${inner}" height="${measures.lineHeight}" overflow="hidden">${texts}</svg>`;
  return `<g transform="translate(${x + measures.padding} ${y})">${texts}</g>`;
}

/** Verdicts differ in shape as well as in colour. */
function symbolSvg(node: EndNode | LossNode, { x, y }: { readonly x: number; readonly y: number }): string {
  const kind = node.kind === 'loss' ? 'loss' : node.verdict;
  const { shape, mark } = symbols[kind];
  return `<g class="symbol" transform="translate(${x} ${y})"><path class="shape" d="${shape}"/><path class="sign" d="${mark}"/></g>`;
}

const cross = 'M-4-4L4 4M4-4L-4 4';
const check = 'M-5 0L-1.5 4L5-4';
const symbols: Readonly<Record<EndNode['verdict'] | 'loss', { readonly shape: string; readonly mark: string }>> = {
  forward: { shape: 'M0-11A11 11 0 1 1 0 11A11 11 0 1 1 0-11Z', mark: check },
  local: { shape: 'M-10-10H10V10H-10Z', mark: check },
  drop: { shape: 'M-4.5-11H4.5L11-4.5V4.5L4.5 11H-4.5L-11 4.5V-4.5Z', mark: cross },
  reject: { shape: 'M0-12L12 0L0 12L-12 0Z', mark: 'M-3-3L3 3M3-3L-3 3' },
  refused: { shape: 'M-6-10.5H6L12 0L6 10.5H-6L-12 0Z', mark: 'M-6 0H6' },
  unknown: { shape: 'M0-12L11.4-3.7L7 9.7H-7L-11.4-3.7Z', mark: 'M-3.5-3A3.5 3.5 0 1 1 0 1V2.5M0 5.5V6' },
  loss: { shape: 'M0-11L12 10H-12Z', mark: 'M0-4V3M0 6V6.6' },
};

const shown = (text: string): string => escaped(visible(text));
const escaped = (text: string): string => text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);

/** Colours of the light and the dark drawing; a page may set `--portreeve-NAME` for each. */
const colours: Readonly<Record<string, readonly [light: string, dark: string]>> = {
  ground: ['#ffffff', '#0d1117'],
  band: ['#f6f8fa', '#151b23'],
  card: ['#ffffff', '#1c2129'],
  edge: ['#d1d9e0', '#3d444d'],
  ink: ['#1f2328', '#e6edf3'],
  faint: ['#59636e', '#9198a1'],
  line: ['#818b98', '#7d8590'],
  bad: ['#cf222e', '#f85149'],
  'bad-ground': ['#ffebe9', '#3c1618'],
  warn: ['#bc4c00', '#e3853a'],
  'warn-ground': ['#fff1e5', '#3a2412'],
  good: ['#1a7f37', '#3fb950'],
  'good-ground': ['#dafbe1', '#12301b'],
  open: ['#8250df', '#b083f0'],
  'open-ground': ['#fbefff', '#2b1d42'],
  accent: ['#0969da', '#58a6ff'],
};

const colourList = (theme: 0 | 1): string =>
  Object.entries(colours)
    .map(([name, pair]) => `--c-${name}:var(--portreeve-${name},${pair[theme]})`)
    .join(';');

const tones = ['bad', 'warn', 'good', 'open'];

/** The style sheet of drawings. All of it concerns elements within `.portreeve-walk` alone. */
export const drawingStyle = [
  `.portreeve-walk{${colourList(0)};direction:ltr;max-width:100%;height:auto}`,
  `@media (prefers-color-scheme:dark){.portreeve-walk{${colourList(1)}}}`,
  '.portreeve-walk text{font:12px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono","Liberation Mono",monospace;fill:var(--c-ink);white-space:pre;direction:ltr}',
  '.portreeve-walk .strong{font-weight:600}',
  '.portreeve-walk .code,.portreeve-walk .faint{fill:var(--c-faint)}',
  '.portreeve-walk .lane{font:600 11px system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;fill:var(--c-faint)}',
  '.portreeve-walk .label{font-size:11px;fill:var(--c-accent)}',
  '.portreeve-walk .ground{fill:var(--c-ground)}',
  '.portreeve-walk .band{fill:var(--c-ground)}',
  '.portreeve-walk .band.odd{fill:var(--c-band)}',
  '.portreeve-walk .line{fill:none;stroke:var(--c-line);stroke-width:2;stroke-linejoin:round}',
  '.portreeve-walk .line.doubt,.portreeve-walk .card.doubt{stroke-dasharray:5 4}',
  '.portreeve-walk .card{fill:var(--c-card);stroke:var(--c-edge)}',
  '.portreeve-walk .dot{fill:var(--c-ground);stroke:var(--c-line);stroke-width:2}',
  '.portreeve-walk .client .dot,.portreeve-walk .chain .dot{fill:var(--c-line)}',
  '.portreeve-walk .chain .card,.portreeve-walk .quiet .card,.portreeve-walk .client .card{fill:none;stroke:none}',
  '.portreeve-walk .translates .card,.portreeve-walk .translates .dot{stroke:var(--c-accent)}',
  ...tones.flatMap((tone) => [
    `.portreeve-walk .${tone} .card{fill:var(--c-${tone}-ground);stroke:var(--c-${tone})}`,
    `.portreeve-walk .${tone} .mark{fill:var(--c-${tone});font-weight:600}`,
    `.portreeve-walk .${tone} .dot,.portreeve-walk .${tone} .bar,.portreeve-walk .${tone} .shape{fill:var(--c-${tone});stroke:var(--c-${tone})}`,
  ]),
  '.portreeve-walk .passing .shape{fill:var(--c-line)}',
  '.portreeve-walk .sign{fill:none;stroke:var(--c-ground);stroke-width:2.5;stroke-linecap:round}',
].join('\n');
