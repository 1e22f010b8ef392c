// Goes to a node, a Service or a NodePort by its name or number, from anywhere (/).
import { useEffect, useId, useMemo, useRef, useState } from 'preact/hooks';
import { useAnswer } from '../data/answer.ts';
import { questionOf } from '../data/client.ts';
import { type Found, search } from '../model/search.ts';
import { usePlace } from './location.tsx';

export function Jump() {
  const { go } = usePlace();
  const field = useRef<HTMLInputElement>(null);
  const list = useId();
  const [text, setText] = useState('');
  const [open, setOpen] = useState(false);
  const [chosen, setChosen] = useState(0);
  const found = useFound(open, text);
  useSlash(field);
  const choose = (one: Found | undefined): void => {
    if (one === undefined) return;
    go(one.route, one.query ?? {});
    setText('');
    setOpen(false);
    field.current?.blur();
  };
  const press = (event: KeyboardEvent): void => {
    if (event.key === 'Escape') field.current?.blur();
    const step = event.key === 'ArrowDown' ? 1 : event.key === 'ArrowUp' ? -1 : 0;
    if (step !== 0) {
      event.preventDefault();
      setChosen((last) => Math.min(found.length - 1, Math.max(0, last + step)));
    }
    if (event.key === 'Enter') choose(found[chosen]);
  };
  const shown = open && text !== '';
  return (
    <div class="jump">
      <input
        ref={field}
        type="search"
        // biome-ignore lint/a11y/noRedundantRoles: without a list of the browser's own it would be a search field.
        role="combobox"
        list={undefined}
        aria-label="Go to a node, Service or NodePort"
        aria-expanded={shown}
        aria-controls={list}
        aria-autocomplete="list"
        {...(shown && found[chosen] !== undefined ? { 'aria-activedescendant': `${list}-${chosen}` } : {})}
        placeholder="Go to …"
        value={text}
        onFocus={() => setOpen(true)}
        onBlur={() => setTimeout(() => setOpen(false), 150)}
        onInput={(event) => {
          setText(event.currentTarget.value);
          setChosen(0);
        }}
        onKeyDown={press}
      />
      <kbd aria-hidden="true">/</kbd>
      <ul id={list} role="listbox" aria-label="Found" hidden={!shown}>
        {found.map((one, index) => (
          // biome-ignore lint/a11y/useKeyWithClickEvents: keys are those of the field, which keeps the focus.
          <li key={`${one.kind} ${one.title}`} id={`${list}-${index}`} role="option" aria-selected={index === chosen} tabIndex={-1} onClick={() => choose(one)}>
            <span class="kind">{one.kind}</span>
            <span>{one.title}</span>
            <span class="quiet">{one.note}</span>
          </li>
        ))}
        {found.length === 0 && (
          <li role="option" aria-selected={false} aria-disabled="true" class="quiet" tabIndex={-1}>
            Nothing is named so
          </li>
        )}
      </ul>
    </div>
  );
}

/** What the text names; nothing is asked before somebody looks. */
function useFound(open: boolean, text: string): readonly Found[] {
  const nodes = useAnswer(open ? questionOf('GET /nodes', { query: { limit: 1_000 } }) : undefined, { most: 20_000 }).answer;
  const services = useAnswer(open ? questionOf('GET /services', { query: { limit: 1_000 } }) : undefined, { most: 20_000 }).answer;
  return useMemo(() => search(text, { nodes: nodes?.items ?? [], services: services?.items ?? [] }), [text, nodes, services]);
}

function useSlash(field: { readonly current: HTMLInputElement | null }): void {
  useEffect(() => {
    const press = (event: KeyboardEvent): void => {
      const writes = event.target instanceof HTMLElement && /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
      if (event.key !== '/' || writes || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      field.current?.focus();
    };
    addEventListener('keydown', press);
    return () => removeEventListener('keydown', press);
  }, [field]);
}
