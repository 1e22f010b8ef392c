// Reads one enumeration from the kernel's own type information (BTF): the numbers of drop reasons differ between kernels, their names do not.

/** The names of an enumeration by number, or why they cannot be read. */
export type EnumOutcome = { readonly kind: 'names'; readonly names: ReadonlyMap<number, string> } | { readonly kind: 'failed'; readonly reason: string };

const magic = 0xeb9f;
/** Kinds of types and the bytes that follow their first twelve, for each member and in all (https://docs.kernel.org/bpf/btf.html). */
const kinds: readonly (readonly [each: number, once: number] | undefined)[] = [
  undefined,
  [0, 4], // INT
  [0, 0], // PTR
  [0, 12], // ARRAY
  [12, 0], // STRUCT
  [12, 0], // UNION
  [8, 0], // ENUM
  [0, 0], // FWD
  [0, 0], // TYPEDEF
  [0, 0], // VOLATILE
  [0, 0], // CONST
  [0, 0], // RESTRICT
  [0, 0], // FUNC
  [8, 0], // FUNC_PROTO
  [0, 4], // VAR
  [12, 0], // DATASEC
  [0, 0], // FLOAT
  [0, 4], // DECL_TAG
  [0, 0], // TYPE_TAG
  [12, 0], // ENUM64
];
const enumKind = 6;

/** Reads the enumeration `name` from the bytes of /sys/kernel/btf/vmlinux. A kernel without it gives no names; bytes that are no BTF fail. Never throws. */
export function readEnum(btf: Buffer, name: string): EnumOutcome {
  const sections = readHeader(btf);
  if (typeof sections === 'string') return { kind: 'failed', reason: sections };
  const wanted = offsetOf(sections.strings, name);
  if (wanted === undefined) return { kind: 'names', names: new Map() };
  const { types, word } = sections;
  for (let at = 0; at + 12 <= types.length; ) {
    const info = word(types, at + 4);
    const [kind, members] = [(info >>> 24) & 0x1f, info & 0xffff];
    const size = kinds[kind];
    if (size === undefined) return { kind: 'failed', reason: `a type of the unknown kind ${kind} at byte ${at}` };
    const next = at + 12 + size[0] * members + size[1];
    if (kind === enumKind && word(types, at) === wanted && next <= types.length) return { kind: 'names', names: membersOf(sections, at + 12, members) };
    at = next;
  }
  return { kind: 'names', names: new Map() };
}

interface Sections {
  readonly types: Buffer;
  readonly strings: Buffer;
  readonly word: (bytes: Buffer, at: number) => number;
}

function readHeader(btf: Buffer): Sections | string {
  if (btf.length < 24) return `${btf.length} bytes are too few for BTF`;
  const little = btf.readUInt16LE(0) === magic;
  if (!little && btf.readUInt16BE(0) !== magic) return 'not BTF: another magic number';
  const word = little ? (bytes: Buffer, at: number) => bytes.readUInt32LE(at) : (bytes: Buffer, at: number) => bytes.readUInt32BE(at);
  const start = word(btf, 4);
  const section = (offset: number, length: number): Buffer | undefined =>
    start + offset + length > btf.length ? undefined : btf.subarray(start + offset, start + offset + length);
  const [types, strings] = [section(word(btf, 8), word(btf, 12)), section(word(btf, 16), word(btf, 20))];
  return types === undefined || strings === undefined ? 'BTF that is cut off' : { types, strings, word };
}

/** Where a whole string stands; strings are not repeated in the BTF of a kernel. */
function offsetOf(strings: Buffer, name: string): number | undefined {
  const found = strings.indexOf(Buffer.from(`\0${name}\0`, 'latin1'));
  return found < 0 ? undefined : found + 1;
}

function membersOf({ types, strings, word }: Sections, start: number, count: number): ReadonlyMap<number, string> {
  const names = new Map<number, string>();
  for (let i = 0; i < count; i++) {
    const offset = word(types, start + i * 8);
    const end = strings.indexOf(0, offset);
    if (end >= 0) names.set(word(types, start + i * 8 + 4), strings.toString('latin1', offset, end));
  }
  return names;
}

/** Drop reasons as people know them, without the prefix that all have: `NETFILTER_DROP`. */
export function dropReasons(btf: Buffer): EnumOutcome {
  const outcome = readEnum(btf, 'skb_drop_reason');
  if (outcome.kind === 'failed') return outcome;
  return { kind: 'names', names: new Map([...outcome.names].map(([number, name]) => [number, name.replace(/^SKB_(DROP_REASON_)?/, '')])) };
}
