// One row for each match and target of iptables: the text of a rule, and the steps that the walk gets.
import t from 'tap';
import { decodeRule } from '../../../shared/netfilter/iptables.decode.ts';
import { matchModules } from '../../../shared/netfilter/iptables.matches.ts';
import { targets } from '../../../shared/netfilter/iptables.targets.ts';
import { type Family, parseAddresses, type Step } from './iptables.support.ts';

const context = (family: Family) => ({ family, isChain: (name: string) => name === 'WEB' || name === 'LED' });

const interval = (lo: number, hi = lo) => ({ lo: BigInt(lo), hi: BigInt(hi) });
const number = (field: string, ...set: [number, number?][]): object => ({ kind: 'number', field, set: set.map(([lo, hi]) => interval(lo, hi)), negate: false });
const masked = (field: string, mask: number, value: number): object => ({ kind: 'number', field, mask: BigInt(mask), set: [interval(value)], negate: false });
const address = (field: string, text: string): object => ({
  kind: 'address',
  field,
  family: text.includes(':') ? 6 : 4,
  set: parseAddresses(text),
  negate: false,
});
const device = (field: string, name: string, prefix = false): object => ({ kind: 'interface', field, patterns: [{ name, prefix }], negate: false });
const not = (step: object): object => ({ ...step, negate: true });
/** A step that may match, of a module; the reason is prose. */
const may = (module: string): object => ({ kind: 'may', module });
const never: object = { kind: 'never' };
const unknown = (name: string): object => ({ kind: 'unknown', name });
const effectless = (name: string): object => ({ kind: 'effectless', name });
const tcp = number('protocol', [6]);
const udp = number('protocol', [17]);
const drop = { kind: 'drop' };
const state = (...anyOf: string[]): object => ({ kind: 'conntrackState', anyOf, negate: false });

type Row = readonly [rule: string, ...steps: object[]];

const generic: readonly Row[] = [
  [''],
  ['-s 10.0.0.0/8', address('source', '10.0.0.0/8')],
  ['-s 10.1.2.3/8 -j DROP', address('source', '10.0.0.0/8'), drop],
  ['! -d 127.0.0.0/8', not(address('destination', '127.0.0.0/8'))],
  ['-d ! 127.0.0.0/255.0.0.0', not(address('destination', '127.0.0.0/8'))],
  ['--src 10.0.0.1,10.0.0.2 --destination 10.0.0.9', address('source', '10.0.0.1,10.0.0.2'), address('destination', '10.0.0.9')],
  ['-s 0.0.0.0/0 -d 0/0'],
  ['! -s 0.0.0.0/0', not(address('source', '0.0.0.0/0'))],
  ['-s host.example.net', may('-s')],
  ['-d 2001:db8::/32', may('-d')],
  ['-s 10.0.12.0/255.0.255.0 -j DROP', may('-s'), drop],
  ['-i eth0 -o cali+', device('in', 'eth0'), device('out', 'cali', true)],
  ['! -i docker0 -o +', not(device('in', 'docker0'))],
  ['! -o +', not(device('out', '', true))],
  ['-p tcp', tcp],
  ['-p 6', tcp],
  ['! -p udp', not(udp)],
  ['-p ! udp', not(udp)],
  ['-p all -p 0'],
  ['! -p all', never],
  ['-p quic', may('-p')],
  ['-p sctp', number('protocol', [132])],
  ['-p udplite', number('protocol', [136])],
  ['-p icmp', number('protocol', [1])],
  ['-p ipv6-icmp', number('protocol', [58])],
  ['-p icmpv6', number('protocol', [58])],
  ['-p esp', number('protocol', [50])],
  ['-p ah', number('protocol', [51])],
  ['-p gre', number('protocol', [47])],
  ['-p dccp', number('protocol', [33])],
  ['-p ipip', number('protocol', [4])],
  ['-f -j DROP', never, drop],
  ['! -f'],
  ['-4'],
  ['-6 -j DROP', never, drop],
  ['-c 7 9 -j DROP', drop],
  ['--protocol=tcp --jump=DROP', tcp, drop],
  ['-ptcp -ieth0', tcp, device('in', 'eth0')],
  ['-j DROP -p tcp', tcp, drop],
  ['-j WEB', { kind: 'jump', chain: 'WEB' }],
  ['-g WEB', { kind: 'goto', chain: 'WEB' }],
  ['-j LED', { kind: 'jump', chain: 'LED' }],
  ['-j NOSUCH', unknown('NOSUCH')],
  ['-g NOSUCH', unknown('NOSUCH')],
  ['-p tcp -j DNAT [unsupported revision]', tcp, unknown('DNAT')],
  ['-m conntrack [unsupported revision] -j DROP', may('conntrack'), drop],
  ['-m nosuch --foo 1 --bar -i eth0 -j DROP', may('nosuch'), device('in', 'eth0'), drop],
  ['-p tcp -m tcp --foo 1 2 --dport 80 -j DROP', tcp, number('destinationPort', [80]), may('tcp'), drop],
  ['--foo -j DROP', may('option'), drop],
  ['-j DNAT --foo 1 --to-destination 1.2.3.4', unknown('DNAT')],
  ['-j DROP stray', may('text'), drop],
  ['-m comment --comment "open -j DROP', may('text'), unknown('text')],
  ['-i', may('option')],
];

const matches: readonly Row[] = [
  ['-p tcp -m tcp --dport 80', tcp, number('destinationPort', [80])],
  ['-p tcp --dport 30000:32767', tcp, number('destinationPort', [30000, 32767])],
  ['-p tcp --sport :1023 --destination-port 60000:', tcp, number('sourcePort', [0, 1023]), number('destinationPort', [60000, 65535])],
  ['-p tcp -m tcp ! --dport 80', tcp, not(number('destinationPort', [80]))],
  ['-p tcp -m tcp --dport ! 80', tcp, not(number('destinationPort', [80]))],
  ['-p tcp -m tcp --dport https', tcp, number('destinationPort', [443])],
  ['-p tcp -m tcp --dport nosuchport', tcp, may('tcp')],
  ['-p tcp -m tcp --dport 65536', tcp, may('tcp')],
  ['-p tcp -m tcp --dport 0:65535', tcp],
  ['-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN', tcp, masked('tcpFlags', 23, 2)],
  ['-p tcp -m tcp --tcp-flags ALL NONE', tcp, masked('tcpFlags', 63, 0)],
  ['-p tcp ! --syn', tcp, not(masked('tcpFlags', 23, 2))],
  ['-p tcp -m tcp --tcp-option 2', tcp, may('tcp')],
  ['-p udp -m udp --sport 53', udp, number('sourcePort', [53])],
  ['-p udplite -m udplite --dport 53', number('protocol', [136]), number('destinationPort', [53])],
  ['-p sctp -m sctp --dport 36412 --chunk-types any DATA', number('protocol', [132]), number('destinationPort', [36412]), number('sctpChunk', [0])],
  ['-p sctp -m sctp --chunk-types only INIT,INIT_ACK', number('protocol', [132]), number('sctpChunk', [1, 2])],
  ['-p sctp -m sctp ! --chunk-types all INIT', number('protocol', [132]), not(number('sctpChunk', [1]))],
  ['-p sctp -m sctp --chunk-types all INIT,DATA', number('protocol', [132]), never],
  ['-p sctp -m sctp ! --chunk-types all INIT,DATA', number('protocol', [132])],
  ['-p sctp -m sctp --chunk-types any ALL', number('protocol', [132]), number('sctpChunk', [0, 255])],
  ['-p sctp -m sctp --chunk-types any NONE', number('protocol', [132]), number('sctpChunk')],
  ['-p sctp -m sctp --chunk-types any DATA:Be', number('protocol', [132]), may('sctp')],
  ['-p sctp -m sctp --chunk-types any NOSUCH', number('protocol', [132]), may('sctp')],
  ['-p dccp -m dccp --dport 1 --dccp-types REQUEST', number('protocol', [33]), number('destinationPort', [1]), may('dccp')],
  ['-p icmp -m icmp --icmp-type 8', number('protocol', [1]), number('icmpType', [8])],
  ['-p icmp -m icmp --icmp-type echo-request', number('protocol', [1]), number('icmpType', [8])],
  ['-p icmp -m icmp --icmp-type 3/4', number('protocol', [1]), number('icmpType', [3]), number('icmpCode', [4])],
  ['-p icmp -m icmp --icmp-type 3/1:4', number('protocol', [1]), number('icmpType', [3]), number('icmpCode', [1, 4])],
  ['-p icmp -m icmp ! --icmp-type 3/4', number('protocol', [1]), may('icmp')],
  ['-p icmp -m icmp --icmp-type any', number('protocol', [1])],
  ['-p icmp -m icmp ! --icmp-type any', number('protocol', [1]), never],
  ['-p ipv6-icmp -m icmp6 --icmpv6-type neighbour-solicitation', number('protocol', [58]), number('icmpType', [135])],
  ['-p tcp -m multiport --dports 80,443,8000:8080', tcp, number('destinationPort', [80], [443], [8000, 8080])],
  ['-p tcp -m multiport ! --sports 80', tcp, not(number('sourcePort', [80]))],
  ['-p tcp -m multiport --ports 80', tcp, may('multiport')],
  ['-p tcp -m multiport ! --ports 80', tcp, not(number('sourcePort', [80])), not(number('destinationPort', [80]))],
  ['-m iprange --src-range 10.0.0.5-10.0.0.9', { ...address('source', '10.0.0.5'), set: [{ lo: 0x0a000005n, hi: 0x0a000009n }] }],
  ['-m iprange ! --dst-range 10.0.0.5-10.0.0.5', not(address('destination', '10.0.0.5'))],
  ['-m iprange --src-range 10.0.0.9-10.0.0.5', may('iprange')],
  ['-m addrtype --dst-type LOCAL', { kind: 'addressType', side: 'destination', anyOf: ['local'], negate: false }],
  ['-m addrtype ! --src-type LOCAL,UNICAST', { kind: 'addressType', side: 'source', anyOf: ['local', 'unicast'], negate: true }],
  ['-m addrtype --dst-type LOCAL --limit-iface-in', { kind: 'addressType', side: 'destination', anyOf: ['local'], limit: 'in', negate: false }],
  ['-m addrtype --dst-type LOCAL --limit-iface-out', { kind: 'addressType', side: 'destination', anyOf: ['local'], limit: 'out', negate: false }],
  ['-m addrtype --dst-type FOO', may('addrtype')],
  ['-m conntrack --ctstate RELATED,ESTABLISHED', state('related', 'established')],
  ['-m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT', not(state('related', 'established', 'dnat'))],
  ['-m conntrack --ctstate DN', may('conntrack')],
  ['-m conntrack --ctd ORIGINAL', { kind: 'conntrackDirection', direction: 'original', negate: false }],
  ['-m conntrack --cts INVALID', may('conntrack')],
  ['-m conntrack --ctproto 6', number('originalProtocol', [6])],
  ['-m conntrack --ctorigsrc 10.0.0.0/8', address('originalSource', '10.0.0.0/8')],
  ['-m conntrack --ctorigdst 10.0.0.1', address('originalDestination', '10.0.0.1')],
  ['-m conntrack --ctreplsrc 10.0.0.1', address('replySource', '10.0.0.1')],
  ['-m conntrack ! --ctrepldst 10.0.0.1', not(address('replyDestination', '10.0.0.1'))],
  ['-m conntrack --ctorigsrcport 1:1023', number('originalSourcePort', [1, 1023])],
  ['-m conntrack --ctorigdstport 80', number('originalDestinationPort', [80])],
  ['-m conntrack --ctreplsrcport 80', may('conntrack')],
  ['-m conntrack --ctstatus EXPECTED,CONFIRMED', { kind: 'conntrackStatus', anyOf: ['expected', 'confirmed'], negate: false }],
  ['-m conntrack --ctstatus NONE', never],
  ['-m conntrack ! --ctstatus NONE'],
  ['-m conntrack --ctexpire 1:2', may('conntrack')],
  ['-m conntrack --ctdir REPLY', { kind: 'conntrackDirection', direction: 'reply', negate: false }],
  ['-m state --state NEW', state('new')],
  ['-m mark --mark 0x4000/0x4000', masked('mark', 0x4000, 0x4000)],
  ['-m mark ! --mark 16384', not(number('mark', [16384]))],
  ['-m mark --mark 0x1ffffffff', may('mark')],
  ['-m connmark --mark 0x1/0xff', masked('connmark', 0xff, 1)],
  ['-m connmark --mark 1 -m mark --mark 2', number('connmark', [1]), number('mark', [2])],
  ['-m statistic --mode random --probability 0.50000000000', { kind: 'random', probability: 0.5, negate: false }],
  ['-m statistic --mode random ! --probability 0.25', { kind: 'random', probability: 0.25, negate: true }],
  ['-m statistic --mode nth --every 4 --packet 0', { kind: 'random', probability: 0.25, negate: false }],
  ['-m statistic --mode nth ! --every 5 --packet 2', { kind: 'random', probability: 0.2, negate: true }],
  ['-m statistic --mode random', may('statistic')],
  ['-m recent --set --name A --mask 255.255.255.255 --rsource', { kind: 'recent', operation: 'set', list: 'A', side: 'source', negate: false }],
  ['-m recent --rcheck --seconds 10800 --reap --name A --rdest', { kind: 'recent', operation: 'rcheck', list: 'A', side: 'destination', negate: false }],
  ['-m recent ! --update', { kind: 'recent', operation: 'update', list: 'DEFAULT', side: 'source', negate: true }],
  ['-m recent --remove', { kind: 'recent', operation: 'remove', list: 'DEFAULT', side: 'source', negate: false }],
  ['-m recent --update --seconds 60 --hitcount 4', may('recent')],
  ['-m set --match-set KUBE-CLUSTER-IP dst,dst', { kind: 'ipset', set: 'KUBE-CLUSTER-IP', sides: ['destination', 'destination'], negate: false }],
  ['-m set ! --match-set allowed src', { kind: 'ipset', set: 'allowed', sides: ['source'], negate: true }],
  ['-m set --set old src', { kind: 'ipset', set: 'old', sides: ['source'], negate: false }],
  ['-m set --match-set s src --return-nomatch', may('set')],
  ['-m set --match-set s src ! --update-counters --packets-gt 3', { kind: 'ipset', set: 's', sides: ['source'], negate: false }, may('set')],
  ['-m rpfilter --loose --validmark --accept-local --invert', { kind: 'reversePath', loose: true, validMark: true, negate: true }],
  ['-m rpfilter', { kind: 'reversePath', loose: false, validMark: false, negate: false }],
  ['-m physdev --physdev-in vnet+ ! --physdev-out eth1', device('physicalIn', 'vnet', true), not(device('physicalOut', 'eth1'))],
  ['-m physdev ! --physdev-is-in --physdev-is-out', not(device('physicalIn', '', true)), device('physicalOut', '', true)],
  ['-m physdev --physdev-is-bridged', may('physdev')],
  ['-m length --length 40:60', number('length', [40, 60])],
  ['-m ttl --ttl-eq 64', number('ttl', [64])],
  ['-m ttl --ttl-lt 3', number('ttl', [0, 2])],
  ['-m ttl --ttl-gt 254', number('ttl', [255])],
  ['-m hl --hl-eq 255', number('ttl', [255])],
  ['-m dscp --dscp 0x2e', number('dscp', [46])],
  ['-m dscp --dscp-class AF11', number('dscp', [10])],
  ['-m pkttype --pkt-type multicast', number('packetType', [2])],
  ['-m comment --comment "x -j DROP" -j ACCEPT', { kind: 'accept' }],
  ['-m nfacct --nfacct-name  localhost_nps_accepted_pkts -j WEB', { kind: 'jump', chain: 'WEB' }],
  ['-m tos --tos 0x10/0x3f', may('tos')],
  ['-p tcp -m ecn --ecn-tcp-cwr', tcp, may('ecn')],
  ['-p tcp -m tcpmss --mss 1:500', tcp, may('tcpmss')],
  ['-p ah -m ah --ahspi 1', number('protocol', [51]), may('ah')],
  ['-p esp -m esp --espspi 1', number('protocol', [50]), may('esp')],
  ['-m ipcomp --ipcompspi 1', may('ipcomp')],
  ['-m frag --fragfirst', never],
  ['-m rt --rt-type 0 --rt-segsleft 0', never],
  ['-m hbh --hbh-len 1', never],
  ['-m dst ! --dst-len 1', never],
  ['-m ipv6header --header frag --soft', may('ipv6header')],
  ['-m mh --mh-type 1', may('mh')],
  ['-m srh --srh-next-hdr 17', never],
  ['-m eui64', may('eui64')],
  ['-m mac --mac-source 00:11:22:33:44:55', may('mac')],
  ['-m limit --limit 10/min --limit-burst 5', may('limit')],
  ['-m hashlimit --hashlimit-above 1/sec --hashlimit-burst 5 --hashlimit-mode srcip --hashlimit-name x', may('hashlimit')],
  ['-m connlimit --connlimit-above 3 --connlimit-mask 32 --connlimit-saddr', may('connlimit')],
  ['-m connbytes --connbytes 0:1000 --connbytes-mode packets --connbytes-dir both', may('connbytes')],
  ['-m connlabel --label 40 --set', may('connlabel')],
  ['-m helper --helper ftp', may('helper')],
  ['-m quota --quota 1000', may('quota')],
  ['-m rateest --rateest RE1 --rateest-lt --rateest-bps 8bit', may('rateest')],
  ['-m time --timestart 01:00 --timestop 02:00 --weekdays Mon,Fri', may('time')],
  ['-m owner --uid-owner 1337', may('owner')],
  ['-m cgroup ! --cgroup 5', may('cgroup')],
  ['-m socket --transparent --nowildcard', may('socket')],
  ['-m string --string "GET /" --algo bm --to 65535 -j DROP', may('string'), drop],
  ['-m u32 --u32 "0x0=0x0&&0x0=0x1"', may('u32')],
  ['-m bpf --bytecode "4,48 0 0 9,21 0 1 6,6 0 0 1,6 0 0 0"', may('bpf')],
  ['-m ipvs --vaddr 10.0.0.1 --vport 80', may('ipvs')],
  ['-m policy --dir in --pol ipsec --proto esp --mode tunnel', may('policy')],
  ['-m cpu --cpu 0', may('cpu')],
  ['-m devgroup --src-group 0x1', may('devgroup')],
  ['-m realm --realm 1', may('realm')],
  ['-m cluster --cluster-total-nodes 2 --cluster-local-node 1 --cluster-hash-seed 1', may('cluster')],
  ['-m osf --genre Linux', may('osf')],
];

const nat = (kind: string, text?: string, ports?: [number, number]): object => ({
  kind,
  ...(text === undefined ? {} : { family: text.includes(':') ? 6 : 4, addresses: parseAddresses(text) }),
  ...(ports === undefined ? {} : { ports: { lo: ports[0], hi: ports[1] } }),
});
const mark = (kind: string, and: number, xor: number): object => ({ kind, and, xor });

const targetRows: readonly Row[] = [
  ['-j ACCEPT', { kind: 'accept' }],
  ['-j DROP', drop],
  ['-j RETURN', { kind: 'return' }],
  ['-j QUEUE', { kind: 'queue', bypass: false }],
  ['-j NFQUEUE --queue-balance 0:3', { kind: 'queue', bypass: false }],
  ['-j NFQUEUE --queue-num 1 --queue-bypass', { kind: 'queue', bypass: true }],
  ['-j REJECT', { kind: 'reject', with: 'icmp-port-unreachable' }],
  ['-j REJECT --reject-with icmp-host-prohibited', { kind: 'reject', with: 'icmp-host-prohibited' }],
  ['-p tcp -j REJECT --reject-with tcp-rst', tcp, { kind: 'reject', with: 'tcp-reset' }],
  ['-p tcp -m tcp -j DNAT --to-destination 10.244.1.5:8080', tcp, nat('dnat', '10.244.1.5', [8080, 8080])],
  ['-j DNAT --to-destination 10.0.0.5 --random --persistent', nat('dnat', '10.0.0.5')],
  ['-j DNAT --to-destination 10.0.0.4-10.0.0.7:80-89', nat('dnat', '10.0.0.4/30', [80, 89])],
  ['-j DNAT --to-destination :8080', nat('dnat', undefined, [8080, 8080])],
  ['-j DNAT --to-destination 1.1.1.1:1000-2000/3000', nat('dnat', '1.1.1.1', [1000, 2000])],
  ['-j DNAT --to-destination 10.0.0.4:80 --to-destination 10.0.0.9:80', nat('dnat', '10.0.0.4,10.0.0.9', [80, 80])],
  ['-j DNAT --to-destination 10.0.0.4:80 --to-destination 10.0.0.9:81', unknown('DNAT')],
  ['-j DNAT --to-destination  --random --to-destination 0.0.0.0:0', unknown('DNAT')],
  ['-j DNAT --to-destination [fd00::1]:80', unknown('DNAT')],
  ['-j DNAT', unknown('DNAT')],
  ['-j SNAT --to-source 10.0.0.1:1024-65535', nat('snat', '10.0.0.1', [1024, 65535])],
  ['-j MASQUERADE --random-fully', nat('masquerade')],
  ['-p udp -j MASQUERADE --to-ports 1024-2047', udp, nat('masquerade', undefined, [1024, 2047])],
  ['-p tcp -j REDIRECT --to-ports 15001', tcp, nat('redirect', undefined, [15001, 15001])],
  ['-p tcp -j REDIRECT --to-port http', tcp, nat('redirect', undefined, [80, 80])],
  ['-j REDIRECT', nat('redirect')],
  ['-j NETMAP --to 10.1.0.0/16', { kind: 'netmap', to: { family: 4, lo: 0x0a010000n, hi: 0x0a01ffffn } }],
  ['-j MARK --set-xmark 0x4000/0x4000', mark('setMark', 0xffffbfff, 0x4000)],
  ['-j MARK --set-xmark 0x4000/0x0', mark('setMark', 0xffffffff, 0x4000)],
  ['-j MARK --set-mark 0x3/0x1', mark('setMark', 0xfffffffc, 0x3)],
  ['-j MARK --set-mark 1', mark('setMark', 0, 1)],
  ['-j MARK --and-mark 0xff', mark('setMark', 0xff, 0)],
  ['-j MARK --or-mark 0x4000', mark('setMark', 0xffffbfff, 0x4000)],
  ['-j MARK --xor-mark 0x4000', mark('setMark', 0xffffffff, 0x4000)],
  ['-j CONNMARK --set-xmark 0x1/0x1', mark('setConnmark', 0xfffffffe, 1)],
  ['-j CONNMARK --restore-mark --nfmask 0xff --ctmask 0xf0', { kind: 'restoreMark', connmarkMask: 0xf0, markMask: 0xff }],
  ['-j CONNMARK --save-mark --mask 0xff', { kind: 'saveMark', connmarkMask: 0xff, markMask: 0xff }],
  ['-j CONNMARK --restore-mark', { kind: 'restoreMark', connmarkMask: 0xffffffff, markMask: 0xffffffff }],
  ['-j CT --notrack', { kind: 'notrack' }],
  ['-p tcp -j CT --helper ftp', tcp, effectless('CT')],
  ['-j NOTRACK', { kind: 'notrack' }],
  [
    '-p tcp -j TPROXY --on-port 15001 --on-ip 127.0.0.1 --tproxy-mark 0x539/0xffffffff',
    tcp,
    { kind: 'tproxy', markAnd: 0, markXor: 0x539, address: 0x7f000001n, port: 15001 },
  ],
  ['-p tcp -j TPROXY --on-port 0 --on-ip 0.0.0.0', tcp, { kind: 'tproxy', markAnd: 0xffffffff, markXor: 0 }],
  ['-j SET --add-set seen src --exist --timeout 60', effectless('SET')],
  ['-j SET --map-set marks src --map-mark', { kind: 'unknownEffect', name: 'SET' }],
  ['-j LOG --log-prefix "it\'s \\"here\\": " --log-level 4 --log-uid', effectless('LOG')],
  ['-j NFLOG --nflog-group 100 --nflog-prefix "x -j DROP"', effectless('NFLOG')],
  ['-j ULOG --ulog-nlgroup 1', effectless('ULOG')],
  ['-j TRACE', effectless('TRACE')],
  ['-j AUDIT --type accept', effectless('AUDIT')],
  ['-p tcp -j TCPMSS --clamp-mss-to-pmtu', tcp, effectless('TCPMSS')],
  ['-p tcp -j TCPOPTSTRIP --strip-options 2,3', tcp, effectless('TCPOPTSTRIP')],
  ['-j CHECKSUM --checksum-fill', effectless('CHECKSUM')],
  ['-j CLASSIFY --set-class 1:1', effectless('CLASSIFY')],
  ['-j DSCP --set-dscp 0x2e', effectless('DSCP')],
  ['-j TOS --set-tos 0x10/0x3f', effectless('TOS')],
  ['-p tcp -j ECN --ecn-tcp-remove', tcp, effectless('ECN')],
  ['-j TTL --ttl-inc 1', effectless('TTL')],
  ['-j HL --hl-set 64', effectless('HL')],
  ['-j SECMARK --selctx system_u:object_r:x_t:s0', effectless('SECMARK')],
  ['-j CONNSECMARK --save', effectless('CONNSECMARK')],
  ['-j IDLETIMER --timeout 1 --label x', effectless('IDLETIMER')],
  ['-j RATEEST --rateest-name x --rateest-interval 250ms --rateest-ewmalog 500ms', effectless('RATEEST')],
  ['-j TEE --gateway 10.0.0.1', effectless('TEE')],
  ['-j FLOWOFFLOAD --hw', effectless('FLOWOFFLOAD')],
  ['-p tcp -j SYNPROXY --sack-perm --timestamp --wscale 7 --mss 1460', tcp, unknown('SYNPROXY')],
  ['-j CLUSTERIP --new --hashmode sourceip', unknown('CLUSTERIP')],
  ['-j HMARK --hmark-tuple src --hmark-mod 2', { kind: 'unknownEffect', name: 'HMARK' }],
  ['-j DNPT --src-pfx fd00::/64 --dst-pfx fd01::/64', { kind: 'unknownEffect', name: 'DNPT' }],
  ['-j SNPT --src-pfx fd00::/64 --dst-pfx fd01::/64', { kind: 'unknownEffect', name: 'SNPT' }],
];

const family6: readonly Row[] = [
  ['-s fd00::/8 -j REJECT', address('source', 'fd00::/8'), { kind: 'reject', with: 'icmp6-port-unreachable' }],
  ['-j REJECT --reject-with port-unreach', { kind: 'reject', with: 'icmp6-port-unreachable' }],
  ['-j REJECT --reject-with adm-prohibited', { kind: 'reject', with: 'icmp6-adm-prohibited' }],
  ['-p tcp -j DNAT --to-destination [fd00::1]:8080', tcp, nat('dnat', 'fd00::1', [8080, 8080])],
  ['-j DNAT --to-destination fd00::1', nat('dnat', 'fd00::1')],
  ['-j NETMAP --to 10.1.0.0/16', unknown('NETMAP')],
  ['-4 -j DROP', never, drop],
  ['-s ::/0 -j DROP', drop],
];

/** Reasons are for people: rows leave them out, but where there has to be one it is not empty. */
function withoutReasons(steps: readonly Step[]): object[] {
  return steps.map((step) => {
    if (!('reason' in step)) return step;
    const { reason, ...rest } = step;
    return reason === '' ? { ...rest, reason } : rest;
  });
}

const tables: readonly (readonly [string, Family, readonly Row[]])[] = [
  ['the rule itself', 4, generic],
  ['matches', 4, matches],
  ['targets', 4, targetRows],
  ['IPv6', 6, family6],
];

for (const [name, family, rows] of tables) {
  t.test(name, (t) => {
    for (const [rule, ...expected] of rows) t.strictSame(withoutReasons(decodeRule(`-A X ${rule}`, context(family)).steps), expected, rule);
    t.end();
  });
}

t.test('every match and target of the lists has a row', (t) => {
  const texts = [...generic, ...matches, ...targetRows, ...family6].map(([rule]) => ` ${rule} `);
  for (const name of matchModules.keys())
    t.ok(
      texts.some((text) => text.includes(` -m ${name} `)),
      `-m ${name}`,
    );
  for (const name of targets.keys())
    if (name !== 'LED')
      t.ok(
        texts.some((text) => text.includes(` -j ${name} `)),
        `-j ${name}`,
      );
  t.strictSame(decodeRule('-A X -j LED --led-trigger-id x', { family: 4, isChain: () => false }).steps, [{ kind: 'effectless', name: 'LED' }]);
  t.end();
});

t.test('comments and counters are read off', (t) => {
  const decoded = decodeRule('-A X -m comment --comment "say \\"hi\\" \\\\ -j DROP" -c 12 34', context(4));
  t.equal(decoded.comment, 'say "hi" \\ -j DROP');
  t.strictSame(decoded.counter, { packets: 12n, bytes: 34n });
  t.strictSame(decoded.steps, []);
  t.equal(decodeRule("-A X -m comment --comment 'single quoted' -j DROP", context(4)).comment, 'single quoted');
  t.equal(decodeRule("-A X -m comment --comment it's", context(4)).comment, "it's");
  t.equal(decodeRule('-A X -m comment --comment bare\\slash', context(4)).comment, 'bare\\slash');
  t.end();
});

t.test('what is not known is named', (t) => {
  const names = (rule: string) => decodeRule(`-A X ${rule}`, context(4)).unknown.map(({ kind, name }) => `${kind} ${name}`);
  t.strictSame(names('-p tcp -m tcp --dport 80 -j DROP'), []);
  t.strictSame(names('-m nosuch --foo 1 -j NOSUCH'), ['option --foo', 'match nosuch', 'target NOSUCH']);
  t.strictSame(names('-p tcp -m tcp --dport x'), ['value -m tcp --dport x']);
  t.strictSame(names('-j DNAT [unsupported revision]'), ['target DNAT [unsupported revision]']);
  t.end();
});
