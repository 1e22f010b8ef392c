// Random ipsets of every type that the kernel under test has, matches that ask for them, and what is done to them between packets.
import fc from 'fast-check';

type Family = 4 | 6;

interface SetType {
  readonly name: string;
  readonly create: string;
  /** Entries as `add` takes them, options included. */
  readonly entries: readonly string[];
  /** How rules ask: one side for each dimension. */
  readonly sides: readonly string[];
}

const types4: readonly SetType[] = [
  { name: 's-ip', create: 'hash:ip', entries: ['10.9.0.2', '203.0.113.9', '10.9.0.1', '10.244.1.11', '198.51.100.7', '10.9.0.64/30'], sides: ['src', 'dst'] },
  {
    name: 's-net',
    create: 'hash:net',
    entries: [
      '10.9.0.0/24',
      '10.9.0.64/26 nomatch',
      '198.51.100.0/25',
      '10.9.0.2 nomatch',
      '10.244.0.0/16',
      '10.244.2.0/24 nomatch',
      '10.9.0.0/28 nomatch',
      '0.0.0.0/1',
    ],
    sides: ['src', 'dst'],
  },
  {
    name: 's-ipport',
    create: 'hash:ip,port',
    entries: ['10.9.0.1,tcp:30080', '10.9.0.1,udp:30053', '10.244.1.11,tcp:8080', '10.9.0.1,sctp:30036', '10.9.0.21,tcp:8080-8443'],
    sides: ['dst,dst', 'src,dst'],
  },
  {
    name: 's-ipportip',
    create: 'hash:ip,port,ip',
    entries: ['10.9.0.1,tcp:30080,10.9.0.2', '10.9.0.1,tcp:30080,198.51.100.7', '10.244.1.11,tcp:8080,10.9.0.3', '10.9.0.1,sctp:30036,10.9.0.2'],
    sides: ['dst,dst,src'],
  },
  {
    name: 's-ipportnet',
    create: 'hash:ip,port,net',
    entries: ['10.9.0.1,tcp:30080,10.9.0.0/24', '10.9.0.1,tcp:30080,10.9.0.2 nomatch', '10.9.0.1,tcp:8080,0.0.0.0/1', '10.244.1.11,tcp:8080,10.9.0.0/24'],
    sides: ['dst,dst,src'],
  },
  {
    name: 's-netport',
    create: 'hash:net,port',
    entries: ['10.9.0.0/24,tcp:30080', '10.9.0.2,tcp:30080 nomatch', '198.51.100.0/24,udp:30053', '10.244.0.0/16,tcp:8080', '10.9.0.0/24,sctp:30036'],
    sides: ['src,dst', 'dst,dst'],
  },
  {
    name: 's-netiface',
    create: 'hash:net,iface',
    entries: ['10.9.0.0/24,eth0', '10.9.0.2,eth0 nomatch', '10.244.0.0/16,cni0', '10.8.0.0/24,eth1', '10.244.3.71,cali wildcard', '10.9.0.0/24,eth wildcard'],
    sides: ['src,src', 'dst,src'],
  },
  { name: 's-port', create: 'bitmap:port range 0-65535', entries: ['30080', '8443', '30036', '30053', '8080-8081'], sides: ['dst', 'src'] },
  {
    name: 's-bip',
    create: 'bitmap:ip range 10.9.0.0-10.9.0.255',
    entries: ['10.9.0.2', '10.9.0.1', '10.9.0.64-10.9.0.71', '10.9.0.21'],
    sides: ['src', 'dst'],
  },
  { name: 's-bnet', create: 'bitmap:ip range 10.244.0.0/16 netmask 24', entries: ['10.244.1.0/24', '10.244.2.0/24', '10.244.3.0'], sides: ['dst', 'src'] },
  {
    name: 's-bmac',
    create: 'bitmap:ip,mac range 10.9.0.0/24',
    entries: ['10.9.0.2,02:00:00:00:00:02', '10.9.0.3,02:00:00:00:00:99', '10.9.0.66'],
    sides: ['src,src'],
  },
  { name: 's-masked', create: 'hash:ip netmask 26', entries: ['10.9.0.64', '198.51.100.0', '10.244.1.0'], sides: ['src', 'dst'] },
];

const types6: readonly SetType[] = [
  { name: 's6-ip', create: 'hash:ip family inet6', entries: ['fd09::2', 'fd09::1', 'fd44:1::11', '2001:db8:7::7'], sides: ['src', 'dst'] },
  {
    name: 's6-net',
    create: 'hash:net family inet6',
    entries: ['fd09::/64', 'fd09::3 nomatch', '2001:db8::/32', 'fd44::/16', 'fd44:2::/64 nomatch', 'fd09::2 nomatch'],
    sides: ['src', 'dst'],
  },
  {
    name: 's6-ipport',
    create: 'hash:ip,port family inet6',
    entries: ['fd09::1,tcp:30080', 'fd44:1::11,tcp:8080', 'fd09::1,sctp:30036', 'fd09::1,udp:30053'],
    sides: ['dst,dst'],
  },
  {
    name: 's6-ipportip',
    create: 'hash:ip,port,ip family inet6',
    entries: ['fd09::1,tcp:30080,fd09::2', 'fd44:1::11,tcp:8080,fd09::3'],
    sides: ['dst,dst,src'],
  },
  {
    name: 's6-ipportnet',
    create: 'hash:ip,port,net family inet6',
    entries: ['fd09::1,tcp:30080,fd09::/64', 'fd09::1,tcp:30080,fd09::2 nomatch'],
    sides: ['dst,dst,src'],
  },
  {
    name: 's6-netport',
    create: 'hash:net,port family inet6',
    entries: ['fd09::/64,tcp:30080', 'fd09::3,tcp:30080 nomatch', 'fd44::/16,tcp:8080'],
    sides: ['src,dst', 'dst,dst'],
  },
  { name: 's6-netiface', create: 'hash:net,iface family inet6', entries: ['fd09::/64,eth0', 'fd44::/16,cni0', 'fd09::2,eth0 nomatch'], sides: ['src,src'] },
];

const typesOf = (family: Family): readonly SetType[] => (family === 4 ? types4 : types6);
const listOf = { 4: 's-list', 6: 's6-list' } as const;
const timedOf = { 4: 's-timed', 6: 's6-timed' } as const;

/** `NAME SIDES` for `--match-set`. The incoming interface is not known everywhere. */
export function setMatches(family: Family, hook: string): fc.Arbitrary<string> {
  const hasIncoming = hook === 'PREROUTING' || hook === 'INPUT' || hook === 'FORWARD';
  const asked = typesOf(family)
    .filter(({ create }) => hasIncoming || !create.includes('iface'))
    .flatMap(({ name, sides }) => sides.map((each) => `${name} ${each}`));
  const bareSets = ['src', 'dst'].flatMap((side) => [`${listOf[family]} ${side}`, `${timedOf[family]} ${side}`]);
  return fc.constantFrom(...asked, ...bareSets);
}

/** All sets of a family with some entries each, as `ipset restore` takes them. */
function familySets(family: Family): fc.Arbitrary<string> {
  const sets = typesOf(family).map(({ name, create, entries }) =>
    fc.tuple(fc.subarray([...entries]), fc.constantFrom('', ' comment', ' counters')).map(([chosen, option]) => {
      const lines = [`create ${name} ${create}${option}`, ...chosen.map((entry) => `add ${name} ${entry}`)];
      return lines.join('\n');
    }),
  );
  const [ip, net] = typesOf(family) as readonly [SetType, SetType];
  const list = fc
    .shuffledSubarray([ip.name, net.name, ...(family === 4 ? ['s-bip', 's-masked'] : [])])
    .map((members) => [`create ${listOf[family]} list:set size 8`, ...members.map((member) => `add ${listOf[family]} ${member}`)].join('\n'));
  const spare = fc
    .subarray([...net.entries])
    .map((chosen) => [`create ${net.name}-spare ${net.create}`, ...chosen.map((entry) => `add ${net.name}-spare ${entry}`)].join('\n'));
  return fc.tuple(...sets, list, spare, timed(family)).map((texts) => texts.join('\n'));
}

/** A set whose entries run out, soon or not before the packets are through. */
const timed = (family: Family): fc.Arbitrary<string> =>
  fc
    .tuple(fc.subarray([...(typesOf(family)[0] as SetType).entries.filter((entry) => !entry.includes('/'))]), fc.constantFrom(0, 0, 1, 600))
    .map(([chosen, seconds]) =>
      [
        `create ${timedOf[family]} hash:ip${family === 6 ? ' family inet6' : ''} timeout 0`,
        ...chosen.map((entry) => `add ${timedOf[family]} ${entry} timeout ${seconds}`),
      ].join('\n'),
    );

/** Sets of both families. */
export const ipsets: fc.Arbitrary<string> = fc.tuple(familySets(4), familySets(6)).map((texts) => `${texts.join('\n')}\n`);

/** What is done to the sets between packets, as `ipset restore` lines. */
export interface SetChange {
  readonly ipset: string;
  readonly waitMs?: number;
}

const change: fc.Arbitrary<string> = fc.constantFrom<Family>(4, 4, 6).chain((family) => {
  const [ip, net] = typesOf(family) as readonly [SetType, SetType];
  const some = fc.constantFrom(...typesOf(family));
  const added = some.chain(({ name, entries }) => fc.constantFrom(...entries).map((entry) => `add ${name} ${entry}`));
  // With -exist it is no error to delete what is not there.
  const deleted = some.chain(({ name, entries }) => fc.constantFrom(...entries).map((entry) => `del ${name} ${entry.split(' ')[0]}`));
  const prefix = family === 4 ? 's' : 's6';
  return fc.oneof(
    { weight: 5, arbitrary: added },
    { weight: 5, arbitrary: deleted },
    { weight: 2, arbitrary: some.map(({ name }) => `flush ${name}`) },
    { weight: 2, arbitrary: fc.constant(`swap ${net.name} ${net.name}-spare`) },
    {
      weight: 1,
      arbitrary: fc.constantFrom(
        `del ${listOf[family]} ${net.name}`,
        `del ${listOf[family]} ${ip.name}`,
        `add ${listOf[family]} ${ip.name}`,
        `flush ${listOf[family]}`,
      ),
    },
    { weight: 1, arbitrary: fc.constantFrom(...ip.entries.filter((entry) => !entry.includes('/'))).map((entry) => `add ${prefix}-timed ${entry} timeout 0`) },
  );
});

/** One or two changes; after the first of some of them the entries of a second have run out. */
export const setChanges: fc.Arbitrary<readonly SetChange[]> = fc
  .array(
    fc.array(change, { minLength: 1, maxLength: 6 }).map((lines) => ({ ipset: `${lines.join('\n')}\n` })),
    { minLength: 1, maxLength: 2 },
  )
  .chain((changes) => fc.constantFrom(0, 0, 0, 1_300).map((waitMs) => changes.map((each, index) => (index === 0 && waitMs > 0 ? { ...each, waitMs } : each))));
