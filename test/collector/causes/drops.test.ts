import t from 'tap';
import { dropText, kernelSaw } from '../../../collector/causes/drops.ts';
import type { Drop, DropsFact, NodePortKey } from '../../../shared/model/fact.ts';
import type { Decider } from '../../../shared/model/outcome.ts';

const nodePort: NodePortKey = { protocol: 'tcp', family: 4, port: 30080 };
const drop = (given: Partial<Drop> = {}): Drop => ({
  of: 'request',
  reason: 'NETFILTER_DROP',
  packets: 4,
  firstAt: 1_000,
  lastAt: 5_000,
  prefixes: ['172.31.0.0/24'],
  device: 'eth0',
  ...given,
});
const rule: Decider = { by: 'rule', table: 'filter', chain: 'FORWARD', rule: 1, text: '-A FORWARD -j DROP', packets: '4' };

const texts: readonly (readonly [Partial<Drop>, string])[] = [
  [{}, 'NETFILTER_DROP on 30080, 4 packets from 172.31.0.0/24 on eth0'],
  [{ port: 8080, packets: 1 }, 'NETFILTER_DROP on 8080 (30080 before DNAT), 1 packet from 172.31.0.0/24 on eth0'],
  [{ rule }, 'NETFILTER_DROP on 30080, 4 packets from 172.31.0.0/24 on eth0; the counter of the rule rose with them'],
  [{ prefixes: ['a', 'b', 'c', 'd'] }, 'NETFILTER_DROP on 30080, 4 packets from a, b, c and others on eth0'],
  [{ prefixes: [], more: true }, 'NETFILTER_DROP on 30080, 4 packets on eth0'],
  [{ reason: 'NO_SOCKET', port: 8080, inPod: true }, 'NO_SOCKET on 8080 (30080 before DNAT), 4 packets from 172.31.0.0/24 in the network of the pod'],
  [
    { of: 'reply', port: 8080, backend: '10.244.1.5' },
    'NETFILTER_DROP: answers of 10.244.1.5 from 8080 (30080 before DNAT), 4 packets to clients in 172.31.0.0/24 on eth0',
  ],
  [{ of: 'reset', reason: '', backend: '10.244.1.5' }, 'clients of 30080 are sent resets by 10.244.1.5, 4 packets to clients in 172.31.0.0/24 on eth0'],
  [{ reason: '' }, 'dropped on 30080, 4 packets from 172.31.0.0/24 on eth0'],
];
for (const [given, text] of texts) t.test(text, async (t) => t.equal(dropText(nodePort, drop(given)), text));

const factsOf = (...drops: readonly Drop[]) => {
  const fact: DropsFact = { kind: 'drops', key: 'drops/tcp/4/30080', nodePort, drops };
  return new Map([[fact.key, fact]]);
};
const saw = (said: Partial<Parameters<typeof kernelSaw>[2]>, ...drops: readonly Drop[]) =>
  kernelSaw(factsOf(...drops), nodePort, { severity: 'error', since: undefined, ...said }).map(({ text, decider }) => [
    text.split(' on ')[0],
    decider?.packets,
  ]);

t.test('drops that agree with a finding', async (t) => {
  const netfilter = drop({ rule });
  const socket = drop({ reason: 'NO_SOCKET' });
  t.strictSame(saw({ deciders: [rule] }, socket, netfilter), [['NETFILTER_DROP', '4']], 'where a rule decides, what netfilter dropped');
  t.strictSame(saw({}, socket, netfilter), [
    ['NO_SOCKET', undefined],
    ['NETFILTER_DROP', '4'],
  ]);
  t.strictSame(saw({ deciders: [{ by: 'sysctl', text: 'x' }] }, drop({ reason: 'IP_RPFILTER' })), [['IP_RPFILTER', undefined]]);
  t.strictSame(saw({ deciders: [rule] }, drop({ reason: 'in nf_hook_slow' })), [['in nf_hook_slow', undefined]], 'kernels without reasons');
});

t.test('what was dropped before the fault began is no evidence of it', async (t) => {
  t.equal(saw({ since: 6_000 }, drop()).length, 1);
  t.equal(saw({ since: 6_001 }, drop()).length, 0);
});

t.test('nothing for what is by design, has no NodePort, or was not seen', async (t) => {
  t.strictSame(saw({ severity: 'info' }, drop()), []);
  t.strictSame(kernelSaw(factsOf(drop()), undefined, { severity: 'error', since: undefined }), []);
  t.strictSame(kernelSaw(new Map(), nodePort, { severity: 'error', since: undefined }), []);
});

t.test('drops that differ in their backends alone are told as one', async (t) => {
  const drops = [
    drop({ backend: '10.244.1.11', packets: 1 }),
    drop({ backend: '10.244.2.11', packets: 2, prefixes: ['10.0.0.0/24'], rule }),
    drop({ reason: 'NO_SOCKET' }),
  ];
  t.strictSame(
    kernelSaw(factsOf(...drops), nodePort, { severity: 'error', since: undefined }).map(({ text }) => text),
    [
      'NETFILTER_DROP on 30080, 3 packets from 10.0.0.0/24, 172.31.0.0/24 on eth0; the counter of the rule rose with them.',
      'NO_SOCKET on 30080, 4 packets from 172.31.0.0/24 on eth0.',
    ],
  );
});
