// Gives each node of a drawing a row and a column, and each line a column to run in, so that no line runs through a card or along another.
import type { GraphEdge, WalkGraph } from './walk.graph.model.ts';

/** All edges from one node to another, drawn as one line. */
export interface Link {
  readonly from: string;
  readonly to: string;
  readonly edges: readonly GraphEdge[];
}

export interface Tracks {
  readonly links: readonly Link[];
  /** Rows by the ids of nodes, from 0. */
  readonly rows: ReadonlyMap<string, number>;
  readonly columns: ReadonlyMap<string, number>;
  /** The column that a link runs down in, between the row of its start and that of its end. */
  readonly via: ReadonlyMap<Link, number>;
}

/** Lays the ways of a graph beside each other: the most taken in column 0, what leaves it further down nearer to it. */
export function tracksOf(graph: WalkGraph): Tracks {
  const links = linksOf(graph);
  const rows = rowsOf(graph, links);
  const columns = new Map<string, number>();
  const via = new Map<Link, number>();
  const leaving = Map.groupBy(links, ({ from }) => from);
  const space = new Space();
  const row = (id: string): number => rows.get(id) as number;

  const lay = (first: Link | undefined, start: string): void => {
    const run: string[] = [];
    const taken = first === undefined ? [] : [first];
    let at: string | undefined = start;
    while (at !== undefined && !columns.has(at)) {
      run.push(at);
      const own: readonly Link[] = leaving.get(at) ?? [];
      const next: Link | undefined = own.find(({ to }) => !columns.has(to)) ?? own[0];
      if (next !== undefined) taken.push(next);
      at = next?.to;
    }
    const from = first === undefined ? -1 : row(first.from) + 0.5;
    const column = space.take(from, at === undefined ? row(run.at(-1) as string) : row(at) - 0.5);
    for (const id of run) columns.set(id, column);
    for (const link of taken) via.set(link, column);
  };

  const start = graph.nodes[0]?.id;
  if (start !== undefined) lay(undefined, start);
  for (;;) {
    const open = links.filter((link) => !via.has(link) && columns.has(link.from));
    const link = open.reduce<Link | undefined>((lowest, each) => (lowest === undefined || row(each.from) > row(lowest.from) ? each : lowest), undefined);
    if (link === undefined) return { links, rows, columns, via };
    if (!columns.has(link.to)) lay(link, link.to);
    else if (row(link.to) === row(link.from) + 1) via.set(link, columns.get(link.from) as number);
    else via.set(link, space.take(row(link.from) + 0.5, row(link.to) - 0.5));
  }
}

function linksOf({ edges }: WalkGraph): readonly Link[] {
  return [...Map.groupBy(edges, ({ from, to }) => `${from} ${to}`).values()].map((both) => {
    const [{ from, to }] = both as [GraphEdge, ...GraphEdge[]];
    return { from, to, edges: both };
  });
}

/** Lane after lane; within a lane a node stands below all that lead to it. */
function rowsOf({ lanes, nodes }: WalkGraph, links: readonly Link[]): ReadonlyMap<string, number> {
  const laneOf = new Map(nodes.map(({ id, lane }) => [id, lane]));
  const rows = new Map<string, number>();
  let top = 0;
  for (const { id: lane } of lanes) {
    let bottom = top;
    for (const { id } of nodes.filter((node) => node.lane === lane)) {
      const above = links.filter((link) => link.to === id && laneOf.get(link.from) === lane).map(({ from }) => rows.get(from) as number);
      const row = Math.max(top, ...above.map((each) => each + 1));
      rows.set(id, row);
      bottom = Math.max(bottom, row + 1);
    }
    top = bottom;
  }
  return rows;
}

/** Which parts of the columns are taken. Two lines in one column must not even touch: they would look like one. */
class Space {
  readonly #taken: { readonly from: number; readonly to: number }[][] = [];

  take(from: number, to: number): number {
    for (let column = 0; ; column++) {
      const own = (this.#taken[column] ??= []);
      if (own.some((each) => from <= each.to && each.from <= to)) continue;
      own.push({ from, to });
      return column;
    }
  }
}
