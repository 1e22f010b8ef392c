// ufw and firewalld for real, in namespaces of their own: what the sources read of them, what their signals wake, and what is left when they end.
import { spawn } from 'node:child_process';
import t from 'tap';
import { thisMachine } from '../../../agent/host/machine.ts';
import { monitorFirewalld } from '../../../agent/monitors/firewalld.ts';
import { nothingRead, readSources } from '../../../agent/reader.ts';
import { firewalld, readFirewalld } from '../../../agent/sources/firewalld.ts';
import { ip6tables, iptables } from '../../../agent/sources/iptables.ts';
import { processes } from '../../../agent/sources/processes.ts';
import { ufw } from '../../../agent/sources/ufw.ts';
import type { FirewallFact } from '../../../shared/model/fact.ts';
import { firewallFacts } from '../../../shared/netfilter/firewalls.ts';
import { readNode } from '../../../shared/netfilter/node.read.ts';
import { sh, withFirewall } from '../../labs/private-firewall.ts';
import { type SourceCase, testSources } from './machine.ts';

const machine = thisMachine(new AbortController().signal);

async function factNow(program: FirewallFact['program']): Promise<{ readonly fact: FirewallFact | undefined; readonly reason: string | undefined }> {
  const readings = await readSources(machine, [processes, iptables, ip6tables, ufw, firewalld], nothingRead);
  const node = readNode(readings.files);
  t.strictSame(node.issues, []);
  const fact = firewallFacts(node.beside ?? {}, node.tables).find((each) => each.program === program);
  return { fact, reason: readings.outcomes.get('firewalld')?.reason };
}

await withFirewall(t, {
  manager: 'ufw',
  file: import.meta.url,
  timeoutMs: 120_000,
  tests: async () => {
    await t.test('ufw: inactive, enabled with rules, changed behind its back', async (t) => {
      t.match((await factNow('ufw')).fact, { program: 'ufw', state: 'inactive' });
      sh('ufw allow 30080/tcp; ufw route allow proto tcp to 10.244.0.0/16 port 8080; ufw --force enable');
      const { fact } = await factNow('ufw');
      t.match(fact, { state: 'active', settings: { incoming: 'deny', enabled: 'yes' }, pending: [] });
      t.ok(fact?.rules.includes('allow in proto tcp from any to any port 30080'));
      t.ok(fact?.rules.includes('route allow in proto tcp from any to 10.244.0.0/16 port 8080'));
      sh('iptables -D ufw-user-input 1');
      t.match((await factNow('ufw')).fact?.pending, [/^ufw-user-input holds \d+ rules, and ufw's files \d+/]);
    });
    await t.test('ufw: reading it makes no transaction, and its status is asked again only when a file has changed', async (t) => {
      const monitor = spawn('stdbuf', ['-oL', 'nft', 'monitor'], { stdio: ['ignore', 'pipe', 'ignore'] });
      t.teardown(() => monitor.kill('SIGKILL'));
      let heard = '';
      monitor.stdout.on('data', (chunk) => (heard += chunk));
      // The monitor names the process of each transaction: those of nft are the test's own, made until it hears them.
      const untilHeard = async (table: string) => {
        for (let tries = 0; tries < 200 && !heard.includes(`table inet ${table}`); tries++) {
          sh(`nft add table inet ${table}; nft delete table inet ${table}`);
          await new Promise((resolve) => setTimeout(resolve, 25));
        }
      };
      await untilHeard('before');
      const first = await ufw.read(machine, new Map());
      await untilHeard('after');
      const writers = [...heard.matchAll(/^# new generation \d+ by process \d+ \((.*)\)$/gm)].map(([, name]) => name);
      t.strictSame([...new Set(writers)], ['nft']);
      const known = first.outcome === 'facts' ? first.files : new Map<string, Buffer>();
      const away = { ...machine, run: async () => ({ kind: 'failed' as const, reason: 'asked in vain' }) };
      t.match(await ufw.read(away, known), { outcome: 'facts', lacks: undefined });
      sh('ufw allow 30081/tcp');
      t.match(await ufw.read(away, known), { outcome: 'facts', lacks: /its status \(.*asked in vain/ });
    });
  },
});

await withFirewall(t, {
  manager: 'firewalld',
  file: import.meta.url,
  timeoutMs: 120_000,
  tests: async () => {
    const seen: string[] = [];
    const ends: string[] = [];
    const monitor = monitorFirewalld({
      onChange: (_, signal) => seen.push(signal),
      onUncertain: (reason) => seen.push(reason),
      onEnd: (reason) => ends.push(reason),
    });
    const until = async (wanted: RegExp) => {
      for (let tries = 0; tries < 200 && !seen.some((signal) => wanted.test(signal)); tries++) await new Promise((resolve) => setTimeout(resolve, 25));
      return seen.find((signal) => wanted.test(signal));
    };
    await t.test('firewalld: zones, direct rules and what a reload loses', async (t) => {
      t.ok(await until(/are heard/));
      t.equal(monitor.running, true);
      sh(`firewall-cmd -q --zone=public --change-interface=eth0; firewall-cmd -q --zone=public --add-port=30080/tcp
        firewall-cmd -q --zone=trusted --add-source=10.244.0.0/16
        firewall-cmd -q --direct --add-rule ipv4 filter FORWARD 0 -p tcp --dport 8080 -m comment --comment 'two words' -j DROP`);
      t.equal(await until(/^PortAdded/), 'PortAdded public 30080 tcp');
      const { fact } = await factNow('firewalld');
      t.match(fact, {
        program: 'firewalld',
        state: 'active',
        settings: { 'default-zone': 'public', panic: 'no', backend: 'nftables', 'flush-all-on-reload': /yes|no/ },
      });
      t.match(fact?.zones, [
        { name: 'public', active: true, interfaces: ['eth0'], ports: ['30080/tcp'] },
        { name: 'trusted', active: true, sources: ['10.244.0.0/16'], target: 'ACCEPT' },
      ]);
      t.strictSame(fact?.rules[0], 'rule ipv4 filter FORWARD 0 -p tcp --dport 8080 -m comment --comment "two words" -j DROP');
      t.strictSame(fact?.pending, [
        'zone public: interfaces eth0 is of the run time alone',
        'zone public: ports 30080/tcp is of the run time alone',
        'zone trusted: sources 10.244.0.0/16 is of the run time alone',
      ]);
    });
    await t.test('firewalld: what the agent writes is what firewall-cmd prints', async (t) => {
      const readings = await readSources(machine, [firewalld], nothingRead);
      const printed = (text: string) => text.replaceAll(/^.*\b(?:ingress|egress)-priority: .*\n/gm, '').trim();
      t.equal(printed(readings.files.get('firewalld-zones.txt')?.toString() ?? ''), printed(sh('firewall-cmd --list-all-zones')));
      t.equal(printed(readings.files.get('firewalld-policies.txt')?.toString() ?? ''), printed(sh('firewall-cmd --list-all-policies')));
    });
    await t.test('firewalld: without the bus firewall-cmd says the same', async (t) => {
      const { files } = await readSources(machine, [processes], nothingRead);
      const [bus, command] = [await readFirewalld(machine, files), await readFirewalld(machine, files, `${t.testdir({})}/no-bus`)];
      t.match(command, { outcome: 'facts', lacks: /its signals \(.*no-bus is not here\): it is asked through firewall-cmd$/ });
      const factOf = (reading: typeof bus) => {
        const node = readNode(new Map([...files, ...(reading.outcome === 'facts' ? reading.files : [])]));
        return { issues: node.issues, facts: firewallFacts(node.beside ?? {}, node.tables) };
      };
      const facts = factOf(bus);
      t.match(facts.facts, [{ program: 'firewalld', pending: [/./, /./, /./], rules: [/two words/] }], 'there is something to be the same');
      // firewall-cmd quotes words as a shell wants them.
      const quoted = (value: unknown) => JSON.parse(JSON.stringify(value).replaceAll("'two words'", '\\"two words\\"')) as unknown;
      t.strictSame(quoted(factOf(command)), quoted(facts));
    });
    await t.test('firewalld: a reload, panic mode and the end are heard', async (t) => {
      sh('firewall-cmd -q --reload');
      t.equal(await until(/^Reloaded/), 'Reloaded');
      t.match((await factNow('firewalld')).fact, { pending: [], rules: [] });
      sh('firewall-cmd -q --panic-on');
      t.equal(await until(/^Panic/), 'PanicModeEnabled');
      t.match((await factNow('firewalld')).fact?.settings, { panic: 'yes' });
      sh('firewall-cmd -q --panic-off');
      process.kill(Number(process.env.FIREWALLD_PID));
      t.equal(await until(/^ended$/), 'ended');
      t.match(await factNow('firewalld'), { fact: undefined, reason: 'firewalld is not running' });
      await monitor.close();
      t.strictSame(ends, []);
    });
    await t.test('firewalld: a bus that goes away', async (t) => {
      const missing = `${t.testdir({})}/no-bus`;
      t.match(await readFirewalld(machine, new Map(), missing), { outcome: 'absent' });
      const runs = new Map([['processes.json', Buffer.from('[{"pid":1,"comm":"firewalld","argv":[]}]')]]);
      t.match(await readFirewalld(machine, runs, missing), { outcome: 'absent', reason: 'firewalld is not running' }, 'firewall-cmd knows that it has ended');
      const without = { ...machine, run: async () => ({ kind: 'missing' as const }) };
      t.match(await readFirewalld(without, runs, missing), {
        outcome: 'failed',
        reason: /the system bus cannot be reached: .*; firewall-cmd is not installed/,
      });
    });
  },
});

if (process.env.PORTREEVE_PRIVATE_FIREWALL === undefined) {
  const conf = { '/etc/ufw/ufw.conf': 'ENABLED=yes\n' };
  const cases: readonly SourceCase[] = [
    { name: 'not installed', source: ufw, expected: { outcome: 'absent' } },
    {
      name: 'its files are closed to us',
      source: ufw,
      denied: ['/etc/ufw/ufw.conf'],
      expected: { outcome: 'failed', reason: '/etc/ufw/ufw.conf: permission denied' },
    },
    {
      name: 'rules closed to us, the rest is read',
      source: ufw,
      files: conf,
      denied: ['/etc/ufw/user.rules'],
      programs: { ufw: 'echo "Status: active"' },
      read: ['ufw-conf.txt', 'ufw-status.txt'],
      expected: { outcome: 'facts', lacks: '/etc/ufw/user.rules: permission denied' },
    },
    {
      name: 'not enabled: it is not even asked',
      source: ufw,
      files: { '/etc/ufw/ufw.conf': 'ENABLED=no\n' },
      programs: { ufw: 'exit 9' },
      read: ['ufw-conf.txt', 'ufw-status.txt'],
      expected: { outcome: 'facts' },
      texts: { 'ufw-status.txt': 'Status: inactive\n' },
    },
    {
      name: 'files of the host, seen from a container',
      source: ufw,
      files: { '/proc/1/root/etc/ufw/ufw.conf': 'ENABLED=no\n' },
      read: ['ufw-conf.txt', 'ufw-status.txt'],
      expected: { outcome: 'facts' },
    },
    {
      name: 'the root of the host is closed to a container',
      source: ufw,
      denied: ['/proc/1/root/etc/ufw/ufw.conf'],
      files: { '/proc/self/mountinfo': '1 0 0:50 / / rw,relatime - overlay overlay rw\n' },
      expected: { outcome: 'failed' },
    },
    {
      name: 'the root of process 1 is closed to us, and is ours',
      source: ufw,
      denied: ['/proc/1/root/etc/ufw/ufw.conf'],
      files: { '/proc/self/mountinfo': '1 0 8:1 / / rw - ext4 /dev/sda1 rw\n' },
      expected: { outcome: 'absent' },
    },
    {
      name: 'speaks another language',
      source: ufw,
      files: conf,
      programs: { ufw: 'echo "Состояние: активен"' },
      read: ['ufw-conf.txt'],
      expected: { outcome: 'facts', lacks: /no status of ufw/ },
    },
    {
      name: 'hangs',
      source: ufw,
      files: conf,
      programs: { ufw: 'exec sleep 30' },
      timeoutMs: 200,
      read: ['ufw-conf.txt'],
      expected: { outcome: 'facts', lacks: /no answer within/ },
    },
  ];
  testSources(cases);
  t.test('a monitor of firewalld without a bus says so and goes on trying', async (t) => {
    const reasons: string[] = [];
    const monitor = monitorFirewalld({ onChange: () => {}, onUncertain: () => {}, onEnd: (reason) => reasons.push(reason) }, `${t.testdir({})}/no-bus`);
    await new Promise((resolve) => setTimeout(resolve, 50));
    t.equal(monitor.running, false);
    t.strictSame(reasons, ['there is no system bus']);
    await monitor.close();
  });
}
