// Where the cluster stands: one sentence, what it rests on, and what may make it wrong. Pure.
import type { Freshness } from '../../api/freshness.ts';
import type { NodeItem } from '../../api/views.ts';
import type { Incident } from './incidents.ts';

export interface Standing {
  readonly tone: 'bad' | 'warn' | 'open' | 'good';
  readonly title: string;
  /** What may make it wrong, a sentence each. */
  readonly cautions: readonly string[];
  readonly nodes: { readonly connected: number; readonly total: number };
  readonly cells: NodeItem['nodePorts'];
  /** The oldest that is known of a node that is connected; undefined without any. */
  readonly nodesAgeMs: number | undefined;
  readonly objectsAgeMs: number | undefined;
}

const states = ['ok', 'fault', 'by-design', 'pending', 'unknown'] as const;

export function standingOf({ items, view }: { readonly items: readonly NodeItem[]; readonly view: Freshness }, incidents: readonly Incident[]): Standing {
  const cells = Object.fromEntries(states.map((state) => [state, items.reduce((sum, { nodePorts }) => sum + nodePorts[state], 0)])) as Standing['cells'];
  const connected = items.filter(({ agent }) => agent === 'connected');
  const ages = connected.flatMap(({ viewAgeMs }) => viewAgeMs ?? []);
  return {
    ...judged({ items, cells, incidents }),
    cautions: cautionsOf(items, view),
    nodes: { connected: connected.length, total: items.length },
    cells,
    nodesAgeMs: ages.length === 0 ? undefined : Math.max(...ages),
    objectsAgeMs: view.objectsAgeMs ?? undefined,
  };
}

interface Judging {
  readonly items: readonly NodeItem[];
  readonly cells: Standing['cells'];
  readonly incidents: readonly Incident[];
}

function judged({ items, cells, incidents }: Judging): Pick<Standing, 'tone' | 'title'> {
  const [errors, warnings] = (['error', 'warning'] as const).map((severity) => incidents.filter((incident) => incident.severity === severity)) as [
    Incident[],
    Incident[],
  ];
  const total = states.reduce((sum, state) => sum + cells[state], 0);
  if (errors.length > 0) {
    const broken = Math.max(
      cells.fault,
      errors.reduce((sum, incident) => sum + incident.cells, 0),
    );
    return { tone: 'bad', title: `${faults(errors.length)} ${errors.length === 1 ? 'shuts' : 'shut'} clients out of ${number(broken, 'NodePort')}` };
  }
  if (items.length === 0) return { tone: 'open', title: 'No node is known yet' };
  if (total === 0) return { tone: 'open', title: 'No Service asks for a NodePort' };
  if (warnings.length > 0) return { tone: 'warn', title: `Every NodePort that is known answers; ${faults(warnings.length)} may yet shut clients out` };
  if (cells.unknown > 0) return { tone: 'open', title: `Nothing is known to be broken; of ${number(cells.unknown, 'NodePort')} nobody knows` };
  if (cells.pending > 0) return { tone: 'warn', title: `${number(cells.pending, 'NodePort')} ${cells.pending === 1 ? 'differs' : 'differ'} since a moment` };
  const byDesign = cells['by-design'] === 0 ? '' : `; ${cells['by-design'].toLocaleString('en')} by design ${cells['by-design'] === 1 ? 'does' : 'do'} not`;
  return {
    tone: 'good',
    title: `All ${number(cells.ok, 'NodePort')} on ${items.length === 1 ? '1 node' : `${items.length.toLocaleString('en')} nodes`} answer${byDesign}`,
  };
}

const faults = (count: number): string => `${count.toLocaleString('en')} ${count === 1 ? 'fault' : 'faults'}`;
const number = (count: number, name: string): string => `${count.toLocaleString('en')} ${count === 1 ? name : `${name}s`}`;

function cautionsOf(items: readonly NodeItem[], { stale, doubts, objectsAgeMs }: Freshness): string[] {
  const away = items.filter(({ agent }) => agent !== 'connected');
  const failed = items.filter(({ failedSources }) => failedSources.length > 0);
  return [
    ...(stale ? [objectsAgeMs === null ? 'The objects of the cluster have not all been read.' : 'What is known of the cluster is old.'] : []),
    ...doubts.map((doubt) => `${doubt}.`),
    ...(away.length === 0
      ? []
      : [`${named(away)} ${away.length === 1 ? 'has' : 'have'} no agent that speaks: nothing is known of ${away.length === 1 ? 'it' : 'them'}.`]),
    ...(failed.length === 0 ? [] : [`On ${named(failed)} not every source could be read.`]),
  ];
}

function named(items: readonly NodeItem[]): string {
  const names = items.slice(0, 3).map(({ name }) => name);
  return items.length > 3 ? `${names.join(', ')} and ${items.length - 3} more` : names.join(', ');
}
