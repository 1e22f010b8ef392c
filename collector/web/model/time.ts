// Times of the page: what an operator types, and how times, ages and durations are shown. Always UTC, as the command line has it. Pure.

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
const dayMs = 24 * hourMs;
const unitsMs: Readonly<Record<string, number>> = { s: 1_000, m: minuteMs, min: minuteMs, h: hourMs, d: dayMs, w: 7 * dayMs };

/**
 * A time as somebody types it, in milliseconds since 1970: `14:03`, `14:03:22` (the latest such time that is past), `-15m`, `2h`, `2 h ago`, `2026-11-28 14:03`, ISO 8601,
 * or milliseconds. Without a zone it is UTC. Undefined for anything else.
 */
export function parseTime(text: string, now: number): number | undefined {
  const typed = text.trim();
  return timeOfDay(typed, now) ?? timeAgo(typed, now) ?? (/^\d{12,14}$/.test(typed) ? Number(typed) : dateTime(typed));
}

function timeOfDay(text: string, now: number): number | undefined {
  const [, hours, minutes, seconds = '0'] = /^(\d{1,2}):(\d{2})(?::(\d{2}))?(?:\s*(?:UTC|Z))?$/i.exec(text) ?? [];
  if (hours === undefined || Number(hours) > 23 || Number(minutes) > 59 || Number(seconds) > 59) return undefined;
  const today = Math.floor(now / dayMs) * dayMs + Number(hours) * hourMs + Number(minutes) * minuteMs + Number(seconds) * 1_000;
  return today > now ? today - dayMs : today;
}

function timeAgo(text: string, now: number): number | undefined {
  const [, amount, unit] = /^-?\s*(\d{1,6}(?:\.\d{1,3})?)\s*(s|min|m|h|d|w)(?:\s+ago)?$/.exec(text) ?? [];
  return amount === undefined || unit === undefined ? undefined : Math.round(now - Number(amount) * (unitsMs[unit] as number));
}

function dateTime(text: string): number | undefined {
  const [, date, time = '00:00', zone = 'Z'] =
    /^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2}(?::\d{2}(?:\.\d{1,3})?)?))?\s*(Z|UTC|[+-]\d{2}:\d{2})?$/i.exec(text) ?? [];
  if (date === undefined) return undefined;
  const parsed = Date.parse(`${date}T${time}${/^utc$/i.test(zone) ? 'Z' : zone.toUpperCase()}`);
  // `2026-02-31` is no day, although some parsers take it for March.
  return Number.isNaN(parsed) || !isDay(date) ? undefined : parsed;
}

const isDay = (date: string): boolean => {
  const parsed = Date.parse(`${date}T00:00:00Z`);
  return !Number.isNaN(parsed) && new Date(parsed).toISOString().startsWith(date);
};

/** `14:03:22`, and with the day before it when that is another than `now`'s: `27 Nov 14:03:22`. */
export function clockText(at: number, now: number): string {
  const iso = isoText(at);
  const clock = iso.slice(11, 19);
  if (Math.floor(at / dayMs) === Math.floor(now / dayMs)) return clock;
  const day = `${Number(iso.slice(8, 10))} ${months[Number(iso.slice(5, 7)) - 1]}`;
  return iso.slice(0, 4) === isoText(now).slice(0, 4) ? `${day} ${clock}` : `${day} ${iso.slice(0, 4)} ${clock}`;
}

const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** ISO 8601 in UTC; the year 1970 for what is no time. */
export const isoText = (at: number): string => new Date(Math.abs(at) <= 8.64e15 ? at : 0).toISOString();

/** `now`, `12 s`, `4 min`, `3 h`, `2 days`. */
export function durationText(ms: number): string {
  const seconds = Math.round(ms / 1_000);
  if (seconds < 1) return 'less than 1 s';
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 2 * 3_600) return `${Math.round(seconds / 60)} min`;
  if (seconds < 48 * 3_600) return `${Math.round(seconds / 3_600)} h`;
  return `${Math.round(seconds / 86_400)} days`;
}

/** `just now`, `12 s ago`, `in 3 s` for a clock that is ahead. */
export function agoText(at: number, now: number): string {
  const ms = now - at;
  if (Math.abs(ms) < 1_500) return 'just now';
  return ms < 0 ? `in ${durationText(-ms)}` : `${durationText(ms)} ago`;
}
