// The register of NodePorts: which number belongs to which Service, who owns it, and what it is for.
import { useAnswer } from '../data/answer.ts';
import { questionOf } from '../data/client.ts';
import type { Assignment } from '../data/types.ts';
import { Answer } from '../parts/states.tsx';
import { Table, type TableColumn } from '../parts/table.tsx';
import { Link, usePlace } from '../shell/location.tsx';
import { useTitle } from '../shell/title.ts';

export function RegisterView() {
  useTitle('Register');
  const { at } = usePlace();
  const register = useAnswer(questionOf('GET /register', {}), { topics: ['services'], everyMs: 30_000 });
  return (
    <div class="view">
      <h1>Register of NodePorts</h1>
      {at !== undefined && <p class="caution">The register is shown as it is now: the history holds findings and changes, not objects.</p>}
      <Answer answered={register}>
        {({ items }) => (
          <Table label="NodePorts" rows={items} columns={columns} keyOf={keyOf} textOf={textOf} nothing="No Service has a NodePort.">
            <a href="/api/v1/register?format=csv" download="nodeports.csv">
              CSV
            </a>
          </Table>
        )}
      </Answer>
    </div>
  );
}

const keyOf = ({ port, protocol, service, portName, kind }: Assignment): string => `${port}/${protocol} ${service} ${portName} ${kind}`;
const textOf = (item: Assignment): string => `${keyOf(item)} ${item.owner} ${item.purpose} ${item.externalTrafficPolicy}`;

const columns: readonly TableColumn<Assignment>[] = [
  {
    title: 'NodePort',
    by: ({ port }) => port,
    cell: ({ port, protocol }) => (
      <span class="code">
        {port}/{protocol}
      </span>
    ),
  },
  { title: 'Service', by: ({ service }) => service, cell: ({ service }) => <ServiceLink service={service} /> },
  {
    title: 'Port',
    by: ({ portName }) => portName,
    cell: ({ portName, targetPort, kind }) => (kind === 'nodePort' ? `${portName} → ${String(targetPort)}` : 'health check'),
  },
  { title: 'Traffic policy', by: ({ externalTrafficPolicy }) => externalTrafficPolicy, cell: ({ externalTrafficPolicy }) => externalTrafficPolicy },
  { title: 'Owner', by: ({ owner }) => owner, cell: ({ owner }) => (owner === '' ? <span class="quiet">nobody says</span> : owner) },
  { title: 'For', by: ({ purpose }) => purpose, class: 'wide', cell: ({ purpose }) => (purpose === '' ? <span class="quiet">–</span> : purpose) },
];

const ServiceLink = ({ service }: { readonly service: string }) => {
  const [namespace = '', name = ''] = service.split('/');
  return <Link to={{ view: 'service', namespace, name }}>{service}</Link>;
};
