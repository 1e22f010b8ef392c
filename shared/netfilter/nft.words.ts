// The words that nft prints for numbers, by nft's names of data types (`nft describe TYPE` lists them).

/** Words of one data type and the numbers they stand for. */
export type Words = ReadonlyMap<string, bigint>;

/** The number of a word; undefined for a type without words or a word that it does not know. */
export function wordNumber(type: string, word: string): bigint | undefined {
  return words.get(type)?.get(word);
}

const table = (entries: Readonly<Record<string, number>>): Words => new Map(Object.entries(entries).map(([word, value]) => [word, BigInt(value)]));

/** IP protocol numbers by the names of /etc/protocols. */
export const protocolWords: Words = table({
  ip: 0,
  hopopt: 0,
  icmp: 1,
  igmp: 2,
  ggp: 3,
  ipencap: 4,
  ipip: 94,
  st: 5,
  tcp: 6,
  egp: 8,
  igp: 9,
  pup: 12,
  udp: 17,
  hmp: 20,
  'xns-idp': 22,
  rdp: 27,
  'iso-tp4': 29,
  dccp: 33,
  xtp: 36,
  ddp: 37,
  'idpr-cmtp': 38,
  ipv6: 41,
  'ipv6-route': 43,
  'ipv6-frag': 44,
  idrp: 45,
  rsvp: 46,
  gre: 47,
  esp: 50,
  ah: 51,
  skip: 57,
  'ipv6-icmp': 58,
  icmpv6: 58,
  'ipv6-nonxt': 59,
  'ipv6-opts': 60,
  rspf: 73,
  vmtp: 81,
  eigrp: 88,
  ospf: 89,
  ospfigp: 89,
  'ax.25': 93,
  etherip: 97,
  encap: 98,
  pim: 103,
  comp: 108,
  ipcomp: 108,
  vrrp: 112,
  l2tp: 115,
  isis: 124,
  sctp: 132,
  fc: 133,
  'mobility-header': 135,
  udplite: 136,
  'mpls-in-ip': 137,
  manet: 138,
  hip: 139,
  shim6: 140,
  wesp: 141,
  rohc: 142,
  ethernet: 143,
  mptcp: 262,
});

/** Bits of the TCP flags byte. */
const tcpFlagWords = table({ fin: 0x01, syn: 0x02, rst: 0x04, psh: 0x08, ack: 0x10, urg: 0x20, ecn: 0x40, cwr: 0x80 });

const icmpTypeWords = table({
  'echo-reply': 0,
  'destination-unreachable': 3,
  'source-quench': 4,
  redirect: 5,
  'echo-request': 8,
  'router-advertisement': 9,
  'router-solicitation': 10,
  'time-exceeded': 11,
  'parameter-problem': 12,
  'timestamp-request': 13,
  'timestamp-reply': 14,
  'info-request': 15,
  'info-reply': 16,
  'address-mask-request': 17,
  'address-mask-reply': 18,
});

const icmpCodeWords = table({
  'net-unreachable': 0,
  'host-unreachable': 1,
  'prot-unreachable': 2,
  'port-unreachable': 3,
  'frag-needed': 4,
  'net-prohibited': 9,
  'host-prohibited': 10,
  'admin-prohibited': 13,
});

const icmpv6TypeWords = table({
  'destination-unreachable': 1,
  'packet-too-big': 2,
  'time-exceeded': 3,
  'parameter-problem': 4,
  'echo-request': 128,
  'echo-reply': 129,
  'mld-listener-query': 130,
  'mld-listener-report': 131,
  'mld-listener-done': 132,
  'mld-listener-reduction': 132,
  'nd-router-solicit': 133,
  'nd-router-advert': 134,
  'nd-neighbor-solicit': 135,
  'nd-neighbor-advert': 136,
  'nd-redirect': 137,
  'router-renumbering': 138,
  'ind-neighbor-solicit': 141,
  'ind-neighbor-advert': 142,
  'mld2-listener-report': 143,
});

const icmpv6CodeWords = table({ 'no-route': 0, 'admin-prohibited': 1, 'addr-unreachable': 3, 'port-unreachable': 4, 'policy-fail': 5, 'reject-route': 6 });

const dscpWords = table({
  be: 0,
  cs0: 0,
  le: 1,
  cs1: 8,
  af11: 10,
  af12: 12,
  af13: 14,
  cs2: 16,
  af21: 18,
  af22: 20,
  af23: 22,
  cs3: 24,
  af31: 26,
  af32: 28,
  af33: 30,
  cs4: 32,
  af41: 34,
  af42: 36,
  af43: 38,
  cs5: 40,
  va: 44,
  ef: 46,
  cs6: 48,
  cs7: 56,
});

/** Family words are given the kernel's NFPROTO_* numbers. EtherTypes of IP are read as the family they carry, so that both ask for the same field. */
const familyWords = table({ ipv4: 2, ipv6: 10 });
const etherTypeWords = table({ ip: 2, ip6: 10, arp: 0x0806, vlan: 0x8100, '8021q': 0x8100, '8021ad': 0x88a8 });

/** PACKET_* of the kernel. */
const packetTypeWords = table({ host: 0, unicast: 0, broadcast: 1, multicast: 2, other: 3 });

const words: ReadonlyMap<string, Words> = new Map([
  ['inet_proto', protocolWords],
  ['tcp_flag', tcpFlagWords],
  ['icmp_type', icmpTypeWords],
  ['icmp_code', icmpCodeWords],
  ['icmpv6_type', icmpv6TypeWords],
  ['icmpv6_code', icmpv6CodeWords],
  ['dscp', dscpWords],
  ['nf_proto', familyWords],
  ['ether_type', etherTypeWords],
  ['pkt_type', packetTypeWords],
]);
