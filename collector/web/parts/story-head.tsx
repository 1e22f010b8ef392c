// The head of a story: what it is about, what clients meet, the likely cause, who, and since when.
import type { ExplainAnswer, Finding, FindingItem } from '../data/types.ts';
import type { MatrixVerdict } from '../model/matrix.ts';
import { type Stand, type Subject, standOf } from '../model/story.ts';
import { durationText } from '../model/time.ts';
import { Link, usePresent } from '../shell/location.tsx';
import { VerdictMark, verdictOfFinding } from './marks.tsx';
import { CauseTag, Time } from './text.tsx';

/** What the parts of a story are made from; `answer` is absent for what is over, and for what is of no NodePort. */
export interface StoryParts {
  readonly subject: Subject;
  readonly finding?: Finding | FindingItem;
  readonly answer?: ExplainAnswer;
  /** Of a finding that has ended. */
  readonly isOver: boolean;
}

export function StoryHead({ subject: { node, port, protocol }, finding, answer, isOver }: StoryParts) {
  const explanation = answer?.explanation;
  const stand = standOf({ kind: explanation?.kind, finding, isOver });
  const service = (explanation?.service ?? finding?.service ?? '').split(':')[0] ?? '';
  const isOfPort = finding === undefined || finding.port !== 0;
  return (
    <header class={`story-head is-${stand.tone}`}>
      <p class="crumbs">
        <Link to={{ view: 'node', node }}>{node}</Link>
        {service !== '' && (
          <>
            {' · '}
            <ServiceLink service={service} />
          </>
        )}
        {explanation?.address !== undefined && <span class="quiet"> · {explanation.address}</span>}
      </p>
      <div class="story-title">
        <VerdictMark verdict={markOf(stand.tone, finding)} size={30} label="" />
        <h1>
          {isOfPort && port !== undefined ? `${service === '' ? '' : `${service} · `}${port}/${protocol} on ${node}` : `${node}: ${finding?.title ?? ''}`}{' '}
          <span class="stand">{stand.text}</span>
        </h1>
      </div>
      {answer?.caution !== undefined && <p class="caution">{answer.caution}</p>}
      <p class="story-summary">{isOfPort && !isOver ? (explanation?.summary ?? finding?.summary) : finding?.summary}</p>
      <Particulars finding={finding} who={explanation?.who} />
    </header>
  );
}

const ServiceLink = ({ service }: { readonly service: string }) => {
  const [namespace = '', name = ''] = service.split('/');
  return <Link to={{ view: 'service', namespace, name }}>{service}</Link>;
};

function markOf(tone: Stand['tone'], finding: Finding | undefined): MatrixVerdict {
  if (tone === 'good') return 'ok';
  if (tone === 'design') return 'by-design';
  if (tone === 'open') return 'unknown';
  return finding === undefined ? 'timeout' : verdictOfFinding(finding);
}

interface ParticularsProps {
  readonly finding: Finding | FindingItem | undefined;
  readonly who: string | undefined;
}

function Particulars({ finding, who }: ParticularsProps) {
  const now = usePresent(1_000);
  if (finding === undefined) return null;
  const { cause, title, confidence, severity, since } = finding;
  const closedAt = 'closedAt' in finding ? finding.closedAt : null;
  return (
    <dl class="particulars">
      <div>
        <dt>Cause</dt>
        <dd>
          <CauseTag cause={cause} confidence={severity === 'info' ? undefined : confidence} /> {title}
        </dd>
      </div>
      {since !== undefined && (
        <div>
          <dt>Since</dt>
          <dd>
            <Time at={since} now={now} /> UTC <span class="quiet">· {durationText((closedAt ?? now) - since)}</span>
          </dd>
        </div>
      )}
      {closedAt !== null && (
        <div>
          <dt>Until</dt>
          <dd>
            <Time at={closedAt} now={now} /> UTC
          </dd>
        </div>
      )}
      {who !== undefined && (
        <div class="who">
          <dt>Who</dt>
          <dd class="code">{who}</dd>
        </div>
      )}
    </dl>
  );
}
