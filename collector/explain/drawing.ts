// Draws the walk that an agent made of a packet on its live rules.
import { Compile } from 'typebox/compile';
import type { WalkGraph } from '../../shared/netfilter/walk.graph.model.ts';
import { isDrawable, walkGraph } from '../../shared/netfilter/walk.graph.schema.ts';
import { walkMermaid } from '../../shared/netfilter/walk.mermaid.ts';
import { walkSvg } from '../../shared/netfilter/walk.svg.ts';

/** `graph`: the drawing as data, for a page that draws it itself. */
export const drawingForms = ['svg', 'mermaid', 'graph'] as const;
export type DrawingForm = (typeof drawingForms)[number];

export interface Drawing {
  readonly form: DrawingForm;
  /** Who made the rule that decides, where somebody knows. */
  readonly actor?: string;
}

/** The drawing of what an agent answered to `trace`; undefined when that holds none that we understand. */
export function drawingOf(result: unknown, { form, actor }: Drawing): string | WalkGraph | undefined {
  const graph = (result as { readonly graph?: unknown } | undefined)?.graph;
  if (!schema.Check(graph) || !isDrawable(graph)) return undefined;
  const named = actor === undefined ? graph : withActor(graph, actor);
  return form === 'svg' ? walkSvg(named) : form === 'mermaid' ? walkMermaid(named) : named;
}

const schema = Compile(walkGraph);

function withActor(graph: WalkGraph, actor: string): WalkGraph {
  return { ...graph, nodes: graph.nodes.map((node) => ((node.kind === 'rule' || node.kind === 'policy') && node.decides ? { ...node, actor } : node)) };
}
