// Reads the lines of `nft -a monitor` and of portreeve-watch: the objects that a transaction changed, and the line that closes it with its process.

/** A chain, set or map by the kernel's names. */
export interface Place {
  readonly family: string;
  readonly table: string;
  readonly object: string;
}

export type NftLine =
  /** A rule came or went. A rule that is replaced keeps its handle. `text` is in nft's words, without what extensions of iptables add; absent where it is not told. */
  | { readonly kind: 'rule'; readonly op: 'add' | 'delete'; readonly place: Place; readonly handle?: number; readonly text?: string }
  /** So many rules more of a chain came and went. */
  | { readonly kind: 'rules'; readonly place: Place; readonly added: number; readonly deleted: number }
  /** So many rules were deleted and the same ones added at the end, in the same order: a chain that has no others is what it was. */
  | { readonly kind: 'same'; readonly place: Place; readonly rules: number }
  /** `create`: it was not there before. `add`: it is new, has changed (a policy), or has a new name. */
  | { readonly kind: 'chain'; readonly op: 'add' | 'create' | 'delete'; readonly place: Place }
  | { readonly kind: 'set'; readonly op: 'add' | 'delete'; readonly place: Place; readonly map: boolean }
  | { readonly kind: 'elements'; readonly place: Place }
  | { readonly kind: 'table'; readonly op: 'add' | 'delete'; readonly family: string; readonly table: string }
  /** Objects that are not named. */
  | { readonly kind: 'anything' }
  /** End of a transaction. `pid` is that of the initial pid namespace, `comm` is cut to 15 characters. */
  | { readonly kind: 'generation'; readonly generation: number; readonly pid: number; readonly comm: string }
  /** Messages were lost: what has changed is not known. */
  | { readonly kind: 'lost'; readonly reason: string }
  /** portreeve-watch has subscribed to everything; with `lock`, to the lock of iptables-legacy too. */
  | { readonly kind: 'ready'; readonly lock: boolean }
  /** Everything that had happened when it was asked has been told. */
  | { readonly kind: 'synced' }
  /** Somebody has closed the lock of iptables-legacy. */
  | { readonly kind: 'lock' }
  /** Packet traces, empty lines, further lines of an object that spans several, objects that decide nothing. */
  | { readonly kind: 'other' };

const rule = /^(add|insert|replace|delete|destroy) rule (\S+) (\S+) (\S+)(?: (.*))?$/;
const chain = /^(add|create|delete|destroy|flush) chain (\S+) (\S+) (\S+)/;
const set = /^(add|create|delete|destroy|flush) (set|map) (\S+) (\S+) (\S+)/;
const element = /^(?:add|create|delete|destroy|reset) element (\S+) (\S+) (\S+)/;
const table = /^(add|create|delete|destroy|flush) table (\S+) (\S+)/;
const same = /^same rules (\S+) (\S+) (\S+) (\d+)$/;
const counted = /^(rules|elements) (\S+) (\S+) (\S+) \+(\d+) -(\d+)$/;
const generation = /^# new generation (\d+) by process (\d+) \((.*)\)$/;
const lost = /^#? ?(?:ERROR|Error)|netlink: Error|ENOBUFS|No buffer space/;

export function readNftLine(line: string): NftLine {
  const text = line.trimEnd();
  // Most lines are of rules.
  return readRule(text) ?? (text.startsWith('#') ? readComment(text) : readObject(text)) ?? (lost.test(text) ? { kind: 'lost', reason: text } : other);
}

const other: NftLine = { kind: 'other' };

function readRule(text: string): NftLine | undefined {
  const found = rule.exec(text);
  if (found === null) return undefined;
  const place = placeOf(found[2], found[3], found[4]);
  const words = found[5] ?? '';
  if (found[1] === 'delete' || found[1] === 'destroy') return { kind: 'rule', op: 'delete', place, ...handleOf(/^handle (\d+)$/.exec(words)?.[1]) };
  // nft puts its own handle last as a comment; what it puts first is the rule's before or after which this one stands. portreeve-watch puts its own first.
  const own = / ?# handle (\d+)$/.exec(words);
  const first = /^handle (\d+) ?/.exec(words);
  const said = words.slice(first?.[0].length ?? 0, own?.index).trim();
  return { kind: 'rule', op: 'add', place, ...handleOf(own?.[1] ?? first?.[1]), ...(said === '' ? {} : { text: said }) };
}

const handleOf = (text: string | undefined): { readonly handle?: number } => (text === undefined ? {} : { handle: Number(text) });

function readComment(text: string): NftLine | undefined {
  const closed = generation.exec(text);
  if (closed !== null) return { kind: 'generation', generation: Number(closed[1]), pid: Number(closed[2]), comm: closed[3] as string };
  if (text === '# lock') return { kind: 'lock' };
  if (text === '# synced') return { kind: 'synced' };
  const ready = /^# ready( with lock)?$/.exec(text);
  return ready === null ? undefined : { kind: 'ready', lock: ready[1] !== undefined };
}

function readObject(text: string): NftLine | undefined {
  if (text === 'anything') return { kind: 'anything' };
  const again = same.exec(text);
  if (again !== null) return { kind: 'same', place: placeOf(again[1], again[2], again[3]), rules: Number(again[4]) };
  const many = counted.exec(text);
  if (many !== null) return readCounted(many);
  const aboutChain = chain.exec(text);
  if (aboutChain !== null) return { kind: 'chain', op: opOf(aboutChain[1]), place: placeOf(aboutChain[2], aboutChain[3], aboutChain[4]) };
  const aboutSet = set.exec(text);
  if (aboutSet !== null) {
    const place = placeOf(aboutSet[3], aboutSet[4], aboutSet[5]);
    return isAnonymous(place) ? other : { kind: 'set', op: gone(aboutSet[1]) ? 'delete' : 'add', place, map: aboutSet[2] === 'map' };
  }
  const aboutElement = element.exec(text);
  if (aboutElement !== null) return elements(placeOf(aboutElement[1], aboutElement[2], aboutElement[3]));
  const whole = table.exec(text);
  return whole === null ? undefined : { kind: 'table', op: gone(whole[1]) ? 'delete' : 'add', family: whole[2] as string, table: whole[3] as string };
}

function readCounted(found: RegExpExecArray): NftLine {
  const place = placeOf(found[2], found[3], found[4]);
  return found[1] === 'elements' ? elements(place) : { kind: 'rules', place, added: Number(found[5]), deleted: Number(found[6]) };
}

const elements = (place: Place): NftLine => (isAnonymous(place) ? other : { kind: 'elements', place });

/** Sets within a rule have names of the kernel's making; the rule is told of by itself. */
const isAnonymous = ({ object }: Place): boolean => /^__(?:set|map)\d+$/.test(object);

const placeOf = (family = '', name = '', object = ''): Place => ({ family, table: name, object });
const gone = (word: string | undefined): boolean => word === 'delete' || word === 'destroy';
const opOf = (word: string | undefined): 'add' | 'create' | 'delete' => (gone(word) ? 'delete' : word === 'create' ? 'create' : 'add');
