// Says which capabilities a source needs and the agent does not hold, so that what it could not read is named with what would let it.
import type { Machine } from '../host/machine.ts';
import { heldCapabilities } from './capability.parse.ts';
import type { Needs, Reading, Source } from './source.ts';

/** The source, whose readings name what the agent lacks: in the reason of a failure, and in `lacks` where facts leave something out. */
export function withCapabilities(source: Source): Source {
  return {
    ...source,
    read: async (machine, known) => {
      const reading = await source.read(machine, known);
      if (reading.outcome === 'absent') return reading;
      return annotate(reading, source.needs, await lackingCapabilities(machine, source.needs));
    },
  };
}

/** Those of a source's capabilities that this process does not hold; none where the kernel does not say which it holds. */
export async function lackingCapabilities(machine: Machine, needs: Needs): Promise<readonly string[]> {
  const wanted = [...needs.capabilities, ...Object.keys(needs.adds ?? {})];
  if (wanted.length === 0) return [];
  const status = await machine.read('/proc/self/status');
  const held = status.kind === 'done' ? heldCapabilities(status.content.toString('latin1')) : undefined;
  return held === undefined ? [] : wanted.filter((name) => !held.has(name));
}

function annotate(reading: Exclude<Reading, { outcome: 'absent' }>, { capabilities, adds = {} }: Needs, lacking: readonly string[]): Reading {
  const needed = lacking.filter((name) => capabilities.includes(name));
  const why = needed.length === 0 ? '' : ` (the agent lacks ${needed.join(', ')})`;
  if (reading.outcome === 'failed') return { ...reading, reason: `${reading.reason}${why}` };
  const left = lacking.flatMap((name) => (adds[name] === undefined ? [] : [`${adds[name]} (needs ${name})`]));
  const lacks = [...(reading.lacks === undefined ? [] : [reading.lacks]), ...left].join('; ');
  return {
    ...reading,
    ...(reading.unread === undefined ? {} : { unread: `${reading.unread}${why}` }),
    ...(lacks === '' ? {} : { lacks }),
  };
}
