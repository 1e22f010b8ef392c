// One finding, or one NodePort on one node: what clients meet, which rule decides and who made it, what each witness says, what changed before, and what opens it.
import { useAnswer } from '../data/answer.ts';
import { questionOf } from '../data/client.ts';
import { findingTopics } from '../data/live.ts';
import type { ExplainAnswer, FindingItem } from '../data/types.ts';
import { type Subject, subjectOf } from '../model/story.ts';
import { Answer, Nothing } from '../parts/states.tsx';
import { StoryHead } from '../parts/story-head.tsx';
import { AsText, NotIt, OtherFindings, Remedy, WalkPart, Witnesses } from '../parts/story-parts.tsx';
import { StoryTimeline } from '../parts/story-timeline.tsx';
import { usePlace } from '../shell/location.tsx';
import { useTitle } from '../shell/title.ts';

/** The story of a finding, open or closed. */
export function FindingView({ id }: { readonly id: string }) {
  const { asOf } = usePlace();
  const node = id.split('/')[0] ?? '';
  const open = useAnswer(questionOf('GET /findings', { query: { ...asOf, node, limit: 1_000 } }), { topics: findingTopics, everyMs: 15_000 });
  const found = open.answer?.items.find((item) => item.id === id);
  const past = useAnswer(
    open.answer !== undefined && found === undefined ? questionOf('GET /findings', { query: { node, state: 'all', limit: 1_000 } }) : undefined,
    {
      topics: findingTopics,
    },
  );
  const finding = found ?? past.answer?.items.find((item) => item.id === id);
  useTitle(finding === undefined ? 'Finding' : `${finding.cause} on ${finding.node}`);
  return (
    <Answer answered={open}>
      {() =>
        finding === undefined ? (
          past.answer === undefined ? null : (
            <Nothing>
              No finding <code>{id}</code> is on record: it may be older than the history, or of another collector.
            </Nothing>
          )
        ) : (
          <Story subject={subjectOf(finding)} finding={finding} />
        )
      }
    </Answer>
  );
}

interface StoryViewProps {
  readonly node: string;
  readonly port: number;
  readonly protocol: string;
}

/** The story of a cell of the chart, be it well or not. */
export function StoryView({ node, port, protocol }: StoryViewProps) {
  useTitle(`${port}/${protocol} on ${node}`);
  return <Story subject={{ node, port, protocol }} />;
}

interface StoryProps {
  readonly subject: Subject;
  /** What the story is about, where it is of a finding. */
  readonly finding?: FindingItem;
}

function Story({ subject, finding }: StoryProps) {
  const { at, asOf } = usePlace();
  const { node, port, protocol } = subject;
  const asked =
    port === undefined ? undefined : { node, port, protocol: protocol as 'tcp', ...asOf, ...(at === undefined ? { drawing: 'graph' as const } : {}) };
  const explained = useAnswer(asked === undefined ? undefined : questionOf('GET /explain', { query: asked }), { topics: findingTopics, everyMs: 20_000 });
  if (asked === undefined && finding !== undefined) return <Told finding={finding} subject={subject} />;
  return <Answer answered={explained}>{(answer) => <Told subject={subject} answer={answer} {...(finding === undefined ? {} : { finding })} />}</Answer>;
}

interface ToldProps extends StoryProps {
  readonly answer?: ExplainAnswer;
}

/** A closed finding tells of a past that the live walk does not show. */
function Told({ subject, finding, answer }: ToldProps) {
  const isOver = finding !== undefined && finding.closedAt !== null && finding.closedAt !== undefined;
  const current = isOver ? undefined : answer;
  // Of a NodePort that answers, nothing that was found is what its story is about.
  const shown = finding ?? (answer?.explanation.kind === 'healthy' ? undefined : answer?.explanation.findings[0]);
  const parts = { subject, isOver, ...(shown === undefined ? {} : { finding: shown }), ...(current === undefined ? {} : { answer: current }) };
  return (
    <article class="view story">
      <StoryHead {...parts} />
      <div class="story-columns">
        <div class="story-main">
          <WalkPart {...parts} />
          <Witnesses {...parts} />
          <StoryTimeline {...parts} />
        </div>
        <aside class="story-side">
          <Remedy {...parts} />
          <NotIt {...parts} />
          <OtherFindings {...parts} />
          <AsText {...parts} />
        </aside>
      </div>
    </article>
  );
}
