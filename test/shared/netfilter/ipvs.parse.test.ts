// Reading the load balancer: dumps of a real kernel in both forms, every option of ipvsadm, and damaged text.
import { existsSync, globSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import t from 'tap';
import { formatAddress, parseAddress } from '../../../shared/model/address.ts';
import { type IpvsService, parseIpvs, parseProcIpvs } from '../../../shared/netfilter/ipvs.parse.ts';

const fixtures = new URL('../../fixtures/', import.meta.url).pathname;
const outputs = new URL('../../../../shared/corpus/outputs/ipvsadm/', import.meta.url).pathname;
const directories = globSync('ipvs-*/', { cwd: fixtures }).sort();
const value = (text: string): bigint => parseAddress(text)?.value ?? -1n;

/** The kernels that were captured tick 100 times a second but for one, which ticks 250 times. */
const ticksPerSecond: ReadonlyMap<string, number> = new Map(
  ['ipvs-healthy', 'ipvs-healthy-k8s-1.23', 'ipvs-nodeport-deleted', 'ipvs-realserver-missing'].map((directory) => [directory, 100]),
);

/** A service without its line numbers, in one line of text. */
function summary({ protocol, family, address, port, scheduler, persistentSeconds, servers }: IpvsService): string {
  const behind = servers.map((server) => `${formatAddress(server.family, server.address)}:${server.port} ${server.method} ${server.weight}`).sort();
  return `${protocol} ${formatAddress(family, address)}:${port} ${scheduler} ${persistentSeconds ?? '-'} → ${behind.join(', ')}`;
}

t.test('both forms of a captured load balancer say the same', (test) => {
  test.ok(directories.length >= 5);
  for (const directory of directories) {
    const saved = readFileSync(`${fixtures}${directory}/ipvsadm-Sn.txt`, 'utf8');
    const rules = parseIpvs(saved);
    const proc = parseProcIpvs(readFileSync(`${fixtures}${directory}/proc-net-ip_vs.txt`, 'utf8'), ticksPerSecond.get(directory.replace(/\/$/, '')));
    test.same(rules.issues, [], directory);
    test.same(proc.issues, [], directory);
    test.equal(rules.services.length, saved.match(/^-A /gm)?.length);
    test.equal(
      rules.services.reduce((sum, { servers }) => sum + servers.length, 0),
      saved.match(/^-a /gm)?.length,
    );
    test.same(proc.services.map(summary).sort(), rules.services.map(summary).sort(), directory);
  }
  test.end();
});

t.test('options of ipvsadm', (test) => {
  const text = [
    '-A -t 10.0.0.1:80 -s rr -p 10800',
    '-a -t 10.0.0.1:80 -r 10.1.0.1:8080 -m -w 1',
    '-a -t 10.0.0.1:80 -r 10.1.0.2:8080 -i -w 0 -x 10 -y 5',
    '-a -t 10.0.0.1:80 -r 10.1.0.3:80 -g -w 3',
    '-A -u [fd00::1]:53 -s sh -b sh-port,sh-fallback --ops',
    '-a -u [fd00::1]:53 -r [fd00::2]:53 -m -w 1',
    '-A --sctp-service 10.0.0.1:9 -s wrr -p',
    '-A -f 7 -6 -s lc -p 60 -M 64',
    '-a -f 7 -6 -r [fd00::9] -g -w 1',
    '',
  ].join('\n');
  const { services, issues } = parseIpvs(text);
  test.same(issues, []);
  const server = { family: 4, port: 8080, weight: 1, method: 'masquerade' } as const;
  test.strictSame(services, [
    {
      protocol: 6,
      family: 4,
      address: value('10.0.0.1'),
      port: 80,
      scheduler: 'rr',
      flags: [],
      persistentSeconds: 10_800,
      servers: [
        { ...server, address: value('10.1.0.1'), line: 2 },
        { ...server, address: value('10.1.0.2'), weight: 0, method: 'tunnel', line: 3 },
        { ...server, address: value('10.1.0.3'), port: 80, weight: 3, method: 'route', line: 4 },
      ],
      line: 1,
    },
    {
      protocol: 17,
      family: 6,
      address: value('fd00::1'),
      port: 53,
      scheduler: 'sh',
      flags: ['ops', 'sh-port', 'sh-fallback'],
      servers: [{ family: 6, address: value('fd00::2'), port: 53, weight: 1, method: 'masquerade', line: 6 }],
      line: 5,
    },
    { protocol: 132, family: 4, address: value('10.0.0.1'), port: 9, scheduler: 'wrr', flags: [], persistentSeconds: 300, servers: [], line: 7 },
    {
      protocol: 0,
      family: 6,
      address: 0n,
      port: 0,
      fwmark: 7,
      scheduler: 'lc',
      flags: [],
      persistentSeconds: 60,
      servers: [{ family: 6, address: value('fd00::9'), port: 0, weight: 1, method: 'route', line: 9 }],
      line: 8,
    },
  ]);
  test.end();
});

t.test('forms of /proc/net/ip_vs', (test) => {
  const text = [
    'IP Virtual Server version 1.2.1 (size=4096)',
    'Prot LocalAddress:Port Scheduler Flags',
    '  -> RemoteAddress:Port Forward Weight ActiveConn InActConn',
    'TCP  [fd00:0000:0000:0000:0000:0000:0000:0001]:0050 rr persistent 2700000 128',
    '  -> [fd00:0000:0000:0000:0000:0000:0000:0002]:1F90      Masq    1      0          0',
    'UDP  0A000001:0035 sh ops (sh-port)',
    '  -> 0A000002:0035      Route   1      0          0',
    'FWM  00000010 lc',
    '  -> 0A000003:0000      Tunnel  2      0          0',
  ].join('\n');
  const { services, issues } = parseProcIpvs(text);
  test.same(issues, []);
  test.match(services, [
    {
      protocol: 6,
      family: 6,
      address: value('fd00::1'),
      port: 80,
      persistentSeconds: 10_800,
      servers: [{ address: value('fd00::2'), port: 8080, method: 'masquerade' }],
    },
    { protocol: 17, flags: ['ops', 'sh-port'], scheduler: 'sh', servers: [{ method: 'route' }] },
    { protocol: 0, fwmark: 16, scheduler: 'lc', servers: [{ method: 'tunnel', weight: 2, port: 0 }] },
  ]);
  test.end();
});

t.test('a listing of the kernel that was posted', { skip: existsSync(`${outputs}09.txt`) ? false : `no ${outputs}` }, (test) => {
  const { services, issues } = parseProcIpvs(readFileSync(`${outputs}09.txt`, 'utf8'));
  test.same(issues, []);
  test.same(services.map(summary), ['6 10.0.0.1:80 wrr - → 192.168.0.1:80 masquerade 3, 192.168.0.2:80 tunnel 1']);
  test.end();
});

t.test('what cannot be read is an issue', (test) => {
  const reasons = (text: string) => parseIpvs(`-A -t 10.0.0.1:80 -s rr\n${text}`).issues.map(({ line, reason }) => `${line}: ${reason}`);
  test.same(reasons('-A -t 10.0.0.1:80 -s rr'), ['2: the service is listed twice']);
  test.same(reasons('-a -t 10.0.0.2:80 -r 10.0.0.3:80 -m -w 1'), ['2: the server belongs to no service']);
  test.same(reasons('-a -t 10.0.0.1:80 -r 10.0.0.3:65536 -m -w 1'), ['2: cannot read the server']);
  test.same(reasons('-A -t 10.0.0.300:80 -s rr'), ['2: cannot read the virtual service']);
  test.same(reasons('-A -t fd00::1:80 -s rr'), ['2: cannot read the virtual service']);
  test.same(reasons('-t 10.0.0.1:80'), ['2: neither a service nor a server']);
  test.same(reasons('-A -t 10.0.0.9:80 -s'), ['2: -s lacks its value']);
  test.same(reasons('-A -t 10.0.0.9:80 --fast'), ['2: unknown option: --fast']);
  test.same(
    parseProcIpvs('TCP  0A000001:0035\n-> x\nnonsense').issues.map(({ reason }) => reason),
    ['cannot read the server', 'neither a service nor a server'],
  );
  test.end();
});

t.test('never throws, and no line is lost', (test) => {
  const word = fc.oneof(
    fc.constantFrom('-A', '-a', '-t', '-u', '-f', '-r', '-w', '-p', '10.0.0.1:80', '[fd00::1]:80', '7', 'TCP', '->', '0A000001:0050', 'Masq', 'rr'),
    fc.string(),
  );
  fc.assert(
    fc.property(fc.array(fc.array(word, { maxLength: 7 }), { maxLength: 6 }), (lines) => {
      const text = lines.map((words) => words.join(' ')).join('\n');
      parseProcIpvs(text);
      const { services, issues } = parseIpvs(text);
      const read = services.reduce((sum, { servers }) => sum + 1 + servers.length, 0);
      return read + issues.length === text.split('\n').filter((line) => line.trim() !== '').length;
    }),
    { numRuns: 1000 },
  );
  test.pass('any text');
  test.end();
});
