// One node: its agent, its NodePorts, what was found, what its sources read, and its facts.
import type { ComponentChildren } from 'preact';
import { useAnswer } from '../data/answer.ts';
import { questionOf } from '../data/client.ts';
import { findingTopics } from '../data/live.ts';
import type { Fact, Finding, NodeAnswer } from '../data/types.ts';
import { verdictOf } from '../model/matrix.ts';
import { durationText } from '../model/time.ts';
import { VerdictMark, verdictOfFinding } from '../parts/marks.tsx';
import { CellBar } from '../parts/standing.tsx';
import { Answer, Nothing } from '../parts/states.tsx';
import { CauseTag, counted, Time } from '../parts/text.tsx';
import { Link, usePlace, usePresent } from '../shell/location.tsx';
import { useTitle } from '../shell/title.ts';
import { agentTexts } from './nodes.tsx';
import { storyOf } from './now.tsx';

export function NodeView({ name }: { readonly name: string }) {
  useTitle(name);
  const { asOf } = usePlace();
  const node = useAnswer(questionOf('GET /nodes/{name}', { path: { name }, query: asOf }), {
    topics: [...findingTopics, 'node', 'nodeports'],
    everyMs: 10_000,
  });
  return (
    <div class="view node">
      <p class="crumbs">
        <Link to={{ view: 'nodes' }}>Nodes</Link>
      </p>
      <h1>{name}</h1>
      <Answer answered={node}>
        {(answer) => (
          <>
            <Particulars node={answer} />
            <FindingList findings={[...(answer.open ?? []), ...(answer.waiting ?? [])]} />
            <Ports node={answer} />
            <Sources facts={answer.facts ?? []} />
            <Facts facts={answer.facts ?? []} />
            <p>
              <Link to={{ view: 'changes' }} query={{ node: name }}>
                Every change of {name}
              </Link>
            </p>
          </>
        )}
      </Answer>
    </div>
  );
}

function Particulars({ node }: { readonly node: NodeAnswer }) {
  const now = usePresent(1_000);
  const { agent, since, version, addresses, proxy, ready, clockOffsetMs, programming, nodePorts, stateAt } = node;
  return (
    <dl class="particulars">
      <Item title="Agent">
        <span class={`agent is-${agent}`}>{agentTexts[agent]}</span> {since !== null && <Time at={since} now={now} ago />}
        {version !== null && <span class="quiet"> · version {version}</span>}
      </Item>
      <Item title="Addresses">
        <span class="code">{addresses.join(' ') || '–'}</span>
      </Item>
      <Item title="Node is ready">{ready === null ? 'not known' : ready ? 'yes' : 'no'}</Item>
      <Item title="Proxy">{proxy}</Item>
      {programming !== null && (
        <Item title="Rules follow in">
          {durationText(programming.p50Ms)}{' '}
          <span class="quiet">
            · 99 of 100 within {durationText(programming.p99Ms)}, of {counted(programming.count, 'change')}
          </span>
        </Item>
      )}
      {stateAt !== null && (
        <Item title="Reported">
          <Time at={stateAt} now={now} ago />
        </Item>
      )}
      {clockOffsetMs !== null && Math.abs(clockOffsetMs) > 1_000 && (
        <Item title="Its clock">
          is {durationText(Math.abs(clockOffsetMs))} {clockOffsetMs > 0 ? 'ahead' : 'behind'}
        </Item>
      )}
      <Item title="NodePorts">
        <CellBar cells={nodePorts} />
      </Item>
    </dl>
  );
}

const Item = ({ title, children }: { readonly title: string; readonly children: ComponentChildren }) => (
  <div>
    <dt>{title}</dt>
    <dd>{children}</dd>
  </div>
);

/** Findings as a short list, each leading to its story. */
export function FindingList({ findings }: { readonly findings: readonly Finding[] }) {
  const now = usePresent(5_000);
  if (findings.length === 0) return null;
  return (
    <section aria-labelledby="found">
      <h2 id="found">
        Found <span class="count">{findings.length}</span>
      </h2>
      <ul class="finding-list">
        {findings.map((finding) => (
          <li key={finding.id}>
            <VerdictMark verdict={verdictOfFinding(finding)} size={16} />
            <Link to={storyOf(finding)}>
              {finding.port === 0 ? '' : `${finding.port}/${finding.protocol} `}
              {finding.title}
            </Link>
            <CauseTag cause={finding.cause} confidence={finding.severity === 'info' ? undefined : finding.confidence} />
            {finding.since !== undefined && <Time at={finding.since} now={now} ago />}
          </li>
        ))}
      </ul>
    </section>
  );
}

function Ports({ node }: { readonly node: NodeAnswer }) {
  const ports = node.ports ?? [];
  if (ports.length === 0) return <Nothing>The cluster asks this node to serve no NodePort.</Nothing>;
  return (
    <section aria-labelledby="ports">
      <h2 id="ports">
        NodePorts <span class="count">{ports.length}</span>
      </h2>
      <ul class="port-list">
        {ports.map(({ port, protocol, service, cell }) => (
          <li key={`${port}/${protocol}/${cell.family}`}>
            <VerdictMark verdict={verdictOf(cell)} size={14} />
            <Link to={{ view: 'story', node: node.name, port, protocol }}>
              {port}/{protocol}
            </Link>
            <span class="quiet">IPv{cell.family}</span>
            <span>{service}</span>
            {cell.causes.map((cause) => (
              <CauseTag key={cause} cause={cause} />
            ))}
          </li>
        ))}
      </ul>
    </section>
  );
}

/** What the agent reads, and what it lacks. */
function Sources({ facts }: { readonly facts: readonly Fact[] }) {
  const sources = facts.filter((fact) => fact.kind === 'source');
  if (sources.length === 0) return null;
  const rank = { failed: 0, facts: 1, absent: 2 } as const;
  return (
    <section aria-labelledby="sources">
      <h2 id="sources">Sources</h2>
      <ul class="source-list">
        {sources
          .toSorted((a, b) => rank[a.outcome] - rank[b.outcome] || (a.source < b.source ? -1 : 1))
          .map(({ source, outcome, reason, lacks, watch }) => (
            <li key={source} class={`is-${outcome}`}>
              <span class="name">{source}</span>
              <span class="outcome">{outcome === 'facts' ? (watch === 'events' ? 'read, by events' : 'read') : outcome}</span>
              <span class="quiet">{[reason, lacks].filter((text) => text !== undefined && text !== '').join('; ')}</span>
            </li>
          ))}
      </ul>
    </section>
  );
}

/** Everything that the node has said, as it said it. */
function Facts({ facts }: { readonly facts: readonly Fact[] }) {
  const others = facts.filter(({ kind }) => kind !== 'source' && kind !== 'nodeport');
  if (others.length === 0) return null;
  return (
    <details>
      <summary>
        <h2>Facts</h2> <span class="count">{others.length}</span>
      </summary>
      <ul class="fact-list">
        {others.map((fact) => (
          <li key={fact.key}>
            <details>
              <summary class="code">{fact.key}</summary>
              <pre tabIndex={0}>{JSON.stringify(fact, undefined, 2)}</pre>
            </details>
          </li>
        ))}
      </ul>
    </details>
  );
}
