// Finds nodes, Services and NodePorts by what somebody types. Pure.
import type { NodeItem, ServiceItem } from '../../api/views.ts';
import type { Route } from '../shell/routes.ts';

export interface Found {
  readonly kind: 'node' | 'Service' | 'NodePort';
  readonly title: string;
  readonly note: string;
  readonly route: Route;
  readonly query?: Readonly<Record<string, string>>;
}

/** What is shown at most. */
const foundMax = 12;

interface Known {
  readonly nodes: readonly Pick<NodeItem, 'name' | 'addresses'>[];
  readonly services: readonly Pick<ServiceItem, 'namespace' | 'name' | 'ports'>[];
}

/** `node1 30080` names a story; a number names NodePorts; anything else is sought in names and addresses. Names that begin with it come first. */
export function search(text: string, { nodes, services }: Known): Found[] {
  const words = text.trim().toLowerCase().split(/\s+/);
  const sought = words.join(' ');
  if (sought === '') return [];
  const ports = services.flatMap((service) => portsOf(service));
  const [first = '', second = ''] = words;
  const stories =
    words.length === 2 && /^\d+$/.test(second)
      ? nodes.filter(({ name }) => name.toLowerCase().includes(first)).flatMap((node) => storiesOf(node.name, second, ports))
      : [];
  const found = [
    ...ports.filter(({ port }) => String(port.number).startsWith(sought)).map(({ found: each }) => each),
    ...nodes.filter(({ name, addresses }) => name.toLowerCase().includes(sought) || addresses.some((address) => address.startsWith(sought))).map(nodeFound),
    ...services.filter(({ namespace, name }) => `${namespace}/${name}`.toLowerCase().includes(sought)).map(serviceFound),
  ];
  return [...stories, ...found.toSorted((a, b) => rankOf(a, sought) - rankOf(b, sought))].slice(0, foundMax);
}

const rankOf = ({ title }: Found, sought: string): number => (title.toLowerCase() === sought ? 0 : title.toLowerCase().startsWith(sought) ? 1 : 2);

interface FoundPort {
  readonly port: { readonly number: number; readonly protocol: string };
  readonly service: string;
  readonly found: Found;
}

function portsOf({ namespace, name, ports }: Known['services'][number]): FoundPort[] {
  const service = `${namespace}/${name}`;
  return ports.flatMap(({ nodePort, protocol }) =>
    nodePort === undefined
      ? []
      : [
          {
            port: { number: nodePort, protocol },
            service,
            found: { kind: 'NodePort' as const, title: `${nodePort}/${protocol}`, note: service, route: { view: 'service' as const, namespace, name } },
          },
        ],
  );
}

const storiesOf = (node: string, number: string, ports: readonly FoundPort[]): Found[] =>
  ports
    .filter(({ port }) => String(port.number).startsWith(number))
    .map(({ port, service }) => ({
      kind: 'NodePort',
      title: `${node} ${port.number}/${port.protocol}`,
      note: `${service} on this node`,
      route: { view: 'story', node, port: port.number, protocol: port.protocol },
    }));

const nodeFound = ({ name, addresses }: Known['nodes'][number]): Found => ({
  kind: 'node',
  title: name,
  note: addresses[0] ?? '',
  route: { view: 'node', node: name },
});

const serviceFound = ({ namespace, name, ports }: Known['services'][number]): Found => ({
  kind: 'Service',
  title: `${namespace}/${name}`,
  note: ports.flatMap(({ nodePort, protocol }) => (nodePort === undefined ? [] : [`${nodePort}/${protocol}`])).join(' '),
  route: { view: 'service', namespace, name },
});
