// Walks the packet of a client that somebody names through the node's live rules: is it only some who are kept out?
import { useState } from 'preact/hooks';
import type { WalkGraph } from '../../../shared/netfilter/walk.graph.model.ts';
import { callOf } from '../../api/client.ts';
import type { Explanation } from '../../explain/explain.ts';
import { AskError, post } from '../data/client.ts';
import { Walk } from './walk.tsx';

const vantages = [
  { value: 'external', title: 'from outside' },
  { value: 'peer', title: 'from another node' },
  { value: 'pod', title: 'from a pod' },
  { value: 'node', title: 'from the node itself' },
] as const;

type Traced = { readonly graph: WalkGraph } | { readonly problem: string } | 'asking';

export function TraceForm({ explanation: { node, port, protocol, address } }: { readonly explanation: Explanation }) {
  const [source, setSource] = useState('');
  const [vantage, setVantage] = useState<string>('external');
  const [traced, setTraced] = useState<Traced | undefined>(undefined);
  if (address === undefined) return null;
  const walk = async (event: Event): Promise<void> => {
    event.preventDefault();
    setTraced('asking');
    const packet = { vantage, dst: address, dport: String(port), proto: protocol, ...(source.trim() === '' ? {} : { src: source.trim() }) };
    setTraced(await tracedOf(node, packet));
  };
  return (
    <details class="trace">
      <summary>Another client</summary>
      <form class="controls" onSubmit={(event) => void walk(event)}>
        <input
          type="text"
          aria-label="Address of the client; empty: every address"
          placeholder="Address, or all"
          spellcheck={false}
          value={source}
          onInput={(event) => setSource(event.currentTarget.value)}
        />
        <select aria-label="Where the client stands" value={vantage} onChange={(event) => setVantage(event.currentTarget.value)}>
          {vantages.map(({ value, title }) => (
            <option key={value} value={value}>
              {title}
            </option>
          ))}
        </select>
        <button type="submit">Walk</button>
        <span class="quiet" role="status">
          {traced === 'asking' ? 'Asking the agent …' : ''}
        </span>
      </form>
      {traced !== undefined && traced !== 'asking' && 'problem' in traced && <p class="trouble">{traced.problem}</p>}
      {traced !== undefined && traced !== 'asking' && 'graph' in traced && <Walk graph={traced.graph} id="trace" />}
    </details>
  );
}

async function tracedOf(node: string, packet: Readonly<Record<string, string>>): Promise<Traced> {
  try {
    const { drawing } = await post(callOf('POST /trace', { body: { node, packet, drawing: 'graph' } }), 'POST /trace');
    return { graph: drawing as WalkGraph };
  } catch (error) {
    return { problem: error instanceof AskError ? error.message : String(error) };
  }
}
