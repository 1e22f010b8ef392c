// Who holds the lock of iptables, where somebody has held it for long: kube-proxy and every other writer of legacy rules wait for it.
import { inodeOf } from '../host/files.ts';
import type { Machine } from '../host/machine.ts';
import { startTicks } from './processes.parse.ts';
import { holdersOf } from './xtables-lock.parse.ts';

export interface LockHolder {
  readonly pid: number;
  readonly comm: string;
}

const paths = ['/run/xtables.lock', '/var/run/xtables.lock'];
/** A command that runs this long hangs: most take milliseconds, a restore of a large ruleset seconds. */
const longMs = 30_000;

/** The process that holds the lock and was started half a minute ago or earlier; undefined when nobody does, or it cannot be seen. */
export async function lockHolder(machine: Machine, lock: readonly string[] = paths): Promise<LockHolder | undefined> {
  const inodes = new Set(lock.flatMap((path) => inodeOf(path) ?? []));
  const [locks, uptime] = await Promise.all([machine.read('/proc/locks'), machine.read('/proc/uptime')]);
  if (inodes.size === 0 || locks.kind !== 'done' || uptime.kind !== 'done') return undefined;
  const seconds = Number.parseFloat(uptime.content.toString('latin1'));
  for (const pid of holdersOf(locks.content.toString('latin1'), inodes)) {
    const [comm, stat] = await Promise.all([machine.read(`/proc/${pid}/comm`), machine.read(`/proc/${pid}/stat`)]);
    if (comm.kind !== 'done' || stat.kind !== 'done') continue;
    const name = comm.content.toString('utf8').replace(/\n$/, '');
    const ageMs = (seconds - startTicks(stat.content.toString('utf8')) / 100) * 1000;
    // Those that run on take the lock for each of their own syncs: that they hold it says nothing.
    if (ageMs >= longMs && !/^(?:kube-proxy|k3s|k0s|kubelite|kube-router|calico-node|felix)/.test(name)) return { pid, comm: name.replaceAll(/\s/g, '_') };
  }
  return undefined;
}
