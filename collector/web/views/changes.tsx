// The ledger, newest first: searchable, each change with what it removed and added and who made it.
import { useEffect, useState } from 'preact/hooks';
import { actorText } from '../../../shared/model/change.ts';
import { useAnswer } from '../data/answer.ts';
import { type AskError, ask, pageAfter, type Question, questionOf } from '../data/client.ts';
import type { List, SequencedChange } from '../data/types.ts';
import { clockText, isoText } from '../model/time.ts';
import { Diff } from '../parts/diff.tsx';
import { Answer, Nothing } from '../parts/states.tsx';
import { Link, usePlace, usePresent } from '../shell/location.tsx';
import { useTitle } from '../shell/title.ts';

const pageSize = 100;
const kinds = 'rule chain policy set table listener interface address route sysctl process service endpoints node pod agent network-policy config gap'.split(
  ' ',
);

export function ChangesView() {
  useTitle('Changes');
  const { query, asOf } = usePlace();
  const filters = { text: query.get('text') ?? '', node: query.get('node') ?? '', kind: query.get('kind') ?? '' };
  const sought = useSettled(filters.text);
  const given = (name: string, value: string): object => (value === '' ? {} : { [name]: value });
  const asked = { ...asOf, ...given('text', sought), ...given('node', filters.node), ...given('kind', filters.kind), limit: pageSize };
  const question = questionOf('GET /changes', { query: asked });
  const first = useAnswer(question, { topics: ['change'] });
  return (
    <div class="view changes">
      <h1>Changes</h1>
      <Filters {...filters} />
      <Answer answered={first}>
        {(page) => <Pages key={question.path} question={question} first={page} isFiltered={filters.text + filters.node + filters.kind !== ''} />}
      </Answer>
    </div>
  );
}

/** What is typed, a moment after the last letter: each letter is not a question of its own. */
function useSettled(text: string): string {
  const [settled, setSettled] = useState(text);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(text), 250);
    return () => clearTimeout(timer);
  }, [text]);
  return settled;
}

function Filters({ text, node, kind }: { readonly text: string; readonly node: string; readonly kind: string }) {
  const { set } = usePlace();
  return (
    <form class="controls" role="search" onSubmit={(event) => event.preventDefault()}>
      <input
        type="search"
        class="wide"
        aria-label="Text that the change holds: a rule, a name, a program"
        placeholder="Rule, name, program …"
        value={text}
        onInput={(event) => set({ text: event.currentTarget.value }, 'replace')}
      />
      <input
        type="search"
        aria-label="Only of this node"
        placeholder="Node"
        value={node}
        onInput={(event) => set({ node: event.currentTarget.value }, 'replace')}
      />
      <select aria-label="Only of this kind" value={kind} onChange={(event) => set({ kind: event.currentTarget.value })}>
        <option value="">every kind</option>
        {kinds.map((each) => (
          <option key={each} value={each}>
            {each}
          </option>
        ))}
      </select>
    </form>
  );
}

interface PagesProps {
  readonly question: Question<'GET /changes'>;
  readonly first: List<SequencedChange>;
  readonly isFiltered: boolean;
}

/** The first page is live; older ones are added when they are asked for. */
function Pages({ question, first, isFiltered }: PagesProps) {
  const [older, setOlder] = useState<{ readonly items: readonly SequencedChange[]; readonly next: string | undefined } | undefined>(undefined);
  const [problem, setProblem] = useState('');
  const items = distinct([...first.items, ...(older?.items ?? [])]);
  const next = older === undefined ? first.next : older.next;
  const more = async (): Promise<void> => {
    const page = await ask(pageAfter(question, next ?? '')).catch((error: AskError) => {
      setProblem(error.message);
      return undefined;
    });
    if (page !== undefined) setOlder({ items: [...items, ...page.answer.items], next: page.answer.next });
  };
  if (items.length === 0) return <Nothing>{isFiltered ? 'No change holds this.' : 'Nothing has changed since the ledger began.'}</Nothing>;
  return (
    <>
      <ol class="ledger">
        {items.map((change) => (
          <Entry key={placeOf(change)} change={change} />
        ))}
      </ol>
      {problem !== '' && <p class="trouble">{problem}</p>}
      {next !== undefined && (
        <button type="button" onClick={() => void more()}>
          Older changes
        </button>
      )}
    </>
  );
}

const placeOf = ({ node, stream, seq }: SequencedChange): string => `${node} ${stream} ${seq}`;
const distinct = (changes: readonly SequencedChange[]): SequencedChange[] => [...new Map(changes.map((change) => [placeOf(change), change])).values()];

function Entry({ change }: { readonly change: SequencedChange }) {
  const now = usePresent(60_000);
  const { at, node, kind, subject, before, after, actor, owner, folded } = change;
  const by = actorText(actor);
  return (
    <li class="entry">
      <div class="entry-head">
        <time dateTime={isoText(at)} title={isoText(at)} class="time">
          {clockText(at, now)}
        </time>
        <span class="kind">{kind}</span>
        <span class="entry-node">{node === '' ? <span class="quiet">cluster</span> : <Link to={{ view: 'node', node }}>{node}</Link>}</span>
        <strong class="code">{subject}</strong>
        {owner !== undefined && owner !== 'unknown' && <span class="owner">{owner}</span>}
      </div>
      {by !== 'unknown' && <p class="code actor">{by}</p>}
      {folded !== undefined && (
        <p class="quiet">
          stands for {folded.count} changes more{folded.by.length === 0 ? '' : `, by ${folded.by.join(', ')}`}
        </p>
      )}
      <Diff before={before} after={after} />
    </li>
  );
}
