// Lays out the drawing of a walk: hooks as bands from top to bottom, steps in rows, ways beside each other in columns, and lines that never cross a card.

import { cutTo, visible } from './visible.ts';
import { type Card, cardOf } from './walk.cards.ts';
import type { GraphEdge, GraphNode, Lane, WalkGraph } from './walk.graph.model.ts';
import { type Link, type Tracks, tracksOf } from './walk.tracks.ts';
import { edgeText } from './walk.words.ts';

export interface Layout {
  readonly width: number;
  readonly height: number;
  readonly bands: readonly Band[];
  readonly cards: readonly PlacedCard[];
  readonly lines: readonly Line[];
}

export interface Band {
  readonly lane: Lane;
  readonly y: number;
  readonly height: number;
  /** Middle of its first line of text. */
  readonly title: number;
}

export interface PlacedCard {
  readonly node: GraphNode;
  readonly card: Card;
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
  /** Where lines come in and leave, left of the card. */
  readonly rail: number;
  readonly dot: number;
}

/** The line of all edges from one node to another. */
export interface Line {
  readonly edges: readonly GraphEdge[];
  readonly points: readonly (readonly [number, number])[];
  readonly label: Label | undefined;
  readonly dashed: boolean;
}

export interface Label {
  readonly text: string;
  /** What does not fit. */
  readonly full: string;
  readonly x: number;
  readonly y: number;
}

/** Pixels. Texts are in a font of fixed width, of which no common one is wider than 0.602 of its size. */
export const measures = {
  margin: 12,
  gutter: 112,
  cardWide: 720,
  card: 500,
  rail: 12,
  railToCard: 16,
  padding: 8,
  lineHeight: 16,
  character: 7.23,
  columnGap: 18,
  rowGap: 8,
  jog: 9,
  labelHeight: 16,
  labelCharacter: 6.7,
  laneGap: 20,
  note: 24,
} as const;

/** The drawing of a graph in pixels. */
export function layoutOf(graph: WalkGraph): Layout {
  const tracks = tracksOf(graph);
  const labels = new Map(tracks.links.map((link) => [link, labelOf(graph, tracks, link)]));
  const columns = columnsOf(tracks, labels);
  const cards = graph.nodes.map((node) => {
    const column = columns[tracks.columns.get(node.id) as number] as Column;
    return { node, column, card: cardOf(node, Math.floor((column.card - 2 * measures.padding) / measures.character), graph) };
  });
  const heights = new Map(cards.map(({ node, card }) => [node.id, card.lines.length * measures.lineHeight + 2 * paddingOf(card)]));
  const rows = rowsOf(graph, tracks, { labels, heights });
  const placed = cards.map(({ node, column, card }): PlacedCard => {
    const y = (rows[tracks.rows.get(node.id) as number] as Row).y;
    const height = heights.get(node.id) as number;
    const dot = y + paddingOf(card) + measures.lineHeight / 2;
    return { node, card, x: column.rail + measures.railToCard, y, width: column.card, height, rail: column.rail, dot };
  });
  const last = columns.at(-1) as Column;
  return {
    width: Math.ceil(last.rail + Math.max(measures.railToCard + last.card, last.label) + measures.margin),
    height: Math.ceil(Math.max(...placed.map(({ y, height }) => y + height)) + measures.margin + (graph.more === 0 ? 0 : measures.note)),
    bands: bandsOf(graph, rows, placed),
    cards: placed,
    lines: tracks.links.map((link) => lineOf(link, tracks, { rows, columns, cards: placed, label: labels.get(link) ?? '' })),
  };
}

/** Above and below the lines of a card; chains have no frame. */
export const paddingOf = ({ tone }: Card): number => (tone === 'chain' || tone === 'quiet' || tone === 'client' ? 2 : measures.padding);

function labelOf({ nodes, edges }: WalkGraph, { links }: Tracks, { from, edges: own }: Link): string {
  const isFork = links.filter((link) => link.from === from).length > 1;
  if (!isFork) return '';
  const share = nodes.find(({ id }) => id === from)?.share ?? 1;
  return visible(edgeText(own, { share, edges: edges.filter((edge) => edge.from === from), nodes: new Map(nodes.map((node) => [node.id, node])) }));
}

/** A column of cards, or a narrow one where only lines run. */
interface Column {
  readonly rail: number;
  /** Width of its cards; 0 without any. */
  readonly card: number;
  /** Width that labels need, from the rail. */
  readonly label: number;
}

function columnsOf({ columns, via }: Tracks, labels: ReadonlyMap<Link, string>): readonly Column[] {
  const count = Math.max(...columns.values(), ...via.values()) + 1;
  const withCards = new Set(columns.values());
  const card = withCards.size === 1 ? measures.cardWide : measures.card;
  const made: Column[] = [];
  let x = measures.margin + measures.gutter;
  for (let column = 0; column < count; column++) {
    const own = [...via].filter(([, each]) => each === column).map(([link]) => (labels.get(link) ?? '').length);
    const label = withCards.has(column) ? 0 : measures.jog + Math.min(maxLabel, Math.max(0, ...own)) * measures.labelCharacter;
    made.push({ rail: x + measures.rail, card: withCards.has(column) ? card : 0, label });
    x += measures.rail + (withCards.has(column) ? measures.railToCard + card : label) + measures.columnGap;
  }
  return made;
}

/** Characters of a label in a column without cards. */
const maxLabel = 40;

interface Row {
  readonly y: number;
  /** Heights in the gap above at which lines turn, by the id of the node that they come from or lead to. */
  readonly forks: ReadonlyMap<string, number>;
  readonly merges: ReadonlyMap<string, number>;
  /** Base lines of the labels in the gap above. */
  readonly labels: ReadonlyMap<Link, number>;
  /** Where the band of a lane begins that begins with this row. */
  readonly band: number;
}

interface Sizes {
  readonly labels: ReadonlyMap<Link, string>;
  readonly heights: ReadonlyMap<string, number>;
}

function rowsOf({ nodes }: WalkGraph, tracks: Tracks, { labels, heights }: Sizes): readonly Row[] {
  const made: Row[] = [];
  const count = Math.max(...tracks.rows.values()) + 1;
  const inRow = (row: number): readonly GraphNode[] => nodes.filter(({ id }) => tracks.rows.get(id) === row);
  let y: number = measures.margin;
  for (let row = 0; row < count; row++) {
    const leaving = tracks.links.filter(({ from }) => tracks.rows.get(from) === row - 1);
    const arriving = tracks.links.filter(({ to }) => tracks.rows.get(to) === row);
    const forks = slots(
      leaving.filter((link) => tracks.via.get(link) !== tracks.columns.get(link.from)).map(({ from }) => from),
      y + measures.jog,
    );
    const labelLines = labelsIn(
      leaving.filter((link) => labels.get(link) !== ''),
      tracks,
      y + forks.size * measures.jog,
    );
    const band = labelLines.bottom + (row === 0 ? 0 : measures.rowGap / 2);
    const isFirst = row > 0 && inRow(row)[0]?.lane !== inRow(row - 1)[0]?.lane;
    const merges = slots(inTurn(arriving, tracks), band + (isFirst ? measures.laneGap / 2 : 0) + measures.jog);
    const top = band + (isFirst ? measures.laneGap / 2 : 0) + merges.size * measures.jog + (row === 0 ? 0 : measures.rowGap / 2);
    made.push({ y: top, forks, merges, labels: labelLines.at, band });
    const lastOfLane = row + 1 < count && inRow(row)[0]?.lane !== inRow(row + 1)[0]?.lane;
    y = top + Math.max(...inRow(row).map(({ id }) => heights.get(id) as number)) + (lastOfLane ? measures.laneGap / 2 : 0);
  }
  return made;
}

/** The labels of lines that go down stand beside each other; each that only goes over to another column has a line of its own. */
function labelsIn(links: readonly Link[], tracks: Tracks, top: number): { readonly at: ReadonlyMap<Link, number>; readonly bottom: number } {
  const [across, down] = [links.filter((link) => isAcross(link, tracks)), links.filter((link) => !isAcross(link, tracks))];
  const first = top + measures.labelHeight - 4;
  const below = down.length === 0 ? first : first + measures.labelHeight;
  const at = new Map([...down.map((link) => [link, first] as const), ...across.map((link, index) => [link, below + index * measures.labelHeight] as const)]);
  return { at, bottom: top + measures.labelHeight * (across.length + Math.min(1, down.length)) };
}

/** Whether a line only goes over to another column in the next row. */
const isAcross = (link: Link, { rows, columns, via }: Tracks): boolean =>
  rows.get(link.to) === (rows.get(link.from) as number) + 1 && via.get(link) === columns.get(link.from) && columns.get(link.from) !== columns.get(link.to);

/** Nodes that lines turn to above a row, first those that lines come to from columns where others turn in: what leaves a column does so before anything joins it. */
function inTurn(arriving: readonly Link[], tracks: Tracks): readonly string[] {
  const left = new Set(arriving.filter((link) => tracks.via.get(link) !== tracks.columns.get(link.to)).map(({ to }) => to));
  const order: string[] = [];
  while (left.size > 0) {
    const isFree = (id: string): boolean => !arriving.some((link) => link.to !== id && left.has(link.to) && tracks.via.get(link) === tracks.columns.get(id));
    const next = [...left].find(isFree) ?? ([...left][0] as string);
    order.push(next);
    left.delete(next);
  }
  return order;
}

const slots = (ids: readonly string[], top: number): ReadonlyMap<string, number> =>
  new Map([...new Set(ids)].map((id, index) => [id, top + index * measures.jog]));

function bandsOf({ lanes }: WalkGraph, rows: readonly Row[], cards: readonly PlacedCard[]): readonly Band[] {
  const bottom = Math.max(...cards.map(({ y, height }) => y + height)) + measures.margin;
  const starts = lanes.map((lane, index) => {
    const own = cards.filter(({ node }) => node.lane === lane.id);
    const y = Math.min(...own.map((card) => card.y));
    const band = index === 0 ? 0 : (rows.find((row) => row.y === y) as Row).band;
    return { lane, y: band, title: Math.min(...own.map(({ dot }) => dot)) };
  });
  return starts.map((start, index) => ({ ...start, height: (starts[index + 1]?.y ?? bottom) - start.y }));
}

interface LineContext {
  readonly rows: readonly Row[];
  readonly columns: readonly Column[];
  readonly cards: readonly PlacedCard[];
  readonly label: string;
}

/** Down from a card, over to the column it runs in, down, and over to the card it leads to. */
function lineOf(link: Link, tracks: Tracks, { rows, columns, cards, label }: LineContext): Line {
  const [start, end] = [link.from, link.to].map((id) => cards.find(({ node }) => node.id === id)) as [PlacedCard, PlacedCard];
  const column = columns[tracks.via.get(link) as number] as Column;
  const below = rows[(tracks.rows.get(link.from) as number) + 1] as Row;
  const points: [number, number][] = [[start.rail, start.dot]];
  if (column.rail !== start.rail) {
    const turn = below.forks.get(link.from) as number;
    points.push([start.rail, turn], [column.rail, turn]);
  }
  if (column.rail !== end.rail) {
    const turn = (rows[tracks.rows.get(link.to) as number] as Row).merges.get(link.to) as number;
    points.push([column.rail, turn], [end.rail, turn]);
  }
  points.push([end.rail, end.dot]);
  return {
    edges: link.edges,
    points,
    label:
      label === ''
        ? undefined
        : labelOn(label, isAcross(link, tracks) ? (columns[tracks.columns.get(link.to) as number] as Column) : column, below.labels.get(link) as number),
    dashed: link.edges.every(({ unless, weight }) => unless !== undefined || weight === 0),
  };
}

/** Right of the line, where that goes down. */
function labelOn(full: string, column: Column, y: number): Label {
  const text = cutTo(Math.floor((column.card === 0 ? column.label : column.card) / measures.labelCharacter), full);
  return { text, full, x: column.rail + measures.jog, y };
}
