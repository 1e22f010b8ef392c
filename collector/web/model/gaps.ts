// What gaps of the ledger are, in words. Pure.
import type { GapReason, GapSpan } from '../../../shared/model/change.ts';
import { durationText } from './time.ts';

/** Why something that happened may not be in the ledger. */
export const gapReasons: Readonly<Record<GapReason, string>> = {
  'agent-down': 'no agent ran, or none that reached this collector: nothing was observed',
  'spool-full': 'more waited for a collector than the agent may keep',
  'spool-damaged': "records of the agent's spool could not be read back",
  folded: 'changes of one object were folded into its first and its last',
  'watch-overrun': 'the kernel or a monitor lost events',
  lost: 'numbers of a stream never arrived, and nothing says why',
};

/** How long a gap is. */
export const spanText = ({ from, to }: GapSpan): string => durationText(Math.max(0, to - from));
