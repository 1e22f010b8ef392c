// Every statement and expression of nft: the real nft loads the rules in a namespace of its own and lists them as JSON, which must decode to these steps.
import { spawnSync } from 'node:child_process';
import t from 'tap';
import type { Family } from '../../../shared/model/address.ts';
import { parseAddress, parsePrefix } from '../../../shared/model/address.ts';
import { parseNft } from '../../../shared/netfilter/nft.parse.ts';
import { parseNftText } from '../../../shared/netfilter/nft.text.parse.ts';
import type { AddressField, Condition, ElementPart, NumberField, Step, Verdict } from '../../../shared/netfilter/rule.ts';

interface Example {
  readonly rule: string;
  readonly steps: readonly Step[];
}

const accept: Verdict = { kind: 'accept' };
const drop: Verdict = { kind: 'drop' };
const c2: Verdict = { kind: 'jump', chain: 'c2' };

const interval = (lo: number, hi = lo) => ({ lo: BigInt(lo), hi: BigInt(hi) });
const number = (field: NumberField, ...values: (number | [number, number])[]): Condition => ({
  kind: 'number',
  field,
  set: values.map((value) => (typeof value === 'number' ? interval(value) : interval(...value))),
  negate: false,
});
const masked = (field: NumberField, mask: number, value: number): Condition => ({
  kind: 'number',
  field,
  mask: BigInt(mask),
  set: [interval(value)],
  negate: false,
});
const not = <C extends Condition & { negate: boolean }>(condition: C): C => ({ ...condition, negate: true });
const negated = (condition: Condition): Condition => ('negate' in condition ? not(condition) : condition);

function range(text: string) {
  const [from = '', to] = text.split('-');
  if (to === undefined) return parsePrefix(text)?.interval ?? { lo: 0n, hi: 0n };
  return { lo: parseAddress(from)?.value ?? 0n, hi: parseAddress(to)?.value ?? 0n };
}

const addresses = (field: AddressField, family: Family, ...texts: string[]): Condition => ({
  kind: 'address',
  field,
  family,
  set: texts.map(range),
  negate: false,
});
const inside = (...names: string[]): Condition => ({
  kind: 'interface',
  field: 'in',
  patterns: names.map((name) => (name.endsWith('*') ? { name: name.slice(0, -1), prefix: true } : { name, prefix: false })),
  negate: false,
});
const part = (value: number | string): ElementPart => {
  if (typeof value === 'number') return { kind: 'interval', ...interval(value) };
  return { kind: 'interval', ...range(value) };
};
const may = (module: string, reason: string): Condition => ({ kind: 'may', module, reason });

const v4 = number('family', 2);
const v6 = number('family', 10);
const tcp = number('protocol', 6);
const udp = number('protocol', 17);
const state = (...anyOf: Extract<Condition, { kind: 'conntrackState' }>['anyOf']): Condition => ({ kind: 'conntrackState', anyOf, negate: false });
const status = (...anyOf: Extract<Condition, { kind: 'conntrackStatus' }>['anyOf']): Condition => ({ kind: 'conntrackStatus', anyOf, negate: false });
const random = (probability: number): Condition => ({ kind: 'random', probability, negate: false });
const unseen = (what: string): string => `${what} is not among the values the walk knows`;

/** Rules of a filter chain in an inet table. */
const filterRules: Example[] = [
  { rule: 'ip saddr != 10.0.0.0/8 accept', steps: [v4, negated(addresses('source', 4, '10.0.0.0/8')), accept] },
  { rule: 'ip daddr { 10.0.0.1, 10.0.0.5-10.0.0.9 } drop', steps: [v4, addresses('destination', 4, '10.0.0.1', '10.0.0.5-10.0.0.9'), drop] },
  { rule: 'ip6 saddr fe80::/10 accept', steps: [v6, addresses('source', 6, 'fe80::/10'), accept] },
  { rule: 'ip6 daddr { ::/96, fe80::1-fe80::9 } drop', steps: [v6, addresses('destination', 6, '::/96', 'fe80::1-fe80::9'), drop] },
  { rule: 'ip saddr & 255.255.255.254 == 10.0.0.2 drop', steps: [v4, addresses('source', 4, '10.0.0.2/31'), drop] },
  { rule: 'ip saddr & 255.255.253.255 == 10.0.0.1 drop', steps: [v4, addresses('source', 4, '10.0.0.1', '10.0.2.1'), drop] },
  {
    rule: 'ip saddr @ips drop',
    steps: [v4, { kind: 'lookup', key: [{ kind: 'address', field: 'source' }], set: { kind: 'named', name: 'ips' }, negate: false }, drop],
  },
  {
    rule: 'ip saddr != @ips drop',
    steps: [v4, { kind: 'lookup', key: [{ kind: 'address', field: 'source' }], set: { kind: 'named', name: 'ips' }, negate: true }, drop],
  },
  { rule: 'tcp dport 8080 drop', steps: [tcp, number('destinationPort', 8080), drop] },
  { rule: 'tcp dport { 80, 443, 8000-8100 } accept', steps: [tcp, number('destinationPort', 80, 443, [8000, 8100]), accept] },
  { rule: 'tcp dport != { 80, 443 } drop', steps: [tcp, negated(number('destinationPort', 80, 443)), drop] },
  { rule: 'tcp sport 1024-65535 drop', steps: [tcp, number('sourcePort', [1024, 65535]), drop] },
  { rule: 'tcp dport > 1024 drop', steps: [tcp, number('destinationPort', [1025, 65535]), drop] },
  { rule: 'tcp dport <= 1024 drop', steps: [tcp, number('destinationPort', [0, 1024]), drop] },
  { rule: 'tcp dport < 1024 drop', steps: [tcp, number('destinationPort', [0, 1023]), drop] },
  { rule: 'tcp dport >= 1024 drop', steps: [tcp, number('destinationPort', [1024, 65535]), drop] },
  { rule: 'th dport 53 accept', steps: [number('destinationPort', 53), accept] },
  { rule: 'udp dport 53 accept', steps: [udp, number('destinationPort', 53), accept] },
  { rule: 'sctp dport 80 drop', steps: [number('protocol', 132), number('destinationPort', 80), drop] },
  { rule: 'sctp chunk init exists drop', steps: [number('sctpChunk', 1), drop] },
  { rule: 'sctp chunk init-ack missing drop', steps: [negated(number('sctpChunk', 2)), drop] },
  {
    rule: 'sctp chunk init init-tag 5 drop',
    steps: [number('protocol', 132), may('sctp chunk', 'fields of SCTP chunks are not known before the packet'), drop],
  },
  { rule: 'dccp sport 80 drop', steps: [number('protocol', 33), number('sourcePort', 80), drop] },
  { rule: 'tcp sport 81 tcp dport 80 drop', steps: [tcp, number('sourcePort', 81), number('destinationPort', 80), drop] },
  { rule: 'tcp flags syn / fin,syn,rst,ack accept', steps: [tcp, masked('tcpFlags', 0x17, 2), accept] },
  { rule: 'tcp flags != syn / syn,ack drop', steps: [tcp, negated(masked('tcpFlags', 0x12, 2)), drop] },
  { rule: 'tcp flags syn,ack accept', steps: [tcp, negated(masked('tcpFlags', 0x12, 0)), accept] },
  { rule: 'tcp flags ! syn drop', steps: [tcp, masked('tcpFlags', 2, 0), drop] },
  { rule: 'tcp flags != syn accept', steps: [tcp, negated(number('tcpFlags', 2)), accept] },
  { rule: 'tcp flags == 0x0 accept', steps: [tcp, number('tcpFlags', 0), accept] },
  { rule: 'tcp flags { syn | ack, syn } accept', steps: [tcp, number('tcpFlags', 2, 0x12), accept] },
  { rule: 'icmp type echo-request accept', steps: [v4, number('protocol', 1), number('icmpType', 8), accept] },
  {
    rule: 'icmp type destination-unreachable icmp code port-unreachable accept',
    steps: [v4, number('protocol', 1), number('icmpType', 3), number('icmpCode', 3), accept],
  },
  { rule: 'icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept', steps: [v6, number('protocol', 58), number('icmpType', [135, 136]), accept] },
  { rule: 'meta l4proto { tcp, udp } accept', steps: [number('protocol', 6, 17), accept] },
  { rule: 'meta l4proto != tcp drop', steps: [negated(tcp), drop] },
  { rule: 'ip protocol tcp accept', steps: [v4, tcp, accept] },
  { rule: 'ip6 nexthdr udp accept', steps: [v6, udp, accept] },
  { rule: 'meta nfproto ipv6 drop', steps: [v6, drop] },
  { rule: 'meta protocol { ip, ip6 } accept', steps: [number('family', 2, 10), accept] },
  { rule: 'ip ttl 5 accept', steps: [v4, number('ttl', 5), accept] },
  { rule: 'ip6 hoplimit 1 drop', steps: [v6, number('ttl', 1), drop] },
  { rule: 'ip dscp cs1 accept', steps: [v4, number('dscp', 8), accept] },
  { rule: 'meta length > 100 accept', steps: [number('length', [101, 0xffffffff]), accept] },
  { rule: 'ip frag-off & 8191 != 0 accept', steps: [v4, { kind: 'never', reason: 'the packet is no fragment' }, accept] },
  { rule: 'iif "lo" accept', steps: [inside('lo'), accept] },
  { rule: 'iifname "eth*" accept', steps: [inside('eth*'), accept] },
  { rule: 'iifname != { "lo", "eth0" } drop', steps: [negated(inside('lo', 'eth0')), drop] },
  { rule: 'oifname "eth0" accept', steps: [{ kind: 'interface', field: 'out', patterns: [{ name: 'eth0', prefix: false }], negate: false }, accept] },
  { rule: 'meta iifkind "veth" accept', steps: [may('meta iifkind', unseen('meta iifkind')), accept] },
  { rule: 'meta mark 0x00004000 accept', steps: [number('mark', 0x4000), accept] },
  { rule: 'meta mark & 0x00004000 == 0x00004000 accept', steps: [masked('mark', 0x4000, 0x4000), accept] },
  { rule: 'meta mark & 0x00004000 != 0x00000000 accept', steps: [negated(masked('mark', 0x4000, 0)), accept] },
  { rule: 'meta mark | 0x00000001 == 0x00000005 accept', steps: [masked('mark', 0xfffffffe, 4), accept] },
  { rule: 'meta mark ^ 0x00000001 == 0x00000005 accept', steps: [number('mark', 4), accept] },
  { rule: 'ct mark & 0x000000ff == 0x00000001 accept', steps: [masked('connmark', 0xff, 1), accept] },
  { rule: 'meta pkttype { broadcast, multicast } accept', steps: [number('packetType', [1, 2]), accept] },
  { rule: 'meta skuid 0 accept', steps: [may('meta skuid', unseen('meta skuid')), accept] },
  { rule: 'ct state established,related accept', steps: [state('established', 'related'), accept] },
  { rule: 'ct state { established, related } accept', steps: [state('established', 'related'), accept] },
  { rule: 'ct state new accept', steps: [state('new'), accept] },
  { rule: 'ct state != new accept', steps: [negated(state('new')), accept] },
  { rule: 'ct state ! new accept', steps: [negated(state('new')), accept] },
  { rule: 'ct state new / established,new drop', steps: [state('new'), drop] },
  { rule: 'ct status dnat accept', steps: [status('dnat'), accept] },
  { rule: 'ct status snat,dnat accept', steps: [status('snat', 'dnat'), accept] },
  { rule: 'ct status & dnat == dnat accept', steps: [status('dnat'), accept] },
  { rule: 'ct status ! snat,dnat drop', steps: [negated(status('snat', 'dnat')), drop] },
  { rule: 'ct status != dnat accept', steps: [may('ct status', 'cannot judge != dnat'), accept] },
  { rule: 'ct direction original accept', steps: [{ kind: 'conntrackDirection', direction: 'original', negate: false }, accept] },
  { rule: 'ct original ip daddr 10.0.0.1 accept', steps: [v4, addresses('originalDestination', 4, '10.0.0.1'), accept] },
  { rule: 'ct reply ip6 saddr fe80::1 accept', steps: [v6, addresses('replySource', 6, 'fe80::1'), accept] },
  { rule: 'meta l4proto tcp ct original proto-dst 80 accept', steps: [tcp, number('originalDestinationPort', 80), accept] },
  { rule: 'ct protocol tcp accept', steps: [number('originalProtocol', 6), accept] },
  { rule: 'ct l3proto ipv4 accept', steps: [v4, accept] },
  { rule: 'ct zone 1 accept', steps: [may('ct zone', 'ct zone is not known before the connection'), accept] },
  { rule: 'ct count over 10 drop', steps: [may('ct count', 'it matches by the number of connections'), drop] },
  { rule: 'fib daddr type local accept', steps: [{ kind: 'addressType', side: 'destination', anyOf: ['local'], negate: false }, accept] },
  { rule: 'fib daddr . iif type local accept', steps: [{ kind: 'addressType', side: 'destination', anyOf: ['local'], limit: 'in', negate: false }, accept] },
  {
    rule: 'fib saddr type != { local, broadcast } accept',
    steps: [{ kind: 'addressType', side: 'source', anyOf: ['local', 'broadcast'], negate: true }, accept],
  },
  { rule: 'fib saddr . iif oif 0 drop', steps: [{ kind: 'reversePath', loose: false, validMark: false, negate: true }, drop] },
  { rule: 'fib saddr . iif oif missing drop', steps: [{ kind: 'reversePath', loose: false, validMark: false, negate: true }, drop] },
  { rule: 'fib saddr . mark . iif oif exists accept', steps: [{ kind: 'reversePath', loose: false, validMark: true, negate: false }, accept] },
  { rule: 'fib saddr oif missing drop', steps: [{ kind: 'reversePath', loose: true, validMark: false, negate: true }, drop] },
  { rule: 'socket transparent 1 accept', steps: [may('socket', unseen('socket')), accept] },
  { rule: 'numgen random mod 4 < 1 accept', steps: [random(0.25), accept] },
  { rule: 'numgen inc mod 10 { 1, 3-4 } drop', steps: [random(0.3), drop] },
  { rule: 'meta random & 2147483647 < 1073741824 drop', steps: [random(0.5), drop] },
  { rule: 'jhash ip saddr mod 4 0 accept', steps: [random(0.25), accept] },
  {
    rule: 'ip saddr . tcp dport { 10.0.0.1 . 80, 10.0.0.0/8 . 90 } accept',
    steps: [
      v4,
      tcp,
      {
        kind: 'lookup',
        key: [
          { kind: 'address', field: 'source' },
          { kind: 'number', field: 'destinationPort' },
        ],
        set: { kind: 'inline', elements: [{ key: [part('10.0.0.1'), part(80)] }, { key: [part('10.0.0.0/8'), part(90)] }] },
        negate: false,
      },
      accept,
    ],
  },
  {
    rule: 'meta l4proto . th dport vmap { tcp . 22 : accept, udp . 53 : jump c2 }',
    steps: [
      {
        kind: 'verdictMap',
        key: [
          { kind: 'number', field: 'protocol' },
          { kind: 'number', field: 'destinationPort' },
        ],
        map: {
          kind: 'inline',
          elements: [
            { key: [part(6), part(22)], verdict: accept },
            { key: [part(17), part(53)], verdict: c2 },
          ],
        },
      },
    ],
  },
  {
    rule: 'ip daddr vmap { 10.0.0.0/8 : drop, * : accept }',
    steps: [
      v4,
      {
        kind: 'verdictMap',
        key: [{ kind: 'address', field: 'destination' }],
        map: {
          kind: 'inline',
          elements: [
            { key: [part('10.0.0.0/8')], verdict: drop },
            { key: [{ kind: 'interval', lo: 0n, hi: (1n << 128n) - 1n }], verdict: accept },
          ],
        },
      },
    ],
  },
  { rule: 'meta mark vmap @marks', steps: [{ kind: 'verdictMap', key: [{ kind: 'number', field: 'mark' }], map: { kind: 'named', name: 'marks' } }] },
  {
    rule: 'ct state vmap { invalid : drop, established : accept }',
    steps: [
      {
        kind: 'verdictMap',
        key: [{ kind: 'conntrackState' }],
        map: {
          kind: 'inline',
          elements: [
            { key: [{ kind: 'word', word: 'invalid' }], verdict: drop },
            { key: [{ kind: 'word', word: 'established' }], verdict: accept },
          ],
        },
      },
    ],
  },
  {
    rule: 'numgen random mod 2 vmap { 0 : jump c2, 1 : drop }',
    steps: [
      {
        kind: 'verdictMap',
        key: [{ kind: 'random', modulus: 2, offset: 0 }],
        map: {
          kind: 'inline',
          elements: [
            { key: [part(0)], verdict: c2 },
            { key: [part(1)], verdict: drop },
          ],
        },
      },
    ],
  },
  { rule: 'meta mark set 0x00004000', steps: [{ kind: 'setMark', and: 0, xor: 0x4000 }] },
  { rule: 'meta mark set meta mark | 0x00004000', steps: [{ kind: 'setMark', and: 0xffffbfff, xor: 0x4000 }] },
  { rule: 'meta mark set meta mark ^ 0x00004000', steps: [{ kind: 'setMark', and: 0xffffffff, xor: 0x4000 }] },
  { rule: 'meta mark set meta mark & 0xffff0005 | 0x00000005', steps: [{ kind: 'setMark', and: 0xffff0000, xor: 5 }] },
  { rule: 'meta mark set ct mark', steps: [{ kind: 'restoreMark', connmarkMask: 0xffffffff, markMask: 0xffffffff }] },
  {
    rule: 'meta mark set ct mark & 0x000000ff | 0x00000001',
    steps: [
      { kind: 'restoreMark', connmarkMask: 0xfe, markMask: 0xffffffff },
      { kind: 'setMark', and: 0xffffffff, xor: 1 },
    ],
  },
  { rule: 'ct mark set meta mark & 0x000000ff', steps: [{ kind: 'saveMark', connmarkMask: 0xffffffff, markMask: 0xff }] },
  { rule: 'ct mark set 0x00000005', steps: [{ kind: 'setConnmark', and: 0, xor: 5 }] },
  { rule: 'meta mark set meta mark << 8', steps: [{ kind: 'unknownEffect', name: 'meta mark set meta mark << 8', reason: 'the new mark is not a constant' }] },
  { rule: 'ip daddr set 10.0.0.1', steps: [{ kind: 'unknownEffect', name: 'ip daddr set 10.0.0.1', reason: 'it rewrites the packet' }] },
  { rule: 'ip ttl set 5', steps: [{ kind: 'effectless', name: 'ip ttl set 5' }] },
  { rule: 'meta nftrace set 1', steps: [{ kind: 'effectless', name: 'meta nftrace set 1' }] },
  { rule: 'tcp option maxseg size set 1400', steps: [{ kind: 'effectless', name: 'tcp option maxseg size set 1400' }] },
  { rule: 'notrack', steps: [{ kind: 'notrack' }] },
  { rule: 'log prefix "a: " level info', steps: [{ kind: 'effectless', name: 'log' }] },
  { rule: 'counter packets 5 bytes 6 drop', steps: [{ kind: 'effectless', name: 'counter' }, drop] },
  { rule: 'limit rate 3/minute burst 10 packets accept', steps: [may('limit', 'it matches by the rate of packets'), accept] },
  { rule: 'limit rate over 10 mbytes/second drop', steps: [may('limit', 'it matches by the rate of packets'), drop] },
  { rule: 'quota over 10 mbytes drop', steps: [may('quota', 'it matches by the bytes seen so far'), drop] },
  { rule: 'update @dyn { ip saddr timeout 5m }', steps: [{ kind: 'effectless', name: 'update @dyn' }] },
  {
    rule: 'add @dyn { ip saddr limit rate 5/second burst 7 packets } accept',
    steps: [{ kind: 'effectless', name: 'add @dyn' }, may('limit', 'it matches by the rate of packets'), accept],
  },
  {
    rule: 'meta l4proto tcp tproxy ip to 127.0.0.1:80 meta mark set 0x00000001 accept',
    steps: [tcp, v4, { kind: 'setMark', and: 0, xor: 1 }, { kind: 'tproxy', address: 0x7f000001n, port: 80, markAnd: 0xffffffff, markXor: 0 }],
  },
  { rule: 'tcp dport 80 accept comment "hello"', steps: [tcp, number('destinationPort', 80), accept] },
  { rule: 'goto c2', steps: [{ kind: 'goto', chain: 'c2' }] },
  { rule: 'return', steps: [{ kind: 'return' }] },
  { rule: 'continue', steps: [{ kind: 'continue' }] },
];

/** Rejects stand in an input chain. */
const inputRules: Example[] = [
  { rule: 'reject', steps: [{ kind: 'reject', with: 'icmpx-port-unreachable' }] },
  { rule: 'reject with icmp host-unreachable', steps: [v4, { kind: 'reject', with: 'icmp-host-unreachable' }] },
  { rule: 'reject with icmpv6 no-route', steps: [v6, { kind: 'reject', with: 'icmpv6-no-route' }] },
  { rule: 'reject with icmpx admin-prohibited', steps: [{ kind: 'reject', with: 'icmpx-admin-prohibited' }] },
  { rule: 'meta l4proto tcp reject with tcp reset', steps: [tcp, { kind: 'reject', with: 'tcp-reset' }] },
];

const to = (text: string) => [range(text)];

const dnatRules: Example[] = [
  { rule: 'dnat ip to 10.0.0.1', steps: [v4, { kind: 'dnat', family: 4, addresses: to('10.0.0.1') }] },
  { rule: 'meta l4proto tcp dnat ip6 to [fe80::1]:80', steps: [tcp, v6, { kind: 'dnat', family: 6, addresses: to('fe80::1'), ports: { lo: 80, hi: 80 } }] },
  {
    rule: 'meta l4proto tcp dnat ip to 10.0.0.1-10.0.0.9:8080-8090 random',
    steps: [tcp, v4, { kind: 'dnat', family: 4, addresses: to('10.0.0.1-10.0.0.9'), ports: { lo: 8080, hi: 8090 } }],
  },
  {
    rule: 'dnat ip to numgen random mod 2 map { 0 : 10.0.0.1, 1 : 10.0.0.2 }',
    steps: [
      v4,
      {
        kind: 'dnat',
        family: 4,
        map: {
          key: [{ kind: 'random', modulus: 2, offset: 0 }],
          map: {
            kind: 'inline',
            elements: [
              { key: [part(0)], value: [part('10.0.0.1')] },
              { key: [part(1)], value: [part('10.0.0.2')] },
            ],
          },
          holds: ['address'],
        },
      },
    ],
  },
  {
    rule: 'tcp dport 80 dnat ip to tcp dport map @m1',
    steps: [
      tcp,
      number('destinationPort', 80),
      v4,
      { kind: 'dnat', family: 4, map: { key: [{ kind: 'number', field: 'destinationPort' }], map: { kind: 'named', name: 'm1' }, holds: ['address'] } },
    ],
  },
  {
    rule: 'dnat ip to ip daddr . tcp dport map @m2',
    steps: [
      v4,
      tcp,
      {
        kind: 'dnat',
        family: 4,
        map: {
          key: [
            { kind: 'address', field: 'destination' },
            { kind: 'number', field: 'destinationPort' },
          ],
          map: { kind: 'named', name: 'm2' },
          holds: ['address', 'port'],
        },
      },
    ],
  },
  {
    rule: 'meta l4proto tcp dnat ip to 10.0.0.1:tcp dport map { 80 : 8080 }',
    steps: [
      tcp,
      v4,
      {
        kind: 'dnat',
        family: 4,
        addresses: to('10.0.0.1'),
        map: {
          key: [{ kind: 'number', field: 'destinationPort' }],
          map: { kind: 'inline', elements: [{ key: [part(80)], value: [part(8080)] }] },
          holds: ['port'],
        },
      },
    ],
  },
  { rule: 'dnat ip prefix to 10.0.0.0/24', steps: [v4, { kind: 'netmap', to: { family: 4, ...range('10.0.0.0/24') } }] },
  { rule: 'redirect', steps: [{ kind: 'redirect' }] },
  { rule: 'tcp dport 99 redirect to :80', steps: [tcp, number('destinationPort', 99), { kind: 'redirect', ports: { lo: 80, hi: 80 } }] },
];

const snatRules: Example[] = [
  { rule: 'masquerade', steps: [{ kind: 'masquerade' }] },
  { rule: 'masquerade fully-random', steps: [{ kind: 'masquerade' }] },
  { rule: 'meta l4proto tcp masquerade to :1024-65535', steps: [tcp, { kind: 'masquerade', ports: { lo: 1024, hi: 65535 } }] },
  { rule: 'snat ip to 10.0.0.1', steps: [v4, { kind: 'snat', family: 4, addresses: to('10.0.0.1') }] },
  { rule: 'snat ip prefix to 10.0.0.0/24', steps: [v4, { kind: 'netmap', to: { family: 4, ...range('10.0.0.0/24') } }] },
];

const chains: Readonly<Record<string, { readonly base: string; readonly rules: readonly Example[] }>> = {
  filtering: { base: 'type filter hook prerouting priority mangle;', rules: filterRules },
  incoming: { base: 'type filter hook input priority filter; policy drop;', rules: inputRules },
  destinations: { base: 'type nat hook prerouting priority dstnat;', rules: dnatRules },
  sources: { base: 'type nat hook postrouting priority srcnat;', rules: snatRules },
};

const sets = `
  set ips { type ipv4_addr; flags interval; elements = { 10.0.0.0/8, 192.0.2.5-192.0.2.9 } }
  set dyn { type ipv4_addr; flags dynamic,timeout; timeout 5m; elements = { 192.0.2.1 timeout 1h comment "first" } }
  set kinds { type ipv4_addr . inet_proto . inet_service; flags interval; elements = { 10.0.0.0/8 . tcp . 80-90 } }
  set links { type ifname; flags interval; elements = { "eth0", "cali*" } }
  map m1 { type inet_service : ipv4_addr; elements = { 80 : 10.0.0.1 } }
  map m2 { type ipv4_addr . inet_service : ipv4_addr . inet_service; elements = { 10.0.0.1 . 80 : 10.1.1.1 . 8080 } }
  map marks { type mark : verdict; elements = { 0x1 : accept, 0x2 : jump c2 } }
`;

function rulesetText(): string {
  const bodies = Object.entries(chains).map(
    ([name, { base, rules }]) => `  chain ${name} {\n    ${base}\n${rules.map(({ rule }) => `    ${rule}`).join('\n')}\n  }\n`,
  );
  return `table inet t {\n  chain c2 { }\n${sets}${bodies.join('')}}\n`;
}

/** What the real nft lists after it has loaded the ruleset, in a network namespace that ends with it. Undefined where namespaces are not permitted. */
function listWithNft(ruleset: string): { json: string; text: string } | string {
  const script = 'ip link set lo up; nft -f /dev/stdin && nft -j list ruleset && echo ---- && nft list ruleset';
  const ran = spawnSync('unshare', ['-n', 'sh', '-c', script], { input: ruleset, encoding: 'utf8' });
  if (ran.error !== undefined || /Operation not permitted|not found/.test(ran.stderr))
    return `nft cannot run in a namespace here: ${ran.error?.message ?? ran.stderr}`;
  if (ran.status !== 0) throw new Error(`nft refuses the rules: ${ran.stderr.slice(0, 300)}`);
  const [json = '', text = ''] = ran.stdout.split('----\n');
  return { json, text };
}

t.test('rules listed by the real nft', (test) => {
  const listed = listWithNft(rulesetText());
  if (typeof listed === 'string') {
    test.plan(0, listed);
    return;
  }
  const { tables, issues } = parseNft(listed.json);
  test.same(issues, []);
  const lines = new Set(listed.text.split('\n').map((line) => line.trim()));
  const table = tables[0];
  const written = parseNftText(listed.text).tables[0];
  test.equal(table?.backend, 'nft');
  for (const [name, { rules }] of Object.entries(chains)) {
    const chain = table?.chains.get(name);
    test.equal(chain?.length, rules.length, `${name} has all its rules`);
    for (const [index, { rule, steps }] of rules.entries()) {
      const decoded = chain?.rule(index);
      test.strictSame(decoded?.steps, steps, rule);
      test.strictSame(written?.chains.get(name)?.rule(index).steps, steps, `${rule} as text`);
      test.ok(lines.has(decoded?.text ?? ''), `nft prints: ${decoded?.text}`);
    }
  }
  test.end();
});

t.test('sets listed by the real nft', (test) => {
  const listed = listWithNft(rulesetText());
  if (typeof listed === 'string') {
    test.plan(0, listed);
    return;
  }
  const found = parseNft(listed.json).tables[0]?.sets;
  const elements = (name: string) => found?.get(name)?.elements;
  test.strictSame(elements('ips'), [{ key: [part('10.0.0.0/8')] }, { key: [part('192.0.2.5-192.0.2.9')] }]);
  test.match(elements('dyn'), [{ key: [part('192.0.2.1')], comment: 'first', expiresSeconds: Number }]);
  test.strictSame(elements('kinds'), [{ key: [part('10.0.0.0/8'), part(6), { kind: 'interval', lo: 80n, hi: 90n }] }]);
  test.strictSame(elements('links'), [
    { key: [{ kind: 'interface', pattern: { name: 'cali', prefix: true } }] },
    { key: [{ kind: 'interface', pattern: { name: 'eth0', prefix: false } }] },
  ]);
  test.strictSame(elements('m1'), [{ key: [part(80)], value: [part('10.0.0.1')] }]);
  test.strictSame(elements('m2'), [{ key: [part('10.0.0.1'), part(80)], value: [part('10.1.1.1'), part(8080)] }]);
  test.strictSame(elements('marks'), [
    { key: [part(1)], verdict: accept },
    { key: [part(2)], verdict: c2 },
  ]);
  test.same(
    [...(found?.values() ?? [])].map(({ name, kind }) => `${kind} ${name}`),
    ['set ips', 'set dyn', 'set kinds', 'set links', 'map m1', 'map m2', 'vmap marks'],
  );
  test.same(found?.get('kinds')?.type, ['ipv4_addr', 'inet_proto', 'inet_service']);
  test.same(found?.get('ips')?.flags, ['interval']);
  test.end();
});

/** Decodes one rule of a table of the given family from its JSON. */
function stepsOf(family: string, ...expr: unknown[]): readonly Step[] | undefined {
  const objects = [
    { table: { family, name: 't' } },
    { chain: { family, table: 't', name: 'c' } },
    { rule: { family, table: 't', chain: 'c', handle: 7, expr } },
  ];
  return parseNft(JSON.stringify({ nftables: objects }))
    .tables[0]?.chains.get('c')
    ?.rule(0).steps;
}

const matching = (left: unknown, right: unknown, op = '==') => ({ match: { op, left, right } });
const mark = { meta: { key: 'mark' } };

t.test('a random key with too many values is not followed', (test) => {
  const map = (mod: number) => stepsOf('ip', { vmap: { key: { numgen: { mode: 'random', mod, offset: 0 } }, data: '@m' } });
  test.match(map(65_535), [{ key: [{ kind: 'random', modulus: 65_535 }] }]);
  test.match(map(65_536), [{ key: [{ kind: 'random', modulus: 65_536 }] }]);
  test.match(map(65_537), [{ key: [{ kind: 'unknown', text: 'numgen random mod 65537' }] }]);
  test.end();
});

t.test('forms of other releases of nft, and what their listing does not show', (test) => {
  test.strictSame(
    stepsOf('ip', matching({ payload: { protocol: 'ip', field: 'saddr' } }, '10.0.0.1')),
    [addresses('source', 4, '10.0.0.1')],
    'an ip table sees IPv4 only',
  );
  test.strictSame(stepsOf('ip', { reject: null }), [{ kind: 'reject', with: 'icmp-port-unreachable' }]);
  test.strictSame(stepsOf('ip6', { reject: null }), [{ kind: 'reject', with: 'icmpv6-port-unreachable' }]);
  test.strictSame(stepsOf('inet', { reject: { type: 'tcp reset' } }), [tcp, { kind: 'reject', with: 'tcp-reset' }]);
  test.strictSame(stepsOf('ip', { dnat: { addr: '10.0.0.1', port: 80 } }), [{ kind: 'dnat', family: 4, addresses: to('10.0.0.1'), ports: { lo: 80, hi: 80 } }]);
  test.strictSame(stepsOf('ip', { queue: { num: 1, flags: 'bypass' } }), [{ kind: 'queue', bypass: true }]);
  test.strictSame(stepsOf('ip', { queue: { num: { range: [1, 3] }, flags: ['fanout'] } }), [{ kind: 'queue', bypass: false }]);
  test.strictSame(stepsOf('ip', matching({ fib: { result: 'check', flags: ['saddr', 'iif'] } }, true)), [
    { kind: 'reversePath', loose: false, validMark: false, negate: false },
  ]);
  const flags = { payload: { protocol: 'tcp', field: 'flags' } };
  test.strictSame(stepsOf('ip', matching({ '&': [flags, { '|': ['syn', 'ack'] }] }, 'syn')), [tcp, masked('tcpFlags', 0x12, 2)]);
  test.strictSame(stepsOf('ip', matching({ '&': [flags, { '|': [{ '|': ['fin', 'syn'] }, 'ack'] }] }, 'syn')), [tcp, masked('tcpFlags', 0x13, 2)]);
  test.strictSame(stepsOf('ip', matching({ '>>': [mark, 8] }, 5)), [number('mark', [0x500, 0x5ff])]);
  test.strictSame(stepsOf('ip', matching({ '<<': [mark, 8] }, 0x500)), [masked('mark', 0xffffff, 5)]);
  test.strictSame(stepsOf('ip', matching({ '^': [{ '&': [mark, 0xff] }, 1] }, 4)), [masked('mark', 0xff, 5)]);
  test.strictSame(stepsOf('ip', { xt: { type: 'match', name: 'comment' } }, { xt: { type: 'target', name: 'DNAT' } }), [
    { kind: 'effectless', name: 'comment' },
    { kind: 'unknown', name: 'xt DNAT', reason: 'nft does not print the options of iptables targets' },
  ]);
  test.strictSame(stepsOf('ip', { xt: null }), [{ kind: 'unknown', name: 'xt xt', reason: 'nft does not print the options of iptables targets' }]);
  test.strictSame(
    stepsOf('inet', 'jump {\n accept\n}'),
    [{ kind: 'unknown', name: 'jump {\n accept\n}', reason: 'not a statement' }],
    'nft 1.0.6 prints anonymous chains as text',
  );
  test.strictSame(stepsOf('inet', matching({ payload: { protocol: 'arp', field: 'operation' } }, 'request')), [
    { kind: 'never', reason: 'ARP fields are in no IP packet' },
  ]);
  test.match(stepsOf('ip', { synproxy: { mss: 1460 } }), [{ kind: 'unknown', reason: 'synproxy is not among the statements that the walk knows' }]);
  test.strictSame(stepsOf('ip', { flow: { op: 'add', flowtable: '@f' } }), [{ kind: 'effectless', name: 'flow' }]);
  test.end();
});
