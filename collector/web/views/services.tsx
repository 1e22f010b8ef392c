// Every Service that owns a NodePort.
import { useAnswer } from '../data/answer.ts';
import { questionOf } from '../data/client.ts';
import { findingTopics } from '../data/live.ts';
import type { ServiceItem } from '../data/types.ts';
import { durationText } from '../model/time.ts';
import { Answer } from '../parts/states.tsx';
import { Table, type TableColumn } from '../parts/table.tsx';
import { Link, usePlace } from '../shell/location.tsx';
import { useTitle } from '../shell/title.ts';

export function ServicesView() {
  useTitle('Services');
  const { at } = usePlace();
  const services = useAnswer(questionOf('GET /services', { query: { limit: 1_000 } }), {
    topics: [...findingTopics, 'services'],
    everyMs: 15_000,
    most: 20_000,
  });
  return (
    <div class="view">
      <h1>Services</h1>
      {at !== undefined && <p class="caution">Services are shown as they are now: the history holds findings and changes, not objects.</p>}
      <Answer answered={services}>
        {({ items }) => <Table label="Services" rows={items} columns={columns} keyOf={nameOf} textOf={textOf} nothing="No Service has a NodePort." />}
      </Answer>
    </div>
  );
}

const nameOf = ({ namespace, name }: ServiceItem): string => `${namespace}/${name}`;
const textOf = (item: ServiceItem): string =>
  [nameOf(item), item.type, item.externalTrafficPolicy, ...item.ports.map(({ nodePort, protocol }) => `${nodePort}/${protocol}`)].join(' ');

const columns: readonly TableColumn<ServiceItem>[] = [
  { title: 'Service', by: nameOf, cell: (item) => <Link to={{ view: 'service', namespace: item.namespace, name: item.name }}>{nameOf(item)}</Link> },
  { title: 'Type', by: ({ type }) => type, cell: ({ type }) => type },
  {
    title: 'NodePorts',
    by: ({ ports }) => ports[0]?.nodePort ?? 0,
    cell: ({ ports }) => (
      <span class="code">{ports.flatMap(({ nodePort, protocol }) => (nodePort === undefined ? [] : [`${nodePort}/${protocol}`])).join(' ')}</span>
    ),
  },
  { title: 'Traffic policy', by: ({ externalTrafficPolicy }) => externalTrafficPolicy, cell: ({ externalTrafficPolicy }) => externalTrafficPolicy },
  {
    title: 'Endpoints ready',
    by: ({ endpoints }) => endpoints.ready,
    class: 'number',
    cell: ({ endpoints: { ready, total } }) => (
      <span class={ready === 0 ? 'bad-text' : ''}>
        {ready} of {total}
      </span>
    ),
  },
  {
    title: 'Findings',
    by: ({ findings }) => -findings.error * 1e6 - findings.warning * 1e3 - findings.info,
    class: 'number',
    cell: ({ findings: { error, warning, info } }) => <Counts error={error} warning={warning} info={info} />,
  },
  {
    title: 'Rules follow in',
    by: ({ programming }) => programming?.p50Ms ?? -1,
    class: 'number',
    cell: ({ programming }) => (programming === null ? <span class="quiet">–</span> : durationText(programming.p50Ms)),
  },
];

export function Counts({ error, warning, info }: { readonly error: number; readonly warning: number; readonly info: number }) {
  if (error + warning + info === 0) return <span class="quiet">none</span>;
  return (
    <span class="counts">
      {error > 0 && <span class="is-error">{error} broken</span>}
      {warning > 0 && <span class="is-warning">{warning} at risk</span>}
      {info > 0 && <span class="is-info">{info} by design</span>}
    </span>
  );
}
