// What is believed of every NodePort on every node, as rows of codes: kept up as nodes are judged, told to whoever listens, and written to the history.
import { createHash } from 'node:crypto';
import type { CollectorState } from '../state/state.ts';
import type { Store } from '../store/store.ts';
import { byColumn, codeOf, columnKey, countCodes, type MatrixColumn, type MatrixRow, packCodes } from './matrix.ts';
import { agentOf, cellsOf } from './views.ts';

/** A row that differs from the one before, or that the columns are others than before. */
export type VerdictEvent =
  | { readonly kind: 'row'; readonly at: number; readonly row: MatrixRow; readonly columns: string }
  | { readonly kind: 'columns'; readonly at: number; readonly columns: string };

export interface VerdictBookOptions {
  readonly state: CollectorState;
  readonly store: Pick<Store, 'appendVerdicts'>;
  /** Whether this collector writes the history of a node; where several share the work, that of its own. Absent: of all. */
  readonly keeps?: (node: string) => boolean;
  /** A write that failed: history has a hole, nothing else is lost. */
  readonly onError: (error: unknown) => void;
  /** Milliseconds that rows wait to be written together. */
  readonly writeAfterMs?: number;
}

interface Kept {
  /** Codes by column, in the order of the node's own expectations. */
  readonly own: ReadonlyMap<string, string>;
  readonly agent: MatrixRow['agent'];
  packed: string;
  /** Whether it was not for us to write it when it changed. */
  isOwed: boolean;
}

/** Milliseconds after an edit of Services before the rows of nodes that are not judged anew are looked through. */
const columnsAfterMs = 250;

/** Milliseconds that one answer may spend on rows that are not up to date. */
const settleMaxMs = 50;

/** `close()` writes what waits. */
export class VerdictBook {
  readonly #options: VerdictBookOptions;
  readonly #rows = new Map<string, Kept>();
  readonly #dirty = new Set<string>();
  readonly #listeners = new Set<(event: VerdictEvent) => void>();
  #unwritten: { readonly at: number; readonly row: MatrixRow; readonly columns: string }[] = [];
  readonly #uses = new Map<string, { readonly column: MatrixColumn; count: number }>();
  /** Those that were written last. Others may have been forgotten with the rows that had them, and are written again when they come back. */
  #writtenColumns = '';
  readonly #unsubscribe: () => void;
  #columns: readonly MatrixColumn[] = [];
  #keys: readonly string[] = [];
  #columnsId = idOf([]);
  #columnsChanged = false;
  #turn: NodeJS.Immediate | undefined;
  #sweep: NodeJS.Timeout | undefined;
  #writer: NodeJS.Timeout | undefined;
  #writing: Promise<void> = Promise.resolve();

  constructor(options: VerdictBookOptions) {
    this.#options = options;
    for (const { name } of options.state.nodes) this.#dirty.add(name);
    this.#unsubscribe = options.state.subscribe((event) => {
      if (event.kind === 'judged' || event.kind === 'node') this.#touch(event.node);
      // Of nodes that are judged elsewhere only what was found is told.
      if ('finding' in event) this.#touch(event.finding.node);
      // What Services own which NodePort has changed: nodes of which nothing else is new are not judged for that.
      if (event.kind === 'objects' && (event.touched.all || event.touched.kinds.has('Service') || event.touched.kinds.has('Node'))) this.#sweepSoon();
    });
    this.#sweepSoon();
  }

  /** Columns in order, their id, and a row for each node by name; of this moment, but for nodes that are being looked at where there are many. */
  matrix(): { readonly columns: readonly MatrixColumn[]; readonly columnsId: string; readonly rows: readonly MatrixRow[] } {
    this.#settle();
    const unmade = packCodes('?'.repeat(this.#columns.length));
    const rows = this.#options.state.nodes.map((view): MatrixRow => {
      const kept = this.#rows.get(view.name);
      return kept === undefined ? { node: view.name, agent: agentOf(view), codes: unmade } : rowOf(view.name, kept);
    });
    return { columns: this.#columns, columnsId: this.#columnsId, rows };
  }

  /** Calls back for every row that changes until the returned function is called. */
  subscribe(listener: (event: VerdictEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** How many NodePorts of a node are in each state. */
  counts(node: string): ReturnType<typeof countCodes> {
    if (this.#dirty.has(node)) this.#update(node);
    this.#reorderAll();
    return countCodes(this.#rows.get(node)?.packed ?? '');
  }

  /** Nodes whose row waits to be made, and rows that wait to be written. */
  get waiting(): number {
    return this.#dirty.size + this.#unwritten.length;
  }

  /** Resolves when everything that is believed by now is in the history. */
  async written(): Promise<void> {
    this.#settle();
    this.#write();
    await this.#writing;
  }

  async close(): Promise<void> {
    this.#unsubscribe();
    clearImmediate(this.#turn);
    clearTimeout(this.#sweep);
    this.#write();
    await this.#writing;
  }

  #touch(node: string): void {
    this.#dirty.add(node);
    this.#turn ??= setImmediate(() => this.#next());
  }

  // One node a turn, as state judges them: answers go on in between.
  #next(): void {
    this.#turn = undefined;
    const [node] = this.#dirty;
    if (node !== undefined) this.#update(node);
    if (this.#dirty.size > 0) this.#turn = setImmediate(() => this.#next());
    else this.#reorderAll();
  }

  // Whoever asks wants the answer of this moment. After an edit of what thousands of nodes serve that would take seconds: the rest follows by events.
  #settle(): void {
    // Who asks does not wait for what an edit of Services has changed.
    if (this.#sweep !== undefined) this.#sweepAll();
    const until = performance.now() + settleMaxMs;
    for (const node of this.#dirty) {
      if (performance.now() > until) break;
      this.#update(node);
    }
    this.#reorderAll();
  }

  #sweepSoon(): void {
    this.#sweep ??= setTimeout(() => this.#sweepAll(), columnsAfterMs);
  }

  #sweepAll(): void {
    clearTimeout(this.#sweep);
    this.#sweep = undefined;
    const known = new Set(this.#options.state.nodes.map(({ name }) => name));
    for (const node of this.#rows.keys()) if (!known.has(node)) this.#forget(node);
    for (const node of known) this.#touch(node);
  }

  #forget(node: string): void {
    const kept = this.#rows.get(node);
    if (kept !== undefined) for (const key of kept.own.keys()) this.#release(key);
    this.#rows.delete(node);
    this.#dirty.delete(node);
  }

  #update(node: string): void {
    this.#dirty.delete(node);
    const view = this.#options.state.node(node);
    if (view === undefined) return this.#forget(node);
    const before = this.#rows.get(node);
    const own = new Map<string, string>();
    for (const { port, protocol, service, cell } of cellsOf(view)) {
      const column: MatrixColumn = { port, protocol, family: cell.family, service };
      const key = columnKey(column);
      if (before?.own.has(key) !== true && !own.has(key)) this.#use(key, column);
      own.set(key, codeOf(cell.state, cell.symptom));
    }
    for (const key of before?.own.keys() ?? []) if (!own.has(key)) this.#release(key);
    const kept: Kept = { own, agent: agentOf(view), packed: '', isOwed: before?.isOwed ?? false };
    this.#rows.set(node, kept);
    // While columns come and go all rows are about to be put in order anew.
    if (this.#columnsChanged) return;
    kept.packed = this.#packed(kept);
    if (before?.packed !== kept.packed || before.agent !== kept.agent) this.#tellRow(node, kept);
    else if (kept.isOwed) this.#note(node, kept, Date.now());
  }

  #use(key: string, column: MatrixColumn): void {
    const known = this.#uses.get(key);
    if (known !== undefined) known.count++;
    else {
      this.#uses.set(key, { column, count: 1 });
      this.#columnsChanged = true;
    }
  }

  #release(key: string): void {
    const known = this.#uses.get(key);
    if (known === undefined || --known.count > 0) return;
    this.#uses.delete(key);
    this.#columnsChanged = true;
  }

  #packed({ own }: Kept): string {
    return packCodes(this.#keys.map((key) => own.get(key) ?? '-').join(''));
  }

  #reorderAll(): void {
    if (!this.#columnsChanged) return;
    this.#columnsChanged = false;
    // Rows that wait refer to the columns of before.
    this.#write();
    this.#columns = [...this.#uses.values()].map(({ column }) => column).sort(byColumn);
    this.#keys = this.#columns.map(columnKey);
    this.#columnsId = idOf(this.#columns);
    this.#tell({ kind: 'columns', at: Date.now(), columns: this.#columnsId });
    for (const [node, kept] of this.#rows) {
      kept.packed = this.#packed(kept);
      this.#note(node, kept, Date.now());
    }
  }

  #tellRow(node: string, kept: Kept): void {
    const at = Date.now();
    this.#note(node, kept, at);
    this.#tell({ kind: 'row', at, row: rowOf(node, kept), columns: this.#columnsId });
  }

  #note(node: string, kept: Kept, at: number): void {
    kept.isOwed = this.#options.keeps?.(node) === false;
    if (kept.isOwed) return;
    this.#unwritten.push({ at, row: rowOf(node, kept), columns: this.#columnsId });
    this.#writer ??= setTimeout(() => this.#write(), this.#options.writeAfterMs ?? 1_000);
  }

  #tell(event: VerdictEvent): void {
    for (const listener of [...this.#listeners]) listener(event);
  }

  #write(): void {
    clearTimeout(this.#writer);
    this.#writer = undefined;
    if (this.#unwritten.length === 0) return;
    const rows = this.#unwritten.map(({ at, row, columns }) => ({ ...row, at, columns }));
    this.#unwritten = [];
    const isNew = this.#writtenColumns !== this.#columnsId;
    this.#writtenColumns = this.#columnsId;
    const columns = isNew ? [{ id: this.#columnsId, body: JSON.stringify(this.#columns) }] : [];
    this.#writing = this.#writing.then(() => this.#options.store.appendVerdicts(rows, columns)).catch(this.#options.onError);
  }
}

const rowOf = (node: string, { agent, packed }: Kept): MatrixRow => ({ node, agent, codes: packed });
const idOf = (columns: readonly MatrixColumn[]): string => createHash('sha256').update(columns.map(columnKey).join('\n')).digest('hex').slice(0, 16);
