// The control group of the agent, which the programs that it starts for reading are in as well: what of the processor they get when others want it.
import { getPriority } from 'node:os';
import { readText } from './files.ts';
import { niceness } from './run.ts';

/** For a person: how readers are kept from being in the way. Never rejects. */
export async function readersText(): Promise<string> {
  const [own, mounts] = await Promise.all([textOf('/proc/self/cgroup'), textOf('/proc/self/mountinfo')]);
  const directory = groupDirectory(own, mounts);
  const [weight, max] = directory === undefined ? ['', ''] : await Promise.all([textOf(`${directory}/cpu.weight`), textOf(`${directory}/cpu.max`)]);
  return `nice ${getPriority() + niceness}; ${groupText(pathOf(own), { weight, max })}`;
}

/** The directory of a process's group in the unified hierarchy, by the texts of /proc/PID/cgroup and mountinfo; undefined where there is none in sight. */
export function groupDirectory(own: string, mounts: string): string | undefined {
  const found = / (\/\S*) (\S+) \S+ (?:\S+ )*- cgroup2 /.exec(mounts);
  const path = pathOf(own);
  if (found === null || path === undefined) return undefined;
  const [, root = '/', at = ''] = found;
  // A container sees its own group, or that of its pod, as the root.
  return `${at}${root !== '/' && path.startsWith(root) ? path.slice(root.length) : path}`.replace(/\/$/, '');
}

/** `weight` and `max` are the texts of cpu.weight and cpu.max; empty where the group has none. */
export function groupText(path: string | undefined, { weight, max }: { readonly weight: string; readonly max: string }): string {
  if (path === undefined || path === '/') return 'in no control group of their own';
  const [quota = 'max', period = '100000'] = max.trim().split(' ');
  const limits = [
    ...(weight.trim() === '' ? [] : [`weight ${weight.trim()} (100 is usual)`]),
    ...(Number.isNaN(Number(quota)) || quota === '' ? [] : [`at most ${Math.round((Number(quota) / Number(period)) * 100)} % of a core`]),
  ];
  return `in the control group ${path}, as the agent${limits.length === 0 ? '; it has no share of the processor of its own' : `: ${limits.join(', ')}`}`;
}

const pathOf = (own: string): string | undefined => /^0::(.*)$/m.exec(own)?.[1];

async function textOf(path: string): Promise<string> {
  const read = await readText(path);
  return read.kind === 'done' ? read.content.toString('utf8') : '';
}
