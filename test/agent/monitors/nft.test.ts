// Both monitors of nf_tables against the kernel.
import { execFileSync } from 'node:child_process';
import t from 'tap';
import { anything, type Transaction } from '../../../agent/ledger.ts';
import { monitorNft } from '../../../agent/monitors/nft.ts';
import type { Wake } from '../../../agent/sources/source.ts';
import { inNamespace } from '../namespace.ts';

const run = (command: string, ...args: string[]): string => execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

await inNamespace(t, { purpose: 'monitor', file: import.meta.url, timeoutMs: 60_000, tests });

async function tests(): Promise<void> {
  for (const large of [false, true]) {
    await t.test(large ? 'xtables-monitor, for many rules' : 'nft monitor', async (t) => {
      const seen: { readonly transaction: Transaction; readonly wakes: ReadonlySet<Wake> }[] = [];
      const monitor = monitorNft(
        { onTransaction: (transaction, wakes) => seen.push({ transaction, wakes }), onUncertain: () => {}, onEnd: (reason) => t.fail(reason) },
        () => large,
      );
      const next = async (count: number) => {
        for (let i = 0; i < 100 && seen.length < count; i++) await new Promise((resolve) => setTimeout(resolve, 20));
        return seen.at(-1);
      };
      await new Promise((resolve) => setTimeout(resolve, 500));
      run('iptables', '-A', 'FORWARD', '-j', 'DROP');
      const rule = await next(1);
      t.match(rule?.transaction.actor, { comm: 'iptables', how: 'nft-generation' });
      t.ok(rule?.transaction.touched.has('ip filter FORWARD'));
      t.ok(rule?.wakes.has('iptables-ip'));
      run('nft', 'add table inet mine { set s { type inet_service; }; }');
      await next(2);
      run('nft', 'add', 'element', 'inet', 'mine', 's', '{ 80 }');
      const element = await next(3);
      t.equal(element?.transaction.actor.comm, 'nft');
      t.ok(element?.transaction.touched.has(large ? anything : 'inet mine s'));
      t.ok(element?.wakes.has('nft'));
      await monitor.close();
      run('nft', 'flush', 'ruleset');
    });
  }
}
