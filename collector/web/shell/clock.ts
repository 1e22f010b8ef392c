// The time by the browser's clock, for ages that grow while one looks at them.
import { useEffect, useState } from 'preact/hooks';

/** Milliseconds since 1970, told anew every so often. */
export function useClock(everyMs = 1_000): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return now;
}
