// What is broken or drifting now, worst first, each with its likely cause, since when, and the change before it.
import { useMemo } from 'preact/hooks';
import { actorText } from '../../../shared/model/change.ts';
import type { Severity } from '../../../shared/model/finding.ts';
import { useAnswer } from '../data/answer.ts';
import { questionOf } from '../data/client.ts';
import { findingTopics } from '../data/live.ts';
import { useMatrix } from '../data/matrix.ts';
import { useNodes } from '../data/nodes.ts';
import type { Finding } from '../data/types.ts';
import { type Incident, incidentsOf } from '../model/incidents.ts';
import { type Matrix, nodesWith } from '../model/matrix.ts';
import { durationText, isoText } from '../model/time.ts';
import { severityTitles, VerdictMark, verdictOfFinding } from '../parts/marks.tsx';
import { OverLately } from '../parts/over.tsx';
import { Reported } from '../parts/reported.tsx';
import { Standing } from '../parts/standing.tsx';
import { Answer } from '../parts/states.tsx';
import { CauseTag, counted, Time } from '../parts/text.tsx';
import { Link, usePlace, usePresent } from '../shell/location.tsx';
import type { Route } from '../shell/routes.ts';
import { useTitle } from '../shell/title.ts';

/** Up to so many nodes are asked for in full, every few seconds; of more only what the matrix tells. */
const nodesMax = 200;
/** Nodes that are named as drifting. */
const driftingMax = 20;
/** Findings in one answer at most; of a cluster with more, the worst are enough to begin with. */
const findingsMax = 1_000;

export function NowView() {
  const { at, asOf } = usePlace();
  const findings = useAnswer(questionOf('GET /findings', { query: { ...asOf, limit: findingsMax } }), { topics: findingTopics, everyMs: 30_000 });
  const matrix = useMatrix(at);
  const isSmall = (matrix.answer?.matrix.nodes.length ?? nodesMax + 1) <= nodesMax;
  const nodes = useNodes({ topics: ['node', 'heartbeat'], isAsked: isSmall }).answer?.items;
  const incidents = useMemo(() => incidentsOf(findings.answer?.items ?? []), [findings.answer]);
  const bad = incidents.filter(({ severity }) => severity === 'error').length;
  useTitle(bad === 0 ? 'Now' : `(${bad}) Now`);
  return (
    <div class="view now">
      <Answer answered={matrix}>{({ matrix: cells, view }) => <Standing known={{ matrix: cells, view, nodes }} incidents={incidents} />}</Answer>
      <Answer answered={findings}>
        {({ next }) => (
          <>
            {next !== undefined && (
              <p class="caution">Only the worst {findingsMax.toLocaleString('en')} findings are told here; the chart shows where all of them are.</p>
            )}
            <Incidents incidents={incidents} matrix={matrix.answer?.matrix} />
          </>
        )}
      </Answer>
      <OverLately />
      <Reported />
    </div>
  );
}

function Incidents({ incidents, matrix }: { readonly incidents: readonly Incident[]; readonly matrix: Matrix | undefined }) {
  const of = (severity: Severity): readonly Incident[] => incidents.filter((incident) => incident.severity === severity);
  return (
    <>
      <Group severity="error" incidents={of('error')} />
      <Group severity="warning" incidents={of('warning')} />
      {matrix !== undefined && <Drifting matrix={matrix} />}
      {of('info').length > 0 && (
        <details class="by-design">
          <summary>
            <h2>{severityTitles.info}</h2> <span class="count">{of('info').length}</span>
            <span class="quiet"> said so that nobody searches</span>
          </summary>
          <ol class="incidents">
            {of('info').map((incident) => (
              <IncidentRow key={incident.key} incident={incident} />
            ))}
          </ol>
        </details>
      )}
    </>
  );
}

function Group({ severity, incidents }: { readonly severity: Severity; readonly incidents: readonly Incident[] }) {
  if (incidents.length === 0) return null;
  return (
    <section aria-labelledby={`group-${severity}`}>
      <h2 id={`group-${severity}`}>
        {severityTitles[severity]} <span class="count">{incidents.length}</span>
      </h2>
      <ol class="incidents">
        {incidents.map((incident) => (
          <IncidentRow key={incident.key} incident={incident} />
        ))}
      </ol>
    </section>
  );
}

/** Differences that kube-proxy may still settle by itself. */
function Drifting({ matrix }: { readonly matrix: Matrix }) {
  const nodes = useMemo(() => nodesWith(matrix, 'pending'), [matrix]);
  if (nodes.length === 0) return null;
  const total = nodes.reduce((sum, { count }) => sum + count, 0);
  return (
    <section aria-labelledby="group-drifting">
      <h2 id="group-drifting">
        Drifting <span class="count">{total}</span>
      </h2>
      <ol class="incidents">
        {nodes.slice(0, driftingMax).map(({ node, count }) => (
          <li key={node} class="incident is-pending">
            <VerdictMark verdict="pending" size={20} label="" />
            <div class="incident-what">
              <h3>
                <Link to={{ view: 'node', node }}>{node}</Link>
              </h3>
              <p>{counted(count, 'difference')} younger than the grace period: kube-proxy may still settle it by itself.</p>
            </div>
          </li>
        ))}
      </ol>
    </section>
  );
}

function IncidentRow({ incident }: { readonly incident: Incident }) {
  const now = usePresent(1_000);
  const { findings, severity, since } = incident;
  const [finding] = findings as readonly [Finding];
  const { symptom, cause, title, confidence, summary } = finding;
  return (
    <li class={`incident is-${severity}`}>
      <VerdictMark verdict={verdictOfFinding(finding)} size={20} />
      <div class="incident-what">
        <h3>
          <Link to={storyOf(finding)} class="whole">
            {headOf(incident)}
          </Link>
          <span class="symptom">{symptomTexts[symptom]}</span>
        </h3>
        <p class="summary">{withoutName(summary, finding)}</p>
        <p class="incident-cause">
          <CauseTag cause={cause} confidence={severity === 'info' ? undefined : confidence} /> <span>{title}</span>
        </p>
        <ChangeBefore incident={incident} />
      </div>
      <div class="incident-where">
        {since !== undefined && (
          <span class="since">
            {severity === 'info' ? '' : 'since '}
            <Time at={since} now={now} /> <span class="age">{durationText(now - since)}</span>
          </span>
        )}
        <Extent incident={incident} />
      </div>
    </li>
  );
}

export const symptomTexts = { ok: '', refused: 'refused', timeout: 'times out', unreachable: 'unreachable', unknown: 'not known' } as const;

export const storyOf = ({ id }: Finding): Route => ({ view: 'finding', id });

/** `shop/web · 30080/tcp and 3 more on node1`. */
function headOf({ findings, nodes, services }: Incident): string {
  const [{ service, port, protocol, node }] = findings as readonly [Finding];
  const name = service === '' ? undefined : service.split(':')[0];
  const number = port === 0 ? undefined : `${port}/${protocol}`;
  const what = [name, number].filter((part) => part !== undefined).join(' · ');
  const more = services.length > 1 ? ` and ${services.length - 1} more` : '';
  const where = nodes.length > 1 ? counted(nodes.length, 'node') : node;
  return what === '' ? where : `${what}${more} on ${where}`;
}

/** A summary begins with the name that stands above it. */
function withoutName(summary: string, { service, port }: Finding): string {
  const rest = summary.replace(/^[^:]{1,200}: /, '');
  const named = service !== '' && summary.startsWith(service.split(':')[0] as string) && summary.slice(0, summary.indexOf(': ')).includes(String(port));
  return named ? rest.charAt(0).toUpperCase() + rest.slice(1) : summary;
}

function ChangeBefore({ incident: { trigger, findings, since, severity } }: { readonly incident: Incident }) {
  if (severity === 'info') return null;
  if (trigger !== undefined) {
    const before = since === undefined ? '' : since - trigger.at > 1_500 ? `, ${durationText(since - trigger.at)} before` : '';
    const by = actorText(trigger.actor);
    return (
      <p class="change-before">
        <span class="label">Change</span> <span class="code">{by === 'unknown' ? trigger.subject : by}</span>
        <span class="quiet" title={isoText(trigger.at)}>
          {by === 'unknown' ? '' : ` · ${trigger.subject}`}
          {before}
        </span>
      </p>
    );
  }
  const told = findings[0]?.evidence.find(({ witness }) => witness === 'changes')?.text;
  return (
    <p class="change-before">
      <span class="label">Change</span> <span class={told === undefined ? 'quiet' : ''}>{told ?? 'none on record made it'}</span>
    </p>
  );
}

function Extent({ incident: { nodes, cells, services, findings } }: { readonly incident: Incident }) {
  const parts = [
    ...(nodes.length > 1 ? [counted(nodes.length, 'node')] : []),
    ...(services.length > 1 ? [counted(services.length, 'Service port')] : []),
    ...(cells > 1 ? [`${counted(cells, 'NodePort')} on nodes`] : findings.length > 1 ? [counted(findings.length, 'finding')] : []),
  ];
  return parts.length === 0 ? null : <span class="extent">{parts.join(' · ')}</span>;
}
