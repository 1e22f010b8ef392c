// Where the page is: the route and the query of its address, and links that change them without loading it anew.
import { type ComponentChildren, createContext } from 'preact';
import { useCallback, useContext, useEffect, useMemo, useState } from 'preact/hooks';
import { isoText, parseTime } from '../model/time.ts';
import { useClock } from './clock.ts';
import { pathOf, type Route, routeOf } from './routes.ts';

export interface Place {
  readonly route: Route;
  readonly query: URLSearchParams;
  /** The time that every view shows, in milliseconds since 1970; undefined: now. */
  readonly at: number | undefined;
  /** The same as every question of the API takes it; nothing for now. */
  readonly asOf: { readonly at?: string };
  /** Goes to a view; the time stays. */
  readonly go: (route: Route, query?: Readonly<Record<string, string>>) => void;
  /** Changes the query of this view; an undefined value removes its name. The way back does not hold what was typed letter by letter: `replace`. */
  readonly set: (values: Readonly<Record<string, string | undefined>>, how?: 'push' | 'replace') => void;
}

const Context = createContext<Place | undefined>(undefined);

/** Where the page is. Only within LocationProvider. */
export function usePlace(): Place {
  const place = useContext(Context);
  if (place === undefined) throw new Error('the place is asked for outside of the page');
  return place;
}

/** The moment that is shown: the time of the slider, else now, told anew every so often. */
export function usePresent(everyMs: number): number {
  const { at } = usePlace();
  const clock = useClock(everyMs);
  return at ?? clock;
}

export function LocationProvider({ children }: { readonly children: ComponentChildren }) {
  const [href, setHref] = useState(() => location.pathname + location.search);
  useEffect(() => {
    const follow = (): void => setHref(location.pathname + location.search);
    addEventListener('popstate', follow);
    return () => removeEventListener('popstate', follow);
  }, []);
  const move = useCallback((target: string, how: 'push' | 'replace') => {
    if (how === 'push') history.pushState(null, '', target);
    else history.replaceState(null, '', target);
    setHref(target);
  }, []);
  const place = useMemo(() => placeOf(href, move), [href, move]);
  return <Context.Provider value={place}>{children}</Context.Provider>;
}

function placeOf(href: string, move: (target: string, how: 'push' | 'replace') => void): Place {
  const [path = '/', search = ''] = href.split('?');
  const query = new URLSearchParams(search);
  const asked = parseTime(query.get('at') ?? '', Date.now());
  // Nothing is believed yet of what is to come.
  const at = asked === undefined || asked > Date.now() ? undefined : asked;
  return {
    route: routeOf(path),
    query,
    at,
    asOf: at === undefined ? {} : { at: isoText(at) },
    go: (route, given = {}) => {
      move(hrefOf(route, query, given), 'push');
      scrollTo(0, 0);
    },
    set: (values, how = 'push') => {
      const next = new URLSearchParams(query);
      for (const [name, value] of Object.entries(values)) {
        if (value === undefined || value === '') next.delete(name);
        else next.set(name, value);
      }
      const text = next.toString();
      move(text === '' ? path : `${path}?${text}`, how);
    },
  };
}

/** The address of a view at the time that is shown. */
function hrefOf(route: Route, query: URLSearchParams, given: Readonly<Record<string, string>> = {}): string {
  const at = query.get('at');
  const text = new URLSearchParams({ ...given, ...(at === null ? {} : { at }) }).toString();
  return text === '' ? pathOf(route) : `${pathOf(route)}?${text}`;
}

interface LinkProps {
  readonly class?: string;
  readonly 'aria-label'?: string;
  readonly 'aria-current'?: 'page';
  readonly to: Route;
  readonly query?: Readonly<Record<string, string>>;
  readonly children: ComponentChildren;
}

/** A link to a view: the browser's own in everything, but that a plain click does not load the page anew. */
export function Link({ to, query: given = {}, children, ...rest }: LinkProps) {
  const { query, go } = usePlace();
  const follow = (event: MouseEvent): void => {
    if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    go(to, given);
  };
  return (
    <a {...rest} href={hrefOf(to, query, given)} onClick={follow}>
      {children}
    </a>
  );
}
