// Sources on the real tools and the real kernel, in a network namespace: what they read is what was set.
import { execFileSync } from 'node:child_process';
import t from 'tap';
import { thisMachine } from '../../../agent/host/machine.ts';
import { nothingRead, readSources } from '../../../agent/reader.ts';
import { ip6tables, iptables } from '../../../agent/sources/iptables.ts';
import { nftables } from '../../../agent/sources/nftables.ts';
import { tools } from '../../../agent/sources/tools.ts';
import { readNode } from '../../../shared/netfilter/node.read.ts';
import { inNamespace } from '../namespace.ts';

const machine = thisMachine(new AbortController().signal);
const sh = (script: string) => execFileSync('sh', ['-ec', script], { stdio: ['ignore', 'pipe', 'pipe'] }).toString();

await inNamespace(t, {
  purpose: 'sources',
  file: import.meta.url,
  timeoutMs: 120_000,
  tests: async () => {
    await t.test('both backends, native chains in a table of iptables, and a table of its own', async (t) => {
      sh(`iptables -t mangle -A INPUT -p tcp --dport 98 -j DROP; iptables-legacy -A INPUT -p tcp --dport 97 -j DROP
        nft add chain ip mangle y '{ type filter hook input priority -10; }'; nft add rule ip mangle y tcp dport 99 drop
        nft add table inet mine; nft add chain inet mine c '{ type filter hook forward priority 0; }'`);
      const readings = await readSources(machine, [tools, iptables, ip6tables, nftables], nothingRead);
      t.match([...readings.outcomes.values()], [{ outcome: 'facts' }, { outcome: 'facts' }, { outcome: 'facts' }, { outcome: 'facts' }]);
      t.match(JSON.parse(readings.files.get('tools.json')?.toString() ?? ''), {
        iptables: [{ command: 'iptables-save', origin: 'host', version: /^\d+\.\d+\.\d+$/ }, { backend: 'legacy' }, { backend: 'nf_tables' }],
        versions: { nft: /^\d/, ip: /^\d/, ss: /^\d/, conntrack: /^\d/ },
      });
      const node = readNode(readings.files);
      t.strictSame(
        node.issues.filter(({ file }) => file !== 'iptables-save.txt'),
        [],
      );
      t.strictSame(
        node.tables.map(({ backend, family, name, chains }) => [
          backend,
          family,
          name,
          [...chains.values()].filter(({ length }) => length > 0 || backend === 'nft').map((chain) => chain.name),
        ]),
        [
          ['iptables-nft', 'ip', 'mangle', ['INPUT']],
          ['legacy', 'ip', 'filter', ['INPUT']],
          ['nft', 'ip', 'mangle', ['y']],
          ['nft', 'inet', 'mine', ['c']],
        ],
      );
      sh('nft flush ruleset; iptables-legacy -F');
    });
  },
});
