import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import type { CaptureManifest } from '../../agent/capture.ts';
import { parseIptables } from '../../shared/netfilter/iptables.parse.ts';
import { readNode } from '../../shared/netfilter/node.read.ts';
import { Namespace, noNamespaces } from './namespace.ts';

if (noNamespaces !== false) t.comment(`SKIPPED: ${noNamespaces}`);

t.test('the capture of a namespace with rules of every kind', { skip: noNamespaces }, async (t) => {
  const namespace = new Namespace('capture');
  t.teardown(() => namespace.close());
  namespace.run('iptables', '-A', 'FORWARD', '-p', 'tcp', '--dport', '8080', '-j', 'DROP');
  namespace.run('iptables-legacy', '-A', 'INPUT', '-p', 'tcp', '--dport', '9', '-j', 'DROP');
  namespace.run('ip6tables', '-A', 'INPUT', '-p', 'tcp', '--dport', '10', '-j', 'REJECT');
  namespace.run('nft', 'add', 'table', 'inet', 'mine');
  namespace.run('ipset', 'create', 's1', 'hash:ip,port');
  namespace.run('ipset', 'add', 's1', '10.0.0.1,tcp:80');
  const out = join(t.testdir({}), 'capture');
  const cli = fileURLToPath(new URL('../../cli/portreeve', import.meta.url));
  t.match(namespace.run(cli, 'capture', '--out', out, '--node', 'node7'), `${out}: `);

  const manifest = JSON.parse(readFileSync(join(out, 'capture.json'), 'utf8')) as CaptureManifest;
  t.match(manifest, {
    node: 'node7',
    time: /^\d{4}-/,
    versions: { portreeve: /\d/, iptables: /nf_tables/ },
    commands: { 'ss.txt': 'ss -H -tulnp', 'iptables-save.txt': 'iptables-save -c' },
  });
  t.strictSame(
    manifest.sources.filter(({ outcome }) => outcome === 'failed'),
    [],
  );
  const files = readdirSync(out);
  t.strictSame(
    Object.keys(manifest.commands).filter((file) => !files.includes(file)),
    [],
  );
  for (const file of [
    'iptables-save.txt',
    'iptables-legacy-save.txt',
    'ip6tables-save.txt',
    'nft.json',
    'ipset-save.txt',
    'ss.txt',
    'ip-addr.json',
    'ip-route.json',
    'ip6-route.json',
    'ip-rule.json',
    'ip6-rule.json',
    'sysctl.txt',
    'processes.json',
  ]) {
    t.ok(files.includes(file), file);
  }
  t.match(
    parseIptables(readFileSync(join(out, 'iptables-legacy-save.txt')))
      .tables[0]?.chains.get('INPUT')
      ?.text(0),
    '--dport 9',
  );

  const node = readNode(new Map(files.map((file) => [file, readFileSync(join(out, file))])));
  t.equal(node.name, 'node7');
  t.strictSame(node.issues, []);
  t.ok(node.ipsets.has('s1'));
  t.strictSame(
    new Set(node.tables.map(({ backend, family, name }) => `${backend} ${family} ${name}`)),
    new Set(['iptables-nft ip filter', 'legacy ip filter', 'iptables-nft ip6 filter', 'nft inet mine']),
  );
});

t.test('a directory that cannot be written', { skip: noNamespaces }, async (t) => {
  const namespace = new Namespace('capture');
  t.teardown(() => namespace.close());
  const file = join(t.testdir({ file: '' }), 'file');
  const cli = fileURLToPath(new URL('../../cli/portreeve', import.meta.url));
  t.throws(() => namespace.run(cli, 'capture', '--out', file), { message: /cannot read .*file/ });
});
