// One Service: its ports, its endpoints, and what its NodePorts do on each node.
import { useMemo } from 'preact/hooks';
import { useAnswer } from '../data/answer.ts';
import { questionOf } from '../data/client.ts';
import { findingTopics } from '../data/live.ts';
import type { NodePortItem, ServiceItem } from '../data/types.ts';
import { verdictOf } from '../model/matrix.ts';
import { VerdictMark, verdictTitles } from '../parts/marks.tsx';
import { Answer, Nothing } from '../parts/states.tsx';
import { CauseTag } from '../parts/text.tsx';
import { Link, usePlace } from '../shell/location.tsx';
import { useTitle } from '../shell/title.ts';
import { FindingList } from './node.tsx';

interface ServiceViewProps {
  readonly namespace: string;
  readonly name: string;
}

export function ServiceView({ namespace, name }: ServiceViewProps) {
  const full = `${namespace}/${name}`;
  useTitle(full);
  const { asOf } = usePlace();
  const watching = { topics: [...findingTopics, 'services', 'nodeports', 'node'] as const, everyMs: 15_000 };
  const services = useAnswer(questionOf('GET /services', { query: { namespace, name } }), watching);
  const ports = useAnswer(questionOf('GET /nodeports', { query: { ...asOf, service: full } }), watching);
  const findings = useAnswer(questionOf('GET /findings', { query: { ...asOf, service: full, limit: 500 } }), watching);
  const service = services.answer?.items.find((item) => item.namespace === namespace && item.name === name);
  return (
    <div class="view service">
      <p class="crumbs">
        <Link to={{ view: 'services' }}>Services</Link>
      </p>
      <h1>{full}</h1>
      <Answer answered={services}>
        {() => (service === undefined ? <Nothing>No Service of this name has a NodePort now.</Nothing> : <Particulars service={service} />)}
      </Answer>
      <FindingList findings={findings.answer?.items ?? []} />
      <Answer answered={ports}>
        {({ items }) => <OnNodes items={items.filter((item) => item.service === full || item.service.startsWith(`${full}:`))} />}
      </Answer>
      <p>
        <Link to={{ view: 'changes' }} query={{ text: full }}>
          Every change that names {full}
        </Link>
      </p>
    </div>
  );
}

function Particulars({ service: { type, externalTrafficPolicy, ports, endpoints } }: { readonly service: ServiceItem }) {
  return (
    <dl class="particulars">
      <div>
        <dt>Type</dt>
        <dd>{type}</dd>
      </div>
      <div>
        <dt>External traffic policy</dt>
        <dd>{externalTrafficPolicy}</dd>
      </div>
      <div>
        <dt>Endpoints ready</dt>
        <dd class={endpoints.ready === 0 ? 'bad-text' : ''}>
          {endpoints.ready} of {endpoints.total}
        </dd>
      </div>
      <div>
        <dt>Ports</dt>
        <dd class="code">
          {ports.map(({ name, protocol, port, targetPort, nodePort }) => (
            <span key={`${protocol} ${port}`} class="port-line">
              {nodePort ?? '–'}/{protocol} → {port} → {String(targetPort)} {name !== '' && <span class="quiet">{name}</span>}
            </span>
          ))}
        </dd>
      </div>
    </dl>
  );
}

function OnNodes({ items }: { readonly items: readonly NodePortItem[] }) {
  const cells = useMemo(() => items.flatMap((item) => item.nodes.map((cell) => ({ ...item, cell }))), [items]);
  if (cells.length === 0) return null;
  return (
    <section aria-labelledby="on-nodes">
      <h2 id="on-nodes">On nodes</h2>
      <ul class="port-list">
        {cells.map(({ port, protocol, cell }) => (
          <li key={`${cell.node} ${port}/${protocol}/${cell.family}`}>
            <VerdictMark verdict={verdictOf(cell)} size={14} label="" />
            <Link to={{ view: 'story', node: cell.node, port, protocol }}>
              {cell.node} {port}/{protocol}
            </Link>
            <span class="quiet">IPv{cell.family}</span>
            <span>{verdictTitles[verdictOf(cell)]}</span>
            {cell.causes.map((cause) => (
              <CauseTag key={cause} cause={cause} />
            ))}
          </li>
        ))}
      </ul>
    </section>
  );
}
