// Facts of ufw and firewalld from captures of the real ones, and their texts line by line.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import type { FirewallFact } from '../../../shared/model/fact.ts';
import { parseAssignments, parseFirewalldGroups, parseUfwRules, parseUfwStatus } from '../../../shared/netfilter/firewalls.parse.ts';
import { firewallFacts, readFirewalls } from '../../../shared/netfilter/firewalls.ts';
import { readNode } from '../../../shared/netfilter/node.read.ts';

const fixtures = join(import.meta.dirname, '../../fixtures');

/** A fixture's own names for what a capture calls otherwise. */
const names: Readonly<Record<string, string>> = {
  'status-verbose.txt': 'ufw-status.txt',
  'default-ufw': 'ufw-defaults.txt',
  'ufw.conf': 'ufw-conf.txt',
  'user.rules': 'ufw-user-rules.txt',
  'user6.rules': 'ufw-user6-rules.txt',
  'list-all-zones.txt': 'firewalld-zones.txt',
  'permanent-list-all.txt': 'firewalld-permanent-zones.txt',
  'list-all-policies.txt': 'firewalld-policies.txt',
};

function factOf(directory: string, state?: string): FirewallFact {
  const own = readdirSync(join(fixtures, directory)).filter((name) => /\.(?:txt|conf|rules)$|^default-ufw$/.test(name));
  const files = new Map(own.map((name) => [names[name] ?? name, readFileSync(join(fixtures, directory, name))]));
  if (state !== undefined) files.set('firewalld-state.txt', Buffer.from(state));
  const node = readNode(files);
  const [fact] = firewallFacts(node.beside ?? {}, node.tables);
  return fact as FirewallFact;
}

t.test('ufw: enabled, with rules of its own', async (t) => {
  const fact = factOf('ufw-allow-30080');
  t.match(fact, { program: 'ufw', state: 'active', settings: { enabled: 'yes', incoming: 'deny', outgoing: 'allow', routed: 'disabled' }, pending: [] });
  t.strictSame(fact.rules.slice(0, 10), [
    'allow in proto tcp from any to any port 22',
    'allow in proto tcp from any to any port 30080',
    'limit in proto tcp from any to any port 30022',
    'allow in proto tcp from 203.0.113.0/24 to any port 30443',
    'deny in proto tcp from 198.51.100.66 to any port 30080',
    'allow in proto udp from any to any port 30090:30095',
    'allow in on eth0 proto tcp from any to any port 10250',
    'allow in proto tcp from 203.0.113.0/24 to 192.0.2.11 port 31000',
    'route allow in on eth0 out on cni0 proto tcp from any to 10.244.0.0/16 port 8080',
    'route deny in from 198.51.100.0/24 to 10.244.0.0/16',
  ]);
});

t.test('ufw: a rule removed behind its back', async (t) => {
  t.strictSame(factOf('ufw-behind-back').pending, ["ufw-user-input holds 13 rules, and ufw's files 14: ufw reload makes it 14"]);
});

for (const directory of ['ufw-enabled-default-deny', 'ufw-app-logging', 'ufw-deleted-30080', 'ufw-routed-allow-reject'])
  t.test(`${directory}: what is kept is loaded`, async (t) => t.match(factOf(directory), { state: 'active', pending: [] }));
for (const directory of ['ufw-disabled', 'ufw-inactive'])
  t.test(directory, async (t) => t.match(factOf(directory), { state: 'inactive', pending: [], settings: { enabled: 'no' } }));

t.test('ufw: named applications', async (t) => {
  t.ok(factOf('ufw-app-logging').rules.includes('allow in proto tcp from any to any app "QWeb"'));
});

const running = 'state = running\ndefault-zone = public\npanic = no\n';
for (const backend of ['firewalld-nftables', 'firewalld-iptables'] as const) {
  const port = backend === 'firewalld-nftables' ? '30080' : '31080';
  t.test(`${backend}: a port and an interface of the run time alone`, async (t) => {
    const fact = factOf(`${backend}/2-runtime-port`, running);
    t.match(fact, { program: 'firewalld', state: 'active', settings: { 'default-zone': 'public', panic: 'no' } });
    t.match(fact.zones, [{ name: 'public', active: true, interfaces: ['eth0'], ports: [`${port}/tcp`], target: 'default', forward: true, masquerade: false }]);
    t.strictSame(fact.pending, ['zone public: interfaces eth0 is of the run time alone', `zone public: ports ${port}/tcp is of the run time alone`]);
  });
  t.test(`${backend}: after the reload both are gone`, async (t) => {
    const fact = factOf(`${backend}/3-after-reload-runtime-lost`, running);
    t.match(fact.zones, [{ name: 'public', active: false, interfaces: [], ports: [] }]);
    t.strictSame(fact.pending, []);
  });
  t.test(`${backend}: kept rules`, async (t) => {
    const fact = factOf(`${backend}/4-permanent-port`, running);
    t.equal(fact.zones?.find(({ name }) => name === 'public')?.richRules.length, 2);
    t.strictSame(fact.pending, []);
  });
}

t.test('policies of the shell files: the last assignment counts', async (t) => {
  t.strictSame(
    [...parseAssignments('A=1\n# B=2\n  C = "x y" # z\nA=\'2\'\nE=\n')],
    [
      ['A', '2'],
      ['C', 'x y'],
      ['E', ''],
    ],
  );
});

t.test('a status in another language is none, and said to be', async (t) => {
  t.equal(parseUfwStatus('Состояние: активен\n'), undefined);
  const issues: { reason: string }[] = [];
  readFirewalls(new Map([['ufw-status.txt', Buffer.from('状态： 激活\n')]]), issues as never);
  t.match(issues, [{ reason: /in English/ }]);
});

t.test('tuples that are none are issues', async (t) => {
  const { rules, issues } = parseUfwRules(
    '### tuple ### allow tcp 22\n### tuple ### allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 sideways\n-A ufw-user-input -p tcp -j ACCEPT\n',
  );
  t.equal(rules.length, 0);
  t.strictSame(
    issues.map(({ line }) => line),
    [1, 2],
  );
});

t.test('lists of firewalld in the forms of other releases', async (t) => {
  const text =
    'public (active, default)\n    target: default\n    interfaces: eno1\n    forward-ports: port=80:proto=tcp:toport=1:toaddr=\n\tport=81:proto=tcp:toport=2:toaddr=\n    source-ports\n    rich rules\n\n\nhome\n  ingress-priority: -5\n';
  const { groups, issues } = parseFirewalldGroups(text);
  t.strictSame(issues, []);
  t.strictSame(
    groups.map(({ name, active }) => [name, active]),
    [
      ['public', true],
      ['home', false],
    ],
  );
  t.equal(groups[0]?.settings.get('forward-ports')?.length, 2);
  t.match(parseFirewalldGroups('FirewallD is not running\n').issues, [{ line: 1 }]);
});

t.test('no text makes the parsers throw', async () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      parseFirewalldGroups(text);
      parseUfwRules(text);
      parseUfwStatus(text);
      parseAssignments(text);
    }),
  );
});

const corpus = join(import.meta.dirname, '../../../../shared/corpus/outputs/firewall-cmd');
const skip = existsSync(corpus) ? false : 'the corpus is not here';
if (skip !== false) t.comment(`SKIPPED: ${skip}`);
t.test('lists that other people posted', { skip }, async (t) => {
  for (const file of readdirSync(corpus).filter((name) => /^0[12456]\.txt$/.test(name))) {
    const { groups, issues } = parseFirewalldGroups(readFileSync(join(corpus, file), 'utf8'));
    t.ok(groups.length > 0, file);
    t.strictSame(issues, [], file);
  }
});
