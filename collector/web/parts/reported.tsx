// What people and Alertmanager have reported to fail, each with its likely causes; and where one reports it.
import { useMemo, useState } from 'preact/hooks';
import { actorText } from '../../../shared/model/change.ts';
import { callOf } from '../../api/client.ts';
import type { Incident, RankedCause } from '../../api/client.types.ts';
import { useAnswer } from '../data/answer.ts';
import { AskError, post, questionOf } from '../data/client.ts';
import { findingTopics } from '../data/live.ts';
import type { SequencedChange } from '../data/types.ts';
import { isoText, parseTime } from '../model/time.ts';
import { Link, usePlace, usePresent } from '../shell/location.tsx';
import { CauseTag, Time } from './text.tsx';

const dayMs = 86_400_000;
/** Causes of one report that are named. */
const causesMax = 3;

export function Reported() {
  const { at } = usePlace();
  const present = useMemo(() => at ?? Date.now(), [at]);
  const [own, setOwn] = useState<readonly Incident[]>([]);
  const query = { from: String(present - dayMs), ...(at === undefined ? {} : { to: String(at) }), limit: 20 };
  const told = useAnswer(questionOf('GET /incidents', { query }), { topics: findingTopics, everyMs: 15_000 }).answer?.items ?? [];
  const all = [...new Map([...own, ...told].map((incident) => [incident.id, incident])).values()].sort((a, b) => b.at - a.at);
  return (
    <section class="reported" aria-labelledby="reported">
      <h2 id="reported">
        Reported in the last 24 h <span class="count">{all.length}</span>
      </h2>
      {all.length > 0 && (
        <ol class="incidents">
          {all.map((incident) => (
            <Report key={incident.id} incident={incident} />
          ))}
        </ol>
      )}
      {at === undefined && <ReportForm told={(incident) => setOwn((last) => [incident, ...last])} />}
    </section>
  );
}

function Report({ incident }: { readonly incident: Incident }) {
  const now = usePresent(10_000);
  const { at, endedAt, origin, service, node, port, protocol, source, text, causes } = incident;
  const what = [service, port === 0 ? '' : `${port}/${protocol === '' ? 'tcp' : protocol}`].filter((part) => part !== '').join(' · ');
  const where = [node === '' ? '' : `on ${node}`, source === '' ? '' : `from ${source}`].filter((part) => part !== '').join(' ');
  return (
    <li class="incident is-reported">
      <svg class="mark" viewBox="0 0 16 16" width={20} height={20} aria-hidden="true">
        <path class="outline" d="M2 2H14V11H8L5 14.5V11H2Z" />
      </svg>
      <div class="incident-what">
        <h3>
          {what === '' ? 'Some NodePort' : what} <span class="quiet">{where}</span>
        </h3>
        {text !== '' && <p class="summary">{text}</p>}
        {causes.length === 0 ? (
          <p class="quiet">No finding and no change on record explains it.</p>
        ) : (
          <ol class="causes">
            {likely(causes).map((cause) => (
              <Cause key={`${cause.finding ?? ''} ${cause.change?.at ?? ''} ${cause.summary}`} cause={cause} />
            ))}
          </ol>
        )}
      </div>
      <div class="incident-where">
        <span>
          {origin === 'alertmanager' ? 'alert at ' : 'failed at '}
          <Time at={at} now={now} />
        </span>
        {endedAt !== null && (
          <span class="quiet">
            until <Time at={endedAt} now={now} />
          </span>
        )}
      </div>
    </li>
  );
}

/** Where the first is certain it is enough; else those that come near it. */
const likely = (causes: readonly RankedCause[]): readonly RankedCause[] =>
  causes.filter(({ score }, index) => index === 0 || (causes[0]?.confidence !== 'certain' && score >= nearMin)).slice(0, causesMax);
const nearMin = 0.3;

function Cause({ cause: { cause, title, confidence, summary, finding, change, reasons } }: { readonly cause: RankedCause }) {
  const by = actorText(change?.actor as SequencedChange['actor']);
  return (
    <li title={reasons.join('; ')}>
      {cause !== '' && <CauseTag cause={cause} confidence={confidence} />}{' '}
      {finding === undefined ? <span>{title === '' ? summary : title}</span> : <Link to={{ view: 'finding', id: finding }}>{title}</Link>}
      {change !== undefined && <span class="quiet"> · {by === 'unknown' ? change.subject : `${by}, ${change.subject}`}</span>}
    </li>
  );
}

function ReportForm({ told }: { readonly told: (incident: Incident) => void }) {
  const [given, setGiven] = useState({ service: '', source: '', when: '' });
  const [problem, setProblem] = useState('');
  const type = (name: keyof typeof given) => (event: { readonly currentTarget: HTMLInputElement }) =>
    setGiven((last) => ({ ...last, [name]: event.currentTarget.value }));
  const report = async (event: Event): Promise<void> => {
    event.preventDefault();
    const at = given.when.trim() === '' ? Date.now() : parseTime(given.when, Date.now());
    if (at === undefined) {
      setProblem(`${given.when} is no time: 14:03, -15m or 2026-11-28 14:03 is wanted.`);
      return;
    }
    setProblem(await sent({ at: isoText(at), service: given.service.trim(), source: given.source.trim() }, told));
  };
  return (
    <details>
      <summary>Something failed that is not here</summary>
      <form class="controls" onSubmit={(event) => void report(event)}>
        <input type="text" aria-label="Service, as namespace/name" placeholder="Service" required value={given.service} onInput={type('service')} />
        <input type="text" aria-label="Address of the client, where it is known" placeholder="from address" value={given.source} onInput={type('source')} />
        <input type="text" aria-label="When it failed, in UTC; empty: now" placeholder="when (14:03, -15m)" value={given.when} onInput={type('when')} />
        <button type="submit">Look into it</button>
      </form>
      {problem !== '' && (
        <p class="trouble" role="alert">
          {problem}
        </p>
      )}
    </details>
  );
}

/** Sends a report; what went wrong in a sentence, empty when it is taken. */
async function sent(
  { at, service, source }: { readonly at: string; readonly service: string; readonly source: string },
  told: (incident: Incident) => void,
): Promise<string> {
  try {
    told(await post(callOf('POST /incidents', { body: { at, service, ...(source === '' ? {} : { source }) } }), 'POST /incidents'));
    return '';
  } catch (error) {
    return error instanceof AskError ? error.message : String(error);
  }
}
