// What gaps of the ledger are, in words. Pure.
import type { GapReason } from '../../../shared/model/change.ts';
import { durationText } from './time.ts';

/** Why something that happened may not be in the ledger. */
export const gapTitles: Readonly<Record<GapReason, string>> = {
  'agent-down': 'nobody looked',
  'spool-full': 'too much waited',
  'spool-damaged': 'records were damaged',
  folded: 'changes were folded',
  'watch-overrun': 'events were lost',
  lost: 'never arrived',
};

/** How long a gap is. */
export const spanText = ({ from, to }: { readonly from: number; readonly to: number }): string => durationText(Math.max(0, to - from));
