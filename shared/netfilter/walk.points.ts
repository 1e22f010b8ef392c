// Folds the ways of a walk into one net of points: what ways have in common from the start is one line, and so is what they have in common up to the end.
import type { Station } from './packet.ts';
import type { Branch } from './walk.ts';
import type { Way, WayStep } from './walk.ways.ts';

/** A step of one or several ways. */
export interface Point {
  readonly what: 'client' | 'station' | 'passed' | 'gap' | 'end' | 'loss';
  readonly lane: string;
  readonly key: string;
  /** Steps that a gap stands for. */
  readonly steps: number;
  /** Each branch that passes, with what it met. */
  readonly visits: Visit[];
  readonly next: Map<string, Point>;
}

export interface Visit {
  readonly branch: number;
  readonly met: readonly Station[];
}

/** One step of the net with the branches that take it. */
export interface PointStep {
  readonly from: Point;
  readonly to: Point;
  /** The branches, and how many of their assumptions they have made at its end. */
  readonly taken: ReadonlyMap<number, number>;
}

export interface Net {
  /** No step leads to a point before it. */
  readonly points: readonly Point[];
  readonly steps: readonly PointStep[];
  /** `client`, hooks and `routing` as `HOOK` or, where a way comes by again, `HOOK 2`; `end`, `reply`, `later`. */
  readonly lanes: readonly string[];
}

/** Makes the net of some ways, the most important first. Of a way of more than `stepsMax` steps the middle is left out. */
export function netOf(ways: readonly Way[], branches: readonly Branch[], stepsMax: number): Net {
  const hooks: string[] = [];
  const paths = ways.map((way) => ({ way, path: pathOf(way, branches, hooks) })).map(({ way, path }) => ({ way, path: shortened(path, stepsMax) }));
  const start = pointOf({ what: 'client', lane: 'client', key: 'client' });
  for (const { way, path } of paths) addPath(start, path, way);
  const first = joined(start, new Map());
  const lanes = ['client', ...hooks, 'end', 'reply', 'later'];
  const steps = stepsOf(first, paths);
  return { points: inOrder([first, ...steps.map(({ to }) => to)], steps, lanes), steps, lanes };
}

type PathStep = Pick<Point, 'what' | 'lane' | 'key'> & { readonly steps?: number; readonly met?: WayStep['met']; readonly assumed: readonly number[] };

const pointOf = (step: Omit<PathStep, 'assumed'>): Point => ({
  what: step.what,
  lane: step.lane,
  key: step.key,
  steps: step.steps ?? 0,
  visits: [],
  next: new Map(),
});

/** The way as steps in lanes, from the first station to its end and to what is lost afterwards. */
function pathOf(way: Way, branches: readonly Branch[], hooks: string[]): readonly PathStep[] {
  const { outcome } = branches[way.branches[0] as number] as Branch;
  const lanes = lanesOf(way, hooks);
  const steps = way.steps.map(
    ({ key, met, passed, assumed }, index): PathStep => ({ what: passed ? 'passed' : 'station', lane: lanes[index] as string, key, met, assumed }),
  );
  const assumed = way.branches.map((index) => (branches[index] as Branch).assumptions.length);
  const lost = outcome.reply !== undefined ? 'reply' : outcome.later !== undefined ? 'later' : undefined;
  return [
    ...steps,
    { what: 'end', lane: 'end', key: way.end, assumed },
    ...(lost === undefined ? [] : [{ what: 'loss' as const, lane: lost, key: way.end, assumed }]),
  ];
}

/** Puts the hooks of a way into the list of lanes, in an order that agrees with that of the ways before. */
function lanesOf({ steps }: Way, lanes: string[]): readonly string[] {
  let at = -1;
  return steps.map(({ hook }, index) => {
    if (index > 0 && steps[index - 1]?.hook === hook) return lanes[at] as string;
    const next = lanes.findIndex((lane, place) => place > at && hookOfLane(lane) === hook);
    if (next >= 0) at = next;
    else {
      const before = lanes.filter((lane) => hookOfLane(lane) === hook).length;
      lanes.splice(++at, 0, before === 0 ? hook : `${hook} ${before + 1}`);
    }
    return lanes[at] as string;
  });
}

/** The hook of a lane, or what else it is. */
export const hookOfLane = (lane: string): string => lane.split(' ')[0] as string;

/** A way of too many steps without its middle: it is decided near the end. */
function shortened(path: readonly PathStep[], most: number): readonly PathStep[] {
  const over = path.length - most;
  if (over <= 0) return path;
  const kept = Math.floor(most / 2);
  const last = path[kept - 1] as PathStep;
  const { assumed } = path[kept + over] as PathStep;
  const gap: PathStep = { what: 'gap', lane: last.lane, key: `gap ${over + 1}`, steps: over + 1, assumed };
  return [...path.slice(0, kept), gap, ...path.slice(kept + over + 1)];
}

const keyInLane = ({ what, lane, key }: Pick<Point, 'what' | 'lane' | 'key'>): string => `${what} ${lane}\n${key}`;

function addPath(start: Point, path: readonly PathStep[], { branches }: Way): void {
  let at = start;
  visit(at, branches);
  for (const step of path) {
    const key = keyInLane(step);
    const next = at.next.get(key) ?? pointOf(step);
    at.next.set(key, next);
    visit(next, branches, step.met);
    at = next;
  }
}

const visit = (point: Point, branches: readonly number[], met: WayStep['met'] = []): void => {
  for (const [index, branch] of branches.entries()) point.visits.push({ branch, met: met[index] ?? [] });
};

/** Makes one point of those that go on alike to the end. */
function joined(point: Point, known: Map<string, Point>, numbers = new Map<Point, number>()): Point {
  const next = new Map([...point.next].map(([key, each]) => [key, joined(each, known, numbers)] as const));
  const after = [...next.values()].map((each) => numbers.get(each) as number).sort((a, b) => a - b);
  const key = `${keyInLane(point)}\n${after.join()}`;
  const same = known.get(key);
  if (same !== undefined) {
    same.visits.push(...point.visits);
    return same;
  }
  const made = { ...point, next };
  known.set(key, made);
  numbers.set(made, numbers.size);
  return made;
}

function stepsOf(start: Point, paths: readonly { readonly way: Way; readonly path: readonly PathStep[] }[]): readonly PointStep[] {
  const found = new Map<Point, Map<Point, Map<number, number>>>();
  for (const { way, path } of paths) {
    let from = start;
    for (const step of path) {
      const to = from.next.get(keyInLane(step)) as Point;
      const targets = found.get(from) ?? new Map<Point, Map<number, number>>();
      const taken = targets.get(to) ?? new Map<number, number>();
      for (const [index, branch] of way.branches.entries()) taken.set(branch, step.assumed[index] as number);
      found.set(from, targets.set(to, taken));
      from = to;
    }
  }
  return [...found].flatMap(([from, targets]) => [...targets].map(([to, taken]) => ({ from, to, taken })));
}

/** Lane by lane, and within a lane the points after those that lead to them. */
function inOrder(found: readonly Point[], steps: readonly PointStep[], lanes: readonly string[]): readonly Point[] {
  const points = [...new Set(found)];
  const before = Map.groupBy(steps, ({ to }) => to);
  const ranks = new Map<Point, number>();
  const rankOf = (point: Point): number => {
    const known = ranks.get(point);
    if (known !== undefined) return known;
    const inLane = (before.get(point) ?? []).filter(({ from }) => from.lane === point.lane).map(({ from }) => rankOf(from) + 1);
    const rank = Math.max(0, ...inLane);
    ranks.set(point, rank);
    return rank;
  };
  return points.sort((a, b) => lanes.indexOf(a.lane) - lanes.indexOf(b.lane) || rankOf(a) - rankOf(b));
}
