// The parts of a story below its head: the packet's way, the witnesses, the remedy, other findings, and the same as text.
import { commandsOf, nodePortOfKey, remedyTitle, standOf } from '../model/story.ts';
import { type Witness, witnessesOf } from '../model/witnesses.ts';
import { Link } from '../shell/location.tsx';
import { VerdictMark, verdictOfFinding } from './marks.tsx';
import type { StoryParts } from './story-head.tsx';
import { CauseTag, Command } from './text.tsx';
import { TraceForm } from './trace-form.tsx';
import { Walk } from './walk.tsx';

/** The drawing; where there is none, the steps in words and why. */
export function WalkPart({ answer }: StoryParts) {
  if (answer === undefined) return null;
  const { explanation, drawing, drawingProblem } = answer;
  const { walk, node, port } = explanation;
  if (walk.length === 0 && drawing === undefined) return null;
  return (
    <section class="part" aria-labelledby="walk">
      <h2 id="walk">The packet's way</h2>
      {walk.length > 0 && (
        <ol class="steps" aria-label={`From a client to ${node}:${port}`}>
          {walk.map(({ hook, table, text, decides, packets }) => (
            <li key={`${hook} ${table} ${text}`} class={decides ? 'is-deciding' : ''}>
              <span class="hook">{hook}</span> <span class="table">{table}</span> <code>{text}</code>{' '}
              {decides && <span class="decides">decides{packets === undefined ? '' : ` · ${packets} ${packets === '1' ? 'packet' : 'packets'} so far`}</span>}
            </li>
          ))}
        </ol>
      )}
      {drawing !== undefined && <Walk graph={drawing} />}
      {drawingProblem !== undefined && <p class="quiet">Not drawn: {drawingProblem}.</p>}
      {drawing !== undefined && <TraceForm explanation={explanation} />}
    </section>
  );
}

/** What the four witnesses say, side by side. */
export function Witnesses({ answer, finding }: StoryParts) {
  const witnesses = witnessesOf(answer?.explanation ?? { seenBy: [], findings: finding === undefined ? [] : [finding] });
  const others = (finding?.evidence ?? []).filter(({ witness }) => !['rules', 'counters', 'kernel', 'probes'].includes(witness));
  return (
    <section class="part" aria-labelledby="witnesses">
      <h2 id="witnesses">Witnesses</h2>
      <ul class="witnesses">
        {witnesses.map((witness) => (
          <WitnessCard key={witness.name} witness={witness} />
        ))}
      </ul>
      {others.length > 0 && (
        <ul class="evidence">
          {others.map(({ witness, text }) => (
            <li key={`${witness} ${text}`}>
              <span class="label">{witness}</span> <span>{text}</span>
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}

/** What was looked at and is well, so that nobody looks there again. */
export function NotIt({ answer }: StoryParts) {
  if (answer === undefined || answer.explanation.notIt.length === 0) return null;
  return (
    <section class="part" aria-labelledby="not-it">
      <h2 id="not-it">What it is not</h2>
      <ul class="not-it">
        {answer.explanation.notIt.map((text) => (
          <li key={text}>{text}</li>
        ))}
      </ul>
    </section>
  );
}

function WitnessCard({ witness: { name, of, says, silence } }: { readonly witness: Witness }) {
  return (
    <li class={says.length === 0 ? 'witness is-silent' : 'witness'}>
      <h3>{name}</h3>
      <p class="quiet of">{of}</p>
      {says.length === 0 ? (
        <p class="quiet">{silence}</p>
      ) : (
        says.slice(0, 4).map((text) => (
          <p key={text} class="says">
            {text}
          </p>
        ))
      )}
    </li>
  );
}

export function Remedy({ subject, answer, finding, isOver }: StoryParts) {
  const commands = finding?.remedy ?? answer?.explanation.fix ?? [];
  const stand = standOf({ kind: answer?.explanation.kind, finding, isOver });
  return (
    <section class="part remedy" aria-labelledby="remedy">
      {commands.length > 0 && (
        <>
          <h2 id="remedy">{remedyTitle(stand, { isOver, port: finding?.port })}</h2>
          {commands.map((text) => (
            <Command key={text} text={text} />
          ))}
          <p class="quiet">Read it before you run it: Portreeve changes nothing by itself.</p>
        </>
      )}
      <h2 {...(commands.length > 0 ? {} : { id: 'remedy' })}>As CLI command</h2>
      {commandsOf(subject, location.origin).map((text) => (
        <Command key={text} text={text} />
      ))}
    </section>
  );
}

/** What else was found here, and what else the same root breaks. */
export function OtherFindings({ answer, finding, subject }: StoryParts) {
  const others = (answer?.explanation.findings ?? []).filter(({ id }) => id !== finding?.id);
  const consequences = (finding?.consequences ?? []).flatMap((key) => nodePortOfKey(key) ?? []).filter(({ port }) => port !== subject.port);
  return (
    <>
      {others.length > 0 && (
        <section class="part" aria-labelledby="others">
          <h2 id="others">Also found</h2>
          <ul class="others">
            {others.map((other) => (
              <li key={other.id}>
                <VerdictMark verdict={verdictOfFinding(other)} size={14} />
                <Link to={{ view: 'finding', id: other.id }}>{other.title}</Link> <CauseTag cause={other.cause} />
              </li>
            ))}
          </ul>
        </section>
      )}
      {consequences.length > 0 && (
        <section class="part" aria-labelledby="consequences">
          <h2 id="consequences">The same root breaks</h2>
          <ul class="consequences">
            {consequences.map(({ port, protocol }) => (
              <li key={`${port}/${protocol}`}>
                <Link to={{ view: 'story', node: subject.node, port, protocol }}>
                  {port}/{protocol}
                </Link>
              </li>
            ))}
          </ul>
        </section>
      )}
    </>
  );
}

/** The same words that the command line prints, to paste into a ticket. */
export function AsText({ answer }: StoryParts) {
  if (answer === undefined) return null;
  return (
    <details class="part as-text">
      <summary>As text, for a ticket</summary>
      <Command text={answer.text.trimEnd()} />
    </details>
  );
}
