// What was broken in the last day and is over: whoever comes late finds it here.
import { useMemo } from 'preact/hooks';
import { useAnswer } from '../data/answer.ts';
import { questionOf } from '../data/client.ts';
import { findingTopics } from '../data/live.ts';
import type { FindingItem } from '../data/types.ts';
import { durationText } from '../model/time.ts';
import { Link, usePlace, usePresent } from '../shell/location.tsx';
import { VerdictMark } from './marks.tsx';
import { CauseTag, Time } from './text.tsx';

const dayMs = 86_400_000;
const shownMax = 20;

export function OverLately() {
  const { at } = usePlace();
  const now = usePresent(10_000);
  // The question is the same for a while, as it is asked anew when something ends.
  const present = useMemo(() => at ?? Date.now(), [at]);
  const query = { state: 'closed' as const, from: String(present - dayMs), ...(at === undefined ? {} : { to: String(at) }), limit: 200 };
  const closed = useAnswer(questionOf('GET /findings', { query }), { topics: findingTopics }).answer?.items ?? [];
  const over = closed
    .filter(({ severity, closedAt }) => severity !== 'info' && closedAt !== null && closedAt <= now)
    .sort((a, b) => (b.closedAt ?? 0) - (a.closedAt ?? 0));
  if (over.length === 0) return null;
  return (
    <details class="over" open>
      <summary>
        <h2>Over in the last 24 h</h2> <span class="count">{over.length}</span>
      </summary>
      <ul class="finding-list">
        {over.slice(0, shownMax).map((finding) => (
          <Over key={`${finding.id} ${finding.openedAt}`} finding={finding} now={now} />
        ))}
      </ul>
    </details>
  );
}

function Over({
  finding: { id, service, port, protocol, node, cause, title, openedAt, closedAt },
  now,
}: {
  readonly finding: FindingItem;
  readonly now: number;
}) {
  const name = service.split(':')[0] ?? '';
  return (
    <li>
      <VerdictMark verdict="ok" size={14} label="" />
      <Link to={{ view: 'finding', id }}>
        {name === '' ? '' : `${name} · `}
        {port === 0 ? node : `${port}/${protocol} on ${node}`}
      </Link>
      <CauseTag cause={cause} /> <span>{title}</span>
      {openedAt !== undefined && closedAt !== null && (
        <span class="quiet">
          <Time at={openedAt} now={now} /> – <Time at={closedAt} now={now} />, {durationText(closedAt - openedAt)}
        </span>
      )}
    </li>
  );
}
