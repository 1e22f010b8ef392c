// Watches links, addresses, routes, rules and per-interface settings through `ip monitor` (text: its -j form prints text too).
import type { Wake } from '../sources/source.ts';
import { readIpLine } from './ip.parse.ts';
import { Monitor } from './monitor.ts';

export interface IpEvents {
  readonly onChange: (wake: Wake) => void;
  /** It runs (again): everything may have changed. */
  readonly onStart: () => void;
  readonly onEnd: (reason: string) => void;
}

export const ipWakes: readonly Wake[] = ['link', 'address', 'route', 'netconf'];

export function monitorIp(events: IpEvents): Monitor {
  const onLine = (line: string) => {
    const read = readIpLine(line);
    if (read.kind === 'changed') events.onChange(read.what);
  };
  const program = (): readonly [string, ...string[]] => ['ip', '-o', 'monitor', 'label', 'link', 'address', 'route', 'rule', 'netconf'];
  return new Monitor({ program, onLine, onStart: events.onStart, onEnd: events.onEnd });
}
