// The timeline of a story: what changed on the node and in the cluster before it began.
import { useMemo } from 'preact/hooks';
import { actorText } from '../../../shared/model/change.ts';
import type { Correlation } from '../../correlate/index.ts';
import { useAnswer } from '../data/answer.ts';
import { questionOf } from '../data/client.ts';
import type { SequencedChange } from '../data/types.ts';
import { shownMin } from '../model/lanes.ts';
import { durationText } from '../model/time.ts';
import { usePlace } from '../shell/location.tsx';
import { LanesView } from './lanes.tsx';
import type { StoryParts } from './story-head.tsx';

const minuteMs = 60_000;
/** A window that ends now moves on by this, so that the same question is not another one each second. */
const stepMs = 15_000;

export function StoryTimeline({ subject, finding, answer }: StoryParts) {
  const { at } = usePlace();
  const isFault = finding !== undefined && finding.severity !== 'info';
  const began = answer?.onset ?? finding?.since ?? (finding !== undefined && 'openedAt' in finding ? finding.openedAt : undefined);
  const present = useMemo(() => Math.ceil((at ?? Date.now()) / stepMs) * stepMs, [at]);
  const onsetAt = isFault && began !== undefined ? began : present;
  const changes = useChanges(subject.node, onsetAt);
  const trigger = isFault ? finding.trigger : undefined;
  const onset = { at: onsetAt, ...(trigger === undefined ? {} : { trigger: { at: trigger.at, subject: trigger.subject } }) };
  return (
    <section class="part" aria-labelledby="timeline">
      <h2 id="timeline">{isFault ? 'What changed before' : 'What changed of late'}</h2>
      <p class="quiet">
        {isFault
          ? 'Shaded: the time before the onset in which a change of that class is looked for first.'
          : 'On this node and in the cluster, up to the moment that is shown.'}
      </p>
      <LanesView changes={changes} onset={onset} isFault={isFault} />
      {isFault && trigger === undefined && <Suspects suspects={answer?.before ?? []} onset={onsetAt} />}
    </section>
  );
}

/** Changes that are told when none is known to have made it. */
const suspectsMax = 3;

/** Where the ledger does not say which change made it, those that most likely did, and why. */
function Suspects({ suspects, onset }: { readonly suspects: readonly Correlation[]; readonly onset: number }) {
  if (suspects.length === 0) return null;
  return (
    <>
      <h3>No change is known to have made it; most likely did</h3>
      <ol class="suspects">
        {suspects.slice(0, suspectsMax).map(({ change, score, reasons }) => (
          <li key={`${change.at} ${change.subject}`}>
            <meter min={0} max={1} value={score} aria-label={`Score ${score.toFixed(2)} of 1`} />
            <strong class="code">{change.subject}</strong> <span class="quiet">{durationText(Math.max(0, onset - change.at))} before</span>
            {actorText(change.actor) !== 'unknown' && <span class="code"> {actorText(change.actor)}</span>}
            <p class="quiet">{reasons.join('; ')}</p>
          </li>
        ))}
      </ol>
    </>
  );
}

/** The changes of the node, and those of cluster objects, which have no node. */
function useChanges(node: string, onset: number): readonly SequencedChange[] {
  const span = { from: String(Math.floor(onset - shownMin.before * minuteMs)), to: String(Math.ceil(onset + shownMin.after * minuteMs)), limit: 1_000 };
  const own = useAnswer(questionOf('GET /changes', { query: { ...span, node } }), { topics: ['change'] }).answer;
  const cluster = useAnswer(questionOf('GET /changes', { query: { ...span, node: '' } }), { topics: ['change'] }).answer;
  return useMemo(() => [...(own?.items ?? []), ...(cluster?.items ?? [])], [own, cluster]);
}
