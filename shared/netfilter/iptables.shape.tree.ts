// Finds what is known of a text's shape: texts that differ only in some of their words. A tree whose branches are literal bytes and holes, so that one pass over
// the bytes recognises the shape and notes where the words in its holes stand.
import { apostrophe, backslash, quote, space } from './iptables.bytes.ts';

/** Shapes by their literal parts. A hole takes one plain word, or what stands in double quotes. */
export class ShapeTree<Shape> {
  readonly #root = new Node<Shape>(Buffer.alloc(0));
  /** Start and end of the words in the holes of the shape that was found last: without their quotes. */
  readonly holes = new Int32Array(2 * holesMax);

  /** The shape of the text between two offsets; undefined for one that is not known. */
  find(bytes: Buffer, start: number, stop: number): Shape | undefined {
    let node = this.#root;
    let at = start;
    let count = 0;
    // Where a literal could also be the word in a hole, the literal is tried first.
    let other: { readonly hole: Node<Shape>; readonly at: number; readonly count: number } | undefined;
    while (true) {
      const end = at + node.literal.length;
      let hole: Node<Shape> | undefined;
      if (end <= stop && isAt(bytes, at, node.literal)) {
        at = end;
        if (at === stop) return node.shape;
        const next = node.children.get(bytes[at] as number);
        if (next !== undefined) {
          if (node.hole !== undefined) other = { hole: node.hole, at, count };
          node = next;
          continue;
        }
        hole = node.hole;
      }
      if (hole === undefined) {
        if (other === undefined) return undefined;
        ({ hole, at, count } = other);
        other = undefined;
      }
      const after = wordEnd(bytes, at, stop);
      if (after <= at || count === holesMax) return undefined;
      const quotes = bytes[at] === quote ? 1 : 0;
      this.holes[2 * count] = at + quotes;
      this.holes[2 * count + 1] = after - quotes;
      count++;
      at = after;
      node = hole;
    }
  }

  /** Adds a shape by the literals before, between and behind its holes. A shape of the same literals is replaced. */
  add(literals: readonly Buffer[], shape: Shape): void {
    let node = this.#root;
    for (const [index, literal] of literals.entries()) {
      if (index > 0) node = node.hole ??= new Node(Buffer.alloc(0));
      node = extended(node, literal);
    }
    node.shape = shape;
  }
}

const holesMax = 16;

class Node<Shape> {
  literal: Buffer;
  /** What is known of a text that ends here. */
  shape: Shape | undefined;
  /** What follows a word. */
  hole: Node<Shape> | undefined;
  /** What follows, by the first byte of its literal. */
  children = new Map<number, Node<Shape>>();

  constructor(literal: Buffer) {
    this.literal = literal;
  }
}

/** The node that stands behind a literal, made where there is none. */
function extended<Shape>(node: Node<Shape>, literal: Buffer): Node<Shape> {
  if (literal.length === 0) return node;
  const first = literal[0] as number;
  const child = node.children.get(first);
  if (child === undefined) {
    const added = new Node<Shape>(Buffer.from(literal));
    node.children.set(first, added);
    return added;
  }
  let common = 0;
  while (common < literal.length && common < child.literal.length && literal[common] === child.literal[common]) common++;
  if (common === child.literal.length) return extended(child, literal.subarray(common));
  const before = new Node<Shape>(child.literal.subarray(0, common));
  child.literal = child.literal.subarray(common);
  before.children.set(child.literal[0] as number, child);
  node.children.set(first, before);
  return extended(before, literal.subarray(common));
}

function isAt(bytes: Buffer, at: number, literal: Buffer): boolean {
  for (let i = 0; i < literal.length; i++) if (bytes[at + i] !== literal[i]) return false;
  return true;
}

/** The end of a plain word, or behind the closing quote of a word in double quotes; -1 for words with quotes inside, escapes or single quotes. */
export function wordEnd(bytes: Buffer, start: number, stop: number): number {
  if (bytes[start] === quote) return quotedEnd(bytes, start, stop);
  let at = start;
  for (; at < stop; at++) {
    const code = bytes[at] as number;
    if (code === space) return at;
    if (code < space || code === quote || code === apostrophe || code === backslash) return -1;
  }
  return at;
}

function quotedEnd(bytes: Buffer, start: number, stop: number): number {
  for (let at = start + 1; at < stop; at++) {
    const code = bytes[at];
    if (code === backslash) return -1;
    if (code === quote) return at + 1 === stop || bytes[at + 1] === space ? at + 1 : -1;
  }
  return -1;
}
