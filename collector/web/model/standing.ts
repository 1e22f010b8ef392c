// Where the cluster stands: one sentence, what it rests on, and what may make it wrong. Pure.
import type { Node, View } from '../../api/client.types.ts';
import type { Incident } from './incidents.ts';
import { countStates, countVerdicts, type Matrix } from './matrix.ts';

export interface Standing {
  readonly tone: 'bad' | 'warn' | 'open' | 'good';
  readonly title: string;
  /** What may make it wrong, a sentence each. */
  readonly cautions: readonly string[];
  readonly nodes: { readonly connected: number; readonly total: number };
  readonly cells: Node['nodePorts'];
  /** How long ago the one of all connected nodes that was heard longest ago was heard; undefined where that is not asked, or there is none. */
  readonly nodesAgeMs: number | undefined;
  readonly objectsAgeMs: number | undefined;
}

export interface Known {
  readonly matrix: Matrix;
  readonly view: View;
  /** The nodes in full; undefined where they are too many to be asked for all the time. */
  readonly nodes: readonly Node[] | undefined;
}

export function standingOf({ matrix, view, nodes = [] }: Known, incidents: readonly Incident[]): Standing {
  const cells = countStates(countVerdicts(matrix));
  const ages = nodes.flatMap(({ agent, viewAgeMs }) => (agent === 'connected' ? (viewAgeMs ?? []) : []));
  return {
    ...judged({ total: matrix.nodes.length, cells, incidents }),
    cautions: [...cautionsOf(view), ...awayOf(matrix), ...unreadOf(nodes)],
    nodes: { connected: matrix.agents.filter((agent) => agent === 'connected').length, total: matrix.nodes.length },
    cells,
    nodesAgeMs: ages.length === 0 ? undefined : Math.max(...ages),
    objectsAgeMs: view.objectsAgeMs ?? undefined,
  };
}

interface Judging {
  /** Nodes. */
  readonly total: number;
  readonly cells: Standing['cells'];
  readonly incidents: readonly Incident[];
}

function judged({ total, cells, incidents }: Judging): Pick<Standing, 'tone' | 'title'> {
  const [errors, warnings] = [incidents.filter(({ severity }) => severity === 'error'), incidents.filter(({ severity }) => severity === 'warning')];
  if (errors.length > 0) {
    const named = errors.reduce((sum, incident) => sum + incident.cells, 0);
    return {
      tone: 'bad',
      title: `${number(errors.length, 'fault')} ${errors.length === 1 ? 'shuts' : 'shut'} clients out of ${number(Math.max(cells.fault, named), 'NodePort')}`,
    };
  }
  if (total === 0) return { tone: 'open', title: 'No node is known yet' };
  if (cells.ok + cells.fault + cells['by-design'] + cells.pending + cells.unknown === 0) return { tone: 'open', title: 'No Service asks for a NodePort' };
  if (warnings.length > 0) return { tone: 'warn', title: `Every NodePort that is known answers; ${number(warnings.length, 'fault')} may yet shut clients out` };
  if (cells.unknown > 0) return { tone: 'open', title: `Nothing is known to be broken; of ${number(cells.unknown, 'NodePort')} nobody knows` };
  if (cells.pending > 0) return { tone: 'warn', title: `${number(cells.pending, 'NodePort')} ${cells.pending === 1 ? 'differs' : 'differ'} since a moment` };
  const byDesign = cells['by-design'];
  const others = byDesign === 0 ? '' : `; ${byDesign.toLocaleString('en')} by design ${byDesign === 1 ? 'does' : 'do'} not`;
  return { tone: 'good', title: `All ${number(cells.ok, 'NodePort')} on ${number(total, 'node')} answer${others}` };
}

const number = (count: number, name: string): string => `${count.toLocaleString('en')} ${count === 1 ? name : `${name}s`}`;

function cautionsOf({ stale, doubts, objectsAgeMs }: View): string[] {
  const old = stale ? [objectsAgeMs === null ? 'The objects of the cluster have not all been read.' : 'What is known of the cluster is old.'] : [];
  return [...old, ...doubts.map((doubt) => `${doubt}.`)];
}

function awayOf({ nodes, agents }: Matrix): string[] {
  const away = nodes.filter((_, index) => agents[index] !== 'connected');
  if (away.length === 0) return [];
  return [`${named(away)} ${away.length === 1 ? 'has' : 'have'} no agent that speaks: nothing is known of ${away.length === 1 ? 'it' : 'them'}.`];
}

function unreadOf(nodes: readonly Node[]): string[] {
  const failed = nodes.filter(({ failedSources }) => failedSources.length > 0).map(({ name }) => name);
  return failed.length === 0 ? [] : [`On ${named(failed)} not every source could be read: see Gaps.`];
}

const named = (names: readonly string[]): string =>
  names.length > 3 ? `${names.slice(0, 3).join(', ')} and ${(names.length - 3).toLocaleString('en')} more` : names.join(', ');
