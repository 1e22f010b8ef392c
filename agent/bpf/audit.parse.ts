// Decodes what `portreeve-bpf audit` prints, and puts the records of one event together: which table was changed, and by whom.
import { type BpfEvent, readBpfLine } from './events.parse.ts';

/** A change of rules as the kernel's audit records it. */
export interface AuditedChange {
  readonly kind: 'audited';
  /** Milliseconds since 1970. */
  readonly at: number;
  /** `xt_replace`, `nft_register_rule` … */
  readonly operation: string;
  readonly table: string;
  /** As nft names it: `ip`, `ip6`, `inet` …; empty for one that is not known. */
  readonly family: string;
  readonly pid: number;
  readonly comm: string;
  /** From the records that follow, where they came. */
  readonly parentPid?: number;
  readonly uid?: number;
  readonly loginUid?: number;
  readonly argv?: readonly string[];
}

export interface AuditRecord {
  readonly kind: 'record';
  readonly type: number;
  readonly serial: number;
  readonly at: number;
  readonly fields: ReadonlyMap<string, string>;
}

export type AuditLine = AuditRecord | { readonly kind: 'audit-hello'; readonly enabled: boolean } | BpfEvent;

/** Whether a table of iptables-legacy and its like was replaced. That one was registered comes of looking at it. */
export const replacesTable = ({ operation }: AuditedChange): boolean => operation === 'xt_replace';

/** Record types (linux/audit.h). */
const syscallType = 1300;
const netfilterType = 1325;
const titleType = 1327;

/** Decodes one line. Never throws. */
export function readAuditLine(line: string): AuditLine {
  if (!/^\{"ev":"audit/.test(line)) return readBpfLine(line);
  try {
    const event = JSON.parse(line) as Record<string, unknown>;
    if (event.ev === 'audit-hello') return { kind: 'audit-hello', enabled: event.enabled === true };
    const { type, serial, at, text } = event;
    if (typeof type !== 'number' || typeof serial !== 'number' || typeof at !== 'number' || typeof text !== 'string')
      return { kind: 'garbage', reason: 'a member is missing' };
    return { kind: 'record', type, serial, at, fields: readFields(text) };
  } catch (error) {
    return { kind: 'garbage', reason: error instanceof Error ? error.message : String(error) };
  }
}

/** Adds a record to those of its event, which the caller keeps by serial; gives the event when its last record has come. */
export function addRecord(known: AuditedChange | undefined, record: AuditRecord): { readonly change: AuditedChange | undefined; readonly complete: boolean } {
  if (record.type === netfilterType) return { change: changeOf(known, record), complete: false };
  if (known === undefined) return { change: undefined, complete: false };
  if (record.type === syscallType) return { change: { ...known, ...callerOf(record.fields) }, complete: false };
  const title = record.type === titleType ? record.fields.get('proctitle') : undefined;
  return { change: title === undefined ? known : { ...known, argv: title.split('\0').filter((word) => word !== '') }, complete: true };
}

// Of several tables in one event the last counts: who did it is the same.
function changeOf(known: AuditedChange | undefined, { at, fields }: AuditRecord): AuditedChange {
  return {
    ...known,
    kind: 'audited',
    at,
    operation: fields.get('op') ?? 'xt_replace',
    table: (fields.get('table') ?? '').replace(/:\d+$/, ''),
    family: families[fields.get('family') ?? ''] ?? '',
    pid: Number(fields.get('pid') ?? 0),
    comm: fields.get('comm') ?? '',
  };
}

/** NFPROTO_* (linux/netfilter.h). */
const families: Readonly<Record<string, string>> = { '1': 'inet', '2': 'ip', '3': 'arp', '5': 'netdev', '7': 'bridge', '10': 'ip6' };
/** Of a process that no login started. */
const unset = 4_294_967_295;

function callerOf(fields: ReadonlyMap<string, string>): Partial<AuditedChange> {
  const number = (name: string): number | undefined => (/^\d+$/.test(fields.get(name) ?? '') ? Number(fields.get(name)) : undefined);
  const [parentPid, uid, loginUid] = [number('ppid'), number('uid'), number('auid')];
  return {
    ...(parentPid === undefined ? {} : { parentPid }),
    ...(uid === undefined ? {} : { uid }),
    ...(loginUid === undefined || loginUid === unset ? {} : { loginUid }),
  };
}

/** `name=word`, `name="text"`, or for text with blanks and the like `name=HEX` (audit_log_n_untrustedstring of the kernel). */
function readFields(text: string): ReadonlyMap<string, string> {
  const fields = new Map<string, string>();
  for (const [, name = '', quoted, plain = ''] of text.matchAll(/([\w-]+)=(?:"([^"]*)"|(\S*))/g)) {
    const encoded = untrusted.has(name) && plain.length > 0 && /^(?:[0-9A-F]{2})+$/.test(plain);
    fields.set(name, quoted ?? (encoded ? Buffer.from(plain, 'hex').toString('utf8') : plain));
  }
  return fields;
}

const untrusted: ReadonlySet<string> = new Set(['comm', 'exe', 'proctitle', 'table']);
