// Dark or light: as the system has it, unless this browser was told otherwise.
import { useEffect, useState } from 'preact/hooks';

export const themes = ['system', 'light', 'dark'] as const;
export type Theme = (typeof themes)[number];
const storageKey = 'portreeve.theme';

/** Sets the theme that was chosen before the first thing is drawn. */
export function applyTheme(theme: Theme = storedTheme()): void {
  document.documentElement.dataset['theme'] = isDark(theme) ? 'dark' : 'light';
}

/** The theme, and what changes it. */
export function useTheme(): readonly [Theme, (theme: Theme) => void] {
  const [theme, setTheme] = useState(storedTheme);
  useEffect(() => {
    applyTheme(theme);
    const follow = (): void => applyTheme(theme);
    darkness.addEventListener('change', follow);
    return () => darkness.removeEventListener('change', follow);
  }, [theme]);
  return [
    theme,
    (chosen) => {
      store(chosen);
      setTheme(chosen);
    },
  ];
}

const darkness = matchMedia('(prefers-color-scheme: dark)');
const isDark = (theme: Theme): boolean => theme === 'dark' || (theme === 'system' && darkness.matches);

// A browser may forbid a page to keep anything.
function storedTheme(): Theme {
  try {
    const stored = localStorage.getItem(storageKey);
    return themes.find((theme) => theme === stored) ?? 'system';
  } catch {
    return 'system';
  }
}

function store(theme: Theme): void {
  try {
    localStorage.setItem(storageKey, theme);
  } catch {
    // It holds until the page is closed.
  }
}
