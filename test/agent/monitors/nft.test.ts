// The monitors of nf_tables that other people wrote, against the kernel.
import { execFileSync } from 'node:child_process';
import t from 'tap';
import type { Transaction } from '../../../agent/ledger.ts';
import { monitorNft } from '../../../agent/monitors/nft.ts';
import type { Touched } from '../../../agent/monitors/touched.ts';
import { inNamespace } from '../namespace.ts';

const run = (command: string, ...args: string[]): string => execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

await inNamespace(t, { purpose: 'monitor', file: import.meta.url, timeoutMs: 60_000, tests });

async function tests(): Promise<void> {
  for (const large of [false, true]) {
    await t.test(large ? 'xtables-monitor, for many rules' : 'nft monitor', async (t) => {
      const seen: { readonly transaction: Transaction; readonly touched: Touched }[] = [];
      const ends: string[] = [];
      const monitor = monitorNft(
        {
          onTransaction: (transaction, touched) => seen.push({ transaction, touched }),
          onStart: () => {},
          onUncertain: (reason) => t.fail(reason),
          onEnd: (reason) => ends.push(reason),
        },
        () => (large ? 40_000 : 0),
      );
      const next = async (count: number) => {
        for (let i = 0; i < 100 && seen.length < count; i++) await new Promise((resolve) => setTimeout(resolve, 20));
        return seen.at(-1);
      };
      await new Promise((resolve) => setTimeout(resolve, 500));
      run('iptables', '-A', 'FORWARD', '-p', 'tcp', '--dport', '9', '-j', 'DROP');
      const rule = await next(1);
      t.match(rule?.transaction.actor, { comm: 'iptables', how: 'nft-generation' });
      t.ok(rule?.transaction.touched.has('ip filter FORWARD'));
      t.match(rule?.transaction.rules, [{ op: 'add', chain: 'ip filter FORWARD', text: /dport 9 / }]);
      t.match(rule?.touched.tables.get('ip filter'), { whole: true, objects: new Map([['FORWARD', { kind: 'chain', gone: false }]]) });
      run('iptables', '-D', 'FORWARD', '-p', 'tcp', '--dport', '9', '-j', 'DROP');
      const gone = await next(2);
      t.match(gone?.transaction.rules, [{ op: 'delete', chain: 'ip filter FORWARD' }]);
      run('nft', 'add table inet mine { set s { type inet_service; }; }');
      await next(3);
      run('nft', 'add', 'element', 'inet', 'mine', 's', '{ 80 }');
      const element = await next(4);
      t.equal(element?.transaction.actor.comm, 'nft');
      if (large) t.ok(element?.touched.anything);
      else t.match(element?.touched.tables.get('inet mine')?.objects.get('s'), { kind: 'elements' });
      t.strictSame(ends, []);
      await monitor.close();
      run('nft', 'flush', 'ruleset');
    });
  }
}
