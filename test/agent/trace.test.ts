// The walk that an agent makes for a collector that asks: which clients it is for, and what is left out where a frame cannot hold it.
import t from 'tap';
import { traceLive } from '../../agent/trace.ts';
import { limits } from '../../shared/limits.ts';
import { nothingWanted } from '../../shared/netfilter/facts.ts';
import { endpointOf, serviceNode } from '../support/drawn.ts';

const wanted = { ...nothingWanted, peers: ['10.9.0.1', '10.9.0.2'], podNetworks: ['10.244.0.0/16'] };
const packet = { dst: '10.9.0.1', dport: '30080' };
const node = serviceNode({ endpoints: 2 });

t.test('the clients of each vantage are those of the facts', async (t) => {
  const walked = (vantage: string) => traceLive(node, { ...packet, vantage }, wanted);
  t.match(walked('external'), { result: { verdict: 'forward', branches: [{}, {}], graph: { packet: 'external: every source → 10.9.0.1:30080/tcp' } } });
  t.match(walked('peer'), { result: { graph: { packet: 'peer: 10.9.0.2 → 10.9.0.1:30080/tcp' } } });
  t.match(walked('pod'), { result: { graph: { packet: 'pod: every source → 10.9.0.1:30080/tcp' } } });
  t.match(walked('node'), { result: { graph: { packet: 'node: 10.9.0.1 → 10.9.0.1:30080/tcp' } } });
  t.match(traceLive(node, { ...packet, vantage: 'peer' }, nothingWanted), { error: 'src is missing, and this node knows no clients of the vantage peer' });
  t.match(traceLive(node, { ...packet, src: '198.51.100.0/24' }, wanted), { result: { graph: { packet: 'external: 198.51.100.0/24 → 10.9.0.1:30080/tcp' } } });
});

t.test('what is wrong with a question is said', async (t) => {
  t.match(traceLive(undefined, packet, wanted), { error: 'the node has not been read yet' });
  t.match(traceLive(node, { dport: '1' }, wanted), { error: /^dst is missing/ });
  t.match(traceLive(node, { ...packet, dport: '0' }, wanted), { error: /^dport 0/ });
  t.match(traceLive(node, { ...packet, src: 'fd00::1' }, wanted), { error: /^src fd00::1: an address or prefix of the family of dst is wanted/ });
  t.match(traceLive(node, { ...packet, vantage: 'moon' }, wanted), { error: /^vantage moon/ });
});

t.test('an answer fits into a frame, and the drawing is the last to be left out', async (t) => {
  const comment = 'x'.repeat(9_000);
  const filter = Array.from({ length: 12 }, () => `-A FORWARD -m comment --comment "${comment}" -j LOG`);
  const { result } = traceLive(serviceNode({ endpoints: 60, filter }), packet, wanted) as { readonly result: Record<string, { readonly length: number }> };
  t.ok(Buffer.byteLength(JSON.stringify(result)) < limits.frameBytesMax);
  t.equal(result['branches']?.length, 0, 'the branches are too long');
  t.equal(result['outcomes']?.length, 60);
  const end = (result['graph'] as unknown as { readonly nodes: readonly object[] }).nodes.at(-1);
  t.match(end, { kind: 'end', verdict: 'forward', targets: { shown: [{ address: endpointOf(0) }], more: 60 - limits.drawingListMax } });
});
