// Every node: whether its agent speaks, what its NodePorts do, and how fast its rules follow.
import { findingTopics } from '../data/live.ts';
import { useNodes } from '../data/nodes.ts';
import type { NodeItem } from '../data/types.ts';
import { durationText } from '../model/time.ts';
import { CellBar } from '../parts/standing.tsx';
import { Answer } from '../parts/states.tsx';
import { Table, type TableColumn } from '../parts/table.tsx';
import { Link } from '../shell/location.tsx';
import { useTitle } from '../shell/title.ts';

export function NodesView() {
  useTitle('Nodes');
  const nodes = useNodes({ topics: [...findingTopics, 'node', 'nodeports'] });
  return (
    <div class="view">
      <h1>Nodes</h1>
      <Answer answered={nodes}>
        {({ items }) => (
          <Table
            label="nodes"
            rows={items}
            columns={columns}
            keyOf={({ name }) => name}
            textOf={textOf}
            nothing="No node is known: neither the cluster nor an agent has named one."
          />
        )}
      </Answer>
    </div>
  );
}

const textOf = ({ name, agent, addresses, proxy, version }: NodeItem): string => [name, agent, ...addresses, proxy, version ?? ''].join(' ');

export const agentTexts: Readonly<Record<NodeItem['agent'], string>> = { connected: 'connected', disconnected: 'away', never: 'never seen' };

const columns: readonly TableColumn<NodeItem>[] = [
  { title: 'Node', by: ({ name }) => name, cell: ({ name }) => <Link to={{ view: 'node', node: name }}>{name}</Link> },
  { title: 'Agent', by: ({ agent }) => agent, cell: ({ agent }) => <span class={`agent is-${agent}`}>{agentTexts[agent]}</span> },
  { title: 'Addresses', cell: ({ addresses }) => <span class="code">{addresses.join(' ')}</span> },
  { title: 'Proxy', by: ({ proxy }) => proxy, cell: ({ proxy }) => proxy },
  {
    title: 'NodePorts',
    by: ({ nodePorts }) => -nodePorts.fault * 1e6 - nodePorts.unknown,
    class: 'wide',
    cell: ({ nodePorts }) => (
      <span class="inline-bar">
        <CellBar cells={nodePorts} />
      </span>
    ),
  },
  {
    title: 'Rules follow in',
    by: ({ programming }) => programming?.p50Ms ?? -1,
    class: 'number',
    cell: ({ programming }) =>
      programming === null ? (
        <span class="quiet">–</span>
      ) : (
        <span title={`99 of 100 within ${durationText(programming.p99Ms)}`}>{durationText(programming.p50Ms)}</span>
      ),
  },
  {
    title: 'Heard',
    by: ({ viewAgeMs }) => viewAgeMs ?? Infinity,
    class: 'number',
    cell: ({ viewAgeMs }) => (viewAgeMs === null ? <span class="quiet">–</span> : `${durationText(viewAgeMs)} ago`),
  },
];
