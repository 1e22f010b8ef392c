// Text of a manifest file into its single objects: JSON or YAML, Lists opened, several documents in one file.
import { isMap, LineCounter, parseAllDocuments } from 'yaml';

/** A file by its name (as issues shall name it) and its text. */
export interface ObjectFile {
  readonly name: string;
  readonly text: string;
}

/** One object of a file: its kind, its value, and the line where it begins, where the syntax tells. */
export interface Document {
  readonly kind: string;
  readonly value: unknown;
  readonly line?: number;
}

export interface DocumentIssue {
  readonly line?: number;
  readonly reason: string;
}

/** Reads a file's objects. Every document is an object, a List of objects, empty, or an issue; text after an error of JSON syntax is lost, of YAML it is not. */
export function readDocuments(file: ObjectFile): { readonly documents: readonly Document[]; readonly issues: readonly DocumentIssue[] } {
  if (file.text.trim() === '') return { documents: [], issues: [{ reason: 'is empty' }] };
  return /^\s*[[{]/.test(file.text) && !/\.ya?ml$/i.test(file.name) ? readJson(file.text) : readYaml(file.text);
}

type Read = { readonly documents: Document[]; readonly issues: DocumentIssue[] };

function readJson(source: string): Read {
  try {
    return opened(JSON.parse(source));
  } catch (error) {
    const { message } = error as Error;
    const position = /position (\d+)/.exec(message)?.[1];
    const cut = /unexpected end|unterminated/i.test(message) ? source.length : undefined;
    const offset = position === undefined ? cut : Number(position);
    const at = offset === undefined ? {} : { line: source.slice(0, offset).split('\n').length };
    return { documents: [], issues: [{ ...at, reason: `is not JSON: ${message}` }] };
  }
}

function readYaml(source: string): Read {
  const lines = new LineCounter();
  const result: Read = { documents: [], issues: [] };
  for (const document of parseAllDocuments(source, { lineCounter: lines, uniqueKeys: true })) {
    const [error] = document.errors ?? [];
    if (error !== undefined) {
      result.issues.push({ line: lines.linePos(error.pos[0]).line, reason: `is not YAML: ${error.message.split('\n')[0] ?? ''}` });
      continue;
    }
    const start = isMap(document.contents) ? document.contents.range?.[0] : undefined;
    const { documents, issues } = valueOf(() => document.toJS({ maxAliasCount: 100 }), start === undefined ? undefined : lines.linePos(start).line);
    result.documents.push(...documents);
    result.issues.push(...issues);
  }
  return result;
}

/** An alias bomb is found only when the document becomes values. */
function valueOf(read: () => unknown, line: number | undefined): Read {
  const at = line === undefined ? {} : { line };
  try {
    const value = read();
    return value === null || value === undefined ? { documents: [], issues: [] } : opened(value, line);
  } catch (error) {
    return { documents: [], issues: [{ ...at, reason: `is not YAML: ${(error as Error).message}` }] };
  }
}

function opened(value: unknown, line?: number): Read {
  const at = line === undefined ? {} : { line };
  // Lists of something else (`ip -j addr` of a capture in the same directory) and objects without any mark of Kubernetes are none of our business.
  if (Array.isArray(value)) return { documents: [], issues: [] };
  if (typeof value !== 'object' || value === null) return { documents: [], issues: [{ ...at, reason: 'holds no Kubernetes object' }] };
  const { kind, apiVersion, metadata, items } = value as { kind?: unknown; apiVersion?: unknown; metadata?: unknown; items?: unknown };
  if (typeof kind !== 'string') return { documents: [], issues: apiVersion === undefined && metadata === undefined ? [] : [{ ...at, reason: 'has no kind' }] };
  if (!kind.endsWith('List')) return { documents: [{ kind, value, ...at }], issues: [] };
  // The items of a ServiceList do not repeat their kind.
  const itemKind = kind.slice(0, -'List'.length);
  const documents = (Array.isArray(items) ? items : []).map((item: unknown) => ({ kind: kindOf(item) ?? itemKind, value: item, ...at }));
  return { documents, issues: [] };
}

function kindOf(value: unknown): string | undefined {
  const kind = typeof value === 'object' && value !== null ? (value as { kind?: unknown }).kind : undefined;
  return typeof kind === 'string' ? kind : undefined;
}
