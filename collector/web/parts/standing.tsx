// Where the cluster stands, in one sentence and four figures, with the age of what it rests on.
import { useMemo } from 'preact/hooks';
import type { NodeItem } from '../data/types.ts';
import type { Incident } from '../model/incidents.ts';
import { type Standing as Judged, type Known, standingOf } from '../model/standing.ts';
import { durationText } from '../model/time.ts';
import { useClock } from '../shell/clock.ts';
import { Link, usePlace } from '../shell/location.tsx';
import { VerdictMark } from './marks.tsx';

interface StandingProps {
  readonly known: Known;
  readonly incidents: readonly Incident[];
}

export function Standing({ known, incidents }: StandingProps) {
  const { at } = usePlace();
  const now = useClock(1_000);
  const standing = useMemo(() => standingOf(known, incidents), [known.matrix, known.view, known.nodes, incidents]);
  // Ages grow from the moment on at which they were told.
  const told = useMemo(() => Date.now(), [known.view, known.nodes]);
  return (
    <section class={`standing is-${standing.tone}`} aria-labelledby="standing">
      <div class="standing-said">
        <VerdictMark verdict={marks[standing.tone]} size={34} label="" />
        <div>
          <h1 id="standing">{standing.title}</h1>
          <p>{at === undefined ? ageText(standing, now - told) : 'From the history: what was believed then.'}</p>
          {standing.cautions.map((text) => (
            <p key={text} class="caution">
              {text}
            </p>
          ))}
        </div>
      </div>
      <Figures standing={standing} />
    </section>
  );
}

const marks = { bad: 'timeout', warn: 'warning', open: 'unknown', good: 'ok' } as const;

/** All green says so with the age of the data. */
function ageText({ nodesAgeMs, objectsAgeMs }: Judged, sinceToldMs: number): string {
  const age = (ms: number): string => `${durationText(ms + Math.max(0, sinceToldMs))} old`;
  const nodes = nodesAgeMs === undefined ? 'What connected nodes do is told at once' : `What nodes do is ${age(nodesAgeMs)} at most`;
  return `${nodes} · what the cluster asks for is ${objectsAgeMs === undefined ? 'not known yet' : age(objectsAgeMs)}`;
}

function Figures({ standing: { nodes, cells } }: { readonly standing: Judged }) {
  const total = cells.ok + cells.fault + cells.pending + cells.unknown + cells['by-design'];
  return (
    <dl class="figures">
      <div>
        <dt>Agents</dt>
        <dd>
          <Link to={{ view: 'nodes' }}>
            {nodes.connected.toLocaleString('en')}
            <span class="quiet"> of {nodes.total.toLocaleString('en')}</span>
          </Link>
        </dd>
      </div>
      <div class="figure-cells">
        <dt>NodePorts on nodes</dt>
        <dd>
          <Link to={{ view: 'chart' }}>{total.toLocaleString('en')}</Link>
          <CellBar cells={cells} />
        </dd>
      </div>
    </dl>
  );
}

const bars = [
  { state: 'fault', name: 'broken' },
  { state: 'unknown', name: 'not known' },
  { state: 'pending', name: 'drifting' },
  { state: 'by-design', name: 'by design' },
  { state: 'ok', name: 'answer' },
] as const;

/** The states of NodePorts as parts of a bar, each with its number beneath. */
export function CellBar({ cells }: { readonly cells: NodeItem['nodePorts'] }) {
  const present = bars.filter(({ state }) => cells[state] > 0);
  return (
    <>
      <span class="cell-bar" aria-hidden="true">
        {present.map(({ state }) => (
          <span key={state} class={`bar-${state}`} style={{ flexGrow: cells[state] }} />
        ))}
      </span>
      <span class="cell-numbers">
        {present.map(({ state, name }) => (
          <span key={state} class={`number-${state}`}>
            {cells[state].toLocaleString('en')} {name}
          </span>
        ))}
      </span>
    </>
  );
}
