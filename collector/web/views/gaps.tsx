// What is not known: nodes without an agent, sources that could not be read, cells that nobody can judge, times of which the ledger does not tell all, and old objects.
import { type ComponentChildren, toChildArray } from 'preact';
import { useAnswer } from '../data/answer.ts';
import { questionOf } from '../data/client.ts';
import { findingTopics } from '../data/live.ts';
import { useNodes } from '../data/nodes.ts';
import type { Gap, List, NodeItem } from '../data/types.ts';
import { gapTitles, spanText } from '../model/gaps.ts';
import { durationText } from '../model/time.ts';
import { Answer } from '../parts/states.tsx';
import { counted, Time } from '../parts/text.tsx';
import { Link, usePlace, usePresent } from '../shell/location.tsx';
import { useTitle } from '../shell/title.ts';
import { agentTexts } from './nodes.tsx';

/** Gaps that are shown; the newest. */
const gapsMax = 500;

export function GapsView() {
  useTitle('Gaps');
  const { at } = usePlace();
  const nodes = useNodes({ topics: [...findingTopics, 'node', 'nodeports', 'heartbeat'] });
  const gaps = useAnswer(questionOf('GET /gaps', { query: { ...(at === undefined ? {} : { to: String(at) }), limit: gapsMax } }), {
    topics: ['change', 'node'],
    everyMs: 30_000,
  });
  return (
    <div class="view gaps">
      <h1>What is not known</h1>
      <p class="quiet">What could not be read or judged is never reported as healthy. It is listed here.</p>
      <Answer answered={nodes}>
        {({ items, view }) => (
          <>
            <Objects view={view} />
            <Away nodes={items.filter(({ agent }) => agent !== 'connected')} />
            <Unread nodes={items.filter(({ failedSources }) => failedSources.length > 0)} />
            <Unjudged nodes={items.filter(({ nodePorts }) => nodePorts.unknown > 0)} />
          </>
        )}
      </Answer>
      <Answer answered={gaps}>{({ items }) => <Ledger gaps={items} />}</Answer>
    </div>
  );
}

function Objects({ view: { objectsAgeMs, stale, doubts } }: { readonly view: List<unknown>['view'] }) {
  return (
    <Part id="objects" title="Objects of the cluster" count={doubts.length} none={`Known as of ${durationText(objectsAgeMs ?? 0)} ago.`}>
      {stale && <li>{objectsAgeMs === null ? 'They have not all been read.' : `What is known of them is ${durationText(objectsAgeMs)} old.`}</li>}
      {doubts.map((text) => (
        <li key={text}>{text}</li>
      ))}
    </Part>
  );
}

interface PartProps {
  readonly id: string;
  readonly title: string;
  readonly count: number;
  readonly none: string;
  readonly children: ComponentChildren;
}

/** Items of one part that are shown; where thousands are missing, the first of them say as much. */
const itemsMax = 100;

function Part({ id, title, count, none, children }: PartProps) {
  const items = toChildArray(children);
  return (
    <section aria-labelledby={id}>
      <h2 id={id}>
        {title} <span class={count > 0 ? 'count is-open' : 'count'}>{count.toLocaleString('en')}</span>
      </h2>
      {count === 0 ? (
        <p class="quiet">{none}</p>
      ) : (
        <ul class="gap-list">
          {items.slice(0, itemsMax)}
          {items.length > itemsMax && <li class="quiet">… and {(items.length - itemsMax).toLocaleString('en')} more</li>}
        </ul>
      )}
    </section>
  );
}

function Away({ nodes }: { readonly nodes: readonly NodeItem[] }) {
  const now = usePresent(1_000);
  return (
    <Part id="away" title="Nodes without an agent that speaks" count={nodes.length} none="Every node's agent is connected.">
      {nodes.map(({ name, agent, since, nodePorts }) => (
        <li key={name}>
          <Link to={{ view: 'node', node: name }}>{name}</Link> <span class={`agent is-${agent}`}>{agentTexts[agent]}</span>{' '}
          {since !== null && agent === 'disconnected' && <Time at={since} now={now} ago />}{' '}
          <span class="quiet">{counted(nodePorts.unknown, 'NodePort')} not known</span>
        </li>
      ))}
    </Part>
  );
}

function Unread({ nodes }: { readonly nodes: readonly NodeItem[] }) {
  return (
    <Part
      id="unread"
      title="Sources that could not be read"
      count={nodes.reduce((sum, { failedSources }) => sum + failedSources.length, 0)}
      none="Every source that is there was read."
    >
      {nodes.flatMap(({ name, failedSources }) =>
        failedSources.map(({ source, reason }) => (
          <li key={`${name} ${source}`}>
            <Link to={{ view: 'node', node: name }}>{name}</Link> <strong>{source}</strong> <span class="quiet">{reason}</span>
          </li>
        )),
      )}
    </Part>
  );
}

function Unjudged({ nodes }: { readonly nodes: readonly NodeItem[] }) {
  return (
    <Part
      id="unjudged"
      title="NodePorts that cannot be judged"
      count={nodes.reduce((sum, { nodePorts }) => sum + nodePorts.unknown, 0)}
      none="What clients meet is known of every NodePort on every node."
    >
      {nodes.map(({ name, nodePorts }) => (
        <li key={name}>
          <Link to={{ view: 'chart' }} query={{ text: name }}>
            {name}
          </Link>{' '}
          <span class="quiet">{counted(nodePorts.unknown, 'NodePort')}</span>
        </li>
      ))}
    </Part>
  );
}

function Ledger({ gaps }: { readonly gaps: readonly Gap[] }) {
  const now = usePresent(30_000);
  return (
    <Part id="ledger" title="Times of which the ledger does not tell all" count={gaps.length} none="The ledger is whole as far as it reaches.">
      {gaps.map(({ node, reason, from, to, detail, seqs }) => (
        <li key={`${node} ${reason} ${from} ${to} ${seqs?.from ?? ''}`}>
          {node === '' ? 'cluster' : <Link to={{ view: 'node', node }}>{node}</Link>} <Time at={from} now={now} />
          <span>for {spanText({ from, to })}</span> <strong>{gapTitles[reason]}</strong> <span class="quiet">{detail}</span>
        </li>
      ))}
    </Part>
  );
}
