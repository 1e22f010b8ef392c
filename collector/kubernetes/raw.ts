// Access to the fields of an object whose shape nobody has promised: every reading gives a value of the right type, whatever stands there.
import type { Protocol } from '../../shared/model/fact.ts';
import type { FieldManager, Labels } from './objects.ts';

export type Raw = Readonly<Record<string, unknown>>;

/** What a reader of one kind gets: the object, its usual parts, and somebody to tell what is wrong. */
export interface RawObject {
  readonly value: Raw;
  readonly metadata: Raw;
  readonly spec: Raw;
  readonly status: Raw;
  readonly namespace: string;
  readonly name: string;
  readonly issue: Issue;
  /** Gives a value equal to an earlier one as that earlier one, so that what thousands of objects have in common is held once. */
  readonly share: Share;
}

export type Issue = (reason: string) => void;
export type Share = <Value>(value: Value) => Value;

export const record = (raw: unknown): Raw => (typeof raw === 'object' && raw !== null && !Array.isArray(raw) ? (raw as Raw) : {});
export const list = (raw: unknown): readonly unknown[] => (Array.isArray(raw) ? raw : []);
export const text = (raw: unknown): string => (typeof raw === 'string' ? raw : '');
export const texts = (raw: unknown): string[] => list(raw).filter((each): each is string => typeof each === 'string' && each !== '');
export const labels = (raw: unknown): Labels =>
  Object.fromEntries(Object.entries(record(raw)).filter((entry): entry is [string, string] => typeof entry[1] === 'string'));
export const shown = (raw: unknown): string => (raw === undefined ? 'missing' : (JSON.stringify(raw) ?? String(raw)).slice(0, 60));

/** An optional property: nothing at all when the value is undefined. */
export function given<Name extends string, Value>(name: Name, value: Value | undefined): { readonly [N in Name]?: Value } {
  return (value === undefined ? {} : { [name]: value }) as { readonly [N in Name]?: Value };
}

/** A text, or undefined where there is none. */
export const optionalText = (raw: unknown): string | undefined => text(raw) || undefined;

export const isPort = (raw: unknown): raw is number => Number.isInteger(raw) && (raw as number) >= 1 && (raw as number) <= 65535;

export function requiredPort(raw: unknown, path: string, issue: Issue): number | undefined {
  if (isPort(raw)) return raw;
  issue(`${path} is ${shown(raw)}, not a port from 1 to 65535`);
  return undefined;
}

export const optionalPort = (raw: unknown, path: string, issue: Issue): number | undefined =>
  raw === undefined || raw === null || raw === 0 ? undefined : requiredPort(raw, path, issue);

export function protocolOf(raw: unknown, path: string, issue: Issue): Protocol | undefined {
  switch (raw ?? 'TCP') {
    case 'TCP':
      return 'tcp';
    case 'UDP':
      return 'udp';
    case 'SCTP':
      return 'sctp';
    default:
      issue(`${path} is ${shown(raw)}, not TCP, UDP or SCTP`);
      return undefined;
  }
}

/** Milliseconds since 1970; undefined for what is no time. YAML gives dates as such. */
export function time(raw: unknown): number | undefined {
  const at = raw instanceof Date ? raw.getTime() : Date.parse(text(raw));
  return Number.isNaN(at) ? undefined : at;
}

export function managersOf(metadata: Raw, share: Share): readonly FieldManager[] {
  return list(metadata.managedFields)
    .map(record)
    .filter((each) => text(each.manager) !== '')
    .map((each) => ({ manager: share(text(each.manager)), at: time(each.time) ?? 0 }));
}

/** The status of a condition; undefined where the object does not have it. */
export function conditionStatus(raw: unknown, type: string): string | undefined {
  const found = list(raw)
    .map(record)
    .find((condition) => condition.type === type);
  return found === undefined ? undefined : text(found.status);
}
