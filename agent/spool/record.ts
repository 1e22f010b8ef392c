// The records of the spool as lines: a checksum, a space, JSON. A line that is damaged costs itself and no other. Pure.
import { crc32 } from 'node:zlib';
import type { SequencedChange } from '../../shared/model/change.ts';

export type SpoolRecord =
  /** A run of the agent begins to write; milliseconds since 1970. */
  | { readonly kind: 'run'; readonly stream: string; readonly startedAt: number }
  /** The run was alive, and everything before is in the spool. */
  | { readonly kind: 'alive'; readonly stream: string; readonly at: number }
  | { readonly kind: 'change'; readonly change: SequencedChange }
  /** First in a file that was made of others by folding: those up to that number are replaced by it. */
  | { readonly kind: 'replaces'; readonly from: number; readonly to: number };

export interface ReadRecords {
  readonly records: readonly SpoolRecord[];
  /** Lines that are no records, but for an unfinished last one. */
  readonly damaged: number;
  /** The text ends within a line, as a crash leaves it. */
  readonly isTorn: boolean;
}

export function encodeRecord(record: SpoolRecord): string {
  const json = JSON.stringify(record);
  return `${checksum(json)} ${json}\n`;
}

/** Reads a file of the spool. Every line is a record or counted as damaged. */
export function decodeRecords(content: Buffer): ReadRecords {
  const records: SpoolRecord[] = [];
  let damaged = 0;
  let start = 0;
  for (let end = content.indexOf(lineFeed); end >= 0; start = end + 1, end = content.indexOf(lineFeed, start)) {
    const record = decodeLine(content.subarray(start, end));
    if (record === undefined) damaged++;
    else records.push(record);
  }
  return { records, damaged, isTorn: start < content.length };
}

const lineFeed = 10;
const checksum = (json: string | Buffer): string => crc32(json).toString(16).padStart(8, '0');

function decodeLine(line: Buffer): SpoolRecord | undefined {
  const json = line.subarray(9);
  if (line[8] !== 32 || line.toString('latin1', 0, 8) !== checksum(json)) return undefined;
  try {
    const value = JSON.parse(json.toString('utf8')) as SpoolRecord;
    return isRecord(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function isRecord(value: SpoolRecord): boolean {
  switch (value?.kind) {
    case 'run':
      return typeof value.stream === 'string' && Number.isFinite(value.startedAt);
    case 'alive':
      return typeof value.stream === 'string' && Number.isFinite(value.at);
    case 'change':
      return typeof value.change?.stream === 'string' && Number.isSafeInteger(value.change.seq);
    case 'replaces':
      return Number.isSafeInteger(value.from) && Number.isSafeInteger(value.to);
    default:
      return false;
  }
}
