// A change as the store gives it back.
import type { Selectable } from 'kysely';
import type { Actor, Change, SequencedChange } from '../../shared/model/change.ts';
import type { Tables } from './tables.ts';

export function changeOfRow(row: Selectable<Tables['changes']>): SequencedChange {
  const { node, stream, seq, at, kind, subject, before, after, actor, owner, more } = row;
  return {
    node,
    stream,
    seq,
    at,
    kind: kind as Change['kind'],
    subject,
    before,
    after,
    ...(actor === null ? {} : { actor: JSON.parse(actor) as Actor }),
    ...(owner === null ? {} : { owner: owner as NonNullable<Change['owner']> }),
    ...(more === null ? {} : (JSON.parse(more) as Pick<SequencedChange, 'covers' | 'folded' | 'gap'>)),
  };
}
