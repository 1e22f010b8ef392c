// The frame of the page: where one can go, whether what is shown is live, the view, and the time slider beneath.
import { useEffect, useState } from 'preact/hooks';
import { type LiveStatus, live } from '../data/live.ts';
import { TimeBar } from '../parts/time-bar.tsx';
import { ViewOf } from '../views/index.tsx';
import { Jump } from './jump.tsx';
import { Link, LocationProvider, usePlace } from './location.tsx';
import { mainViewOf, mainViews } from './routes.ts';
import { type Theme, themes, useTheme } from './theme.ts';

export function App() {
  return (
    <LocationProvider>
      <a class="skip" href="#view">
        Skip to the view
      </a>
      <Header />
      <AtBanner />
      <main id="view" tabIndex={-1}>
        <CurrentView />
      </main>
      <TimeBar />
    </LocationProvider>
  );
}

// A view is made anew where its address is of something else, so that nothing of the one before stays.
function CurrentView() {
  const { route } = usePlace();
  return <ViewOf key={JSON.stringify(route)} route={route} />;
}

function Header() {
  const { route } = usePlace();
  const current = mainViewOf(route);
  return (
    <header class="head">
      <Link to={{ view: 'now' }} class="brand" aria-label="Portreeve, to what is broken now">
        <Portcullis />
        <span>Portreeve</span>
      </Link>
      <nav aria-label="Views">
        <ul>
          {mainViews.map(({ view, title }) => (
            <li key={view}>
              <Link to={{ view }} {...(view === current ? { 'aria-current': 'page' as const } : {})}>
                {title}
              </Link>
            </li>
          ))}
        </ul>
      </nav>
      <div class="tools">
        <Jump />
        <LivePill />
        <ThemeSwitch />
      </div>
    </header>
  );
}

const Portcullis = () => (
  <svg viewBox="0 0 32 32" width="22" height="22" aria-hidden="true" class="portcullis">
    <path d="M5 29V14a11 11 0 0 1 22 0v15" stroke-width="3" />
    <path d="M11 8v14m5-16v19m5-17v14M8 13h16M8 19h16" stroke-width="2.2" />
  </svg>
);

const liveTexts: Readonly<Record<LiveStatus, string>> = { connecting: 'Connecting', live: 'Live', lost: 'Not live' };

function LivePill() {
  const { at } = usePlace();
  const [status, setStatus] = useState(live.status);
  useEffect(() => live.watchStatus(setStatus), []);
  if (at !== undefined) return <span class="pill past">Past</span>;
  return (
    <span class={`pill ${status}`} role="status">
      <span class="dot" aria-hidden="true" />
      {liveTexts[status]}
    </span>
  );
}

const themeTitles: Readonly<Record<Theme, string>> = { system: 'as the system has it', light: 'light', dark: 'dark' };
const themeSigns: Readonly<Record<Theme, string>> = {
  system: 'M2.5 3.5h11v7.5h-11zM6 13.5h4M8 11v2.5',
  light: 'M8 5a3 3 0 1 1 0 6a3 3 0 1 1 0-6M8 1v1.6M8 13.4V15M1 8h1.6M13.4 8H15M3 3l1.2 1.2M11.8 11.8L13 13M3 13l1.2-1.2M11.8 4.2L13 3',
  dark: 'M13.2 9.8A5.8 5.8 0 0 1 6.2 2.8A5.6 5.6 0 1 0 13.2 9.8Z',
};

function ThemeSwitch() {
  const [theme, setTheme] = useTheme();
  const next = themes[(themes.indexOf(theme) + 1) % themes.length] as Theme;
  const title = `Colours: ${themeTitles[theme]}. Change to ${themeTitles[next]}`;
  return (
    <button type="button" class="icon" title={title} aria-label={title} onClick={() => setTheme(next)}>
      <svg viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">
        <path d={themeSigns[theme]} />
      </svg>
    </button>
  );
}

function AtBanner() {
  const { at, set } = usePlace();
  if (at === undefined) return null;
  return (
    <div class="past-banner" role="status">
      <span>
        As it was known at <strong>{new Date(at).toISOString().replace('T', ' ').slice(0, 19)} UTC</strong>.
      </span>
      <button type="button" onClick={() => set({ at: undefined })}>
        Back to now
      </button>
    </div>
  );
}
