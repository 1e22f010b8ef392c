// What the ledger says of records of the spool that could not be read back.
import type { Change } from '../../shared/model/change.ts';
import type { EarlierRun } from '../../shared/wire/session.ts';

/** A gap from the first run that the spool knows of until now. Times in milliseconds since 1970. */
export function damageOf(
  node: string,
  { damaged, earlier, at }: { readonly damaged: number; readonly earlier: readonly EarlierRun[]; readonly at: number },
): Change {
  const from = Math.min(at, ...earlier.map((run) => run.startedAt));
  const records = `${damaged} ${damaged === 1 ? 'record' : 'records'}`;
  const after = `${records} of the spool could not be read back; the damaged files are kept beside it`;
  return { at, node, kind: 'gap', subject: 'spool of the agent', before: null, after, gap: { reason: 'spool-damaged', from, to: at } };
}
