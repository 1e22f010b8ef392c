// What ../iptables.skim.ts does, as machine code: written in AssemblyScript, which has its own types (i32, usize) and reads memory by its address.
// A fresh process has it compiled in a millisecond, where the other needs twenty before it is fast; and it compares sixteen bytes at a time.
import * as fields from './layout.ts';

/**
 * Skims over lines from where the scan stands, until none fits or the given number of them is done. All that it reads and writes is in the memory, where
 * `../iptables.machine.ts` has put it: 64 bytes behind the text may be read.
 */
export function skim(linesMax: i32): void {
  const last = min(get(fields.lineCount) + linesMax, get(fields.lineCapacity));
  skimRules(last);
  skimDeclarations(last);
}

/** Looks up the chains that rules jump to. False if most are not found: they stay, for ../iptables.look.ts to say what they are. */
function hasRoomForJumps(): bool {
  findJumps();
  return get(fields.jumpCount) <= get(fields.jumpCapacity) >> 1;
}

function findJumps(): void {
  const length = get(fields.jumpCount);
  guessJumps(length);
  let left = 0;
  for (let i = 0; i < length; i++) if (!isGuessed(i) && find(i) < 0) moveJump(i, left++);
  set(fields.jumpCount, left);
}

function isGuessed(jump: i32): bool {
  const id = number(at(fields.jumpFound), jump);
  return id >= 0 && isJumpTo(id, jump);
}

function isJumpTo(id: i32, jump: i32): bool {
  if (tableOf(id) !== number(at(fields.jumpTables), jump)) return false;
  return isName(id, number(at(fields.jumpStarts), jump), number(at(fields.jumpEnds), jump));
}

/** The chain that a rule jumps to; -1 if there is none. */
function find(jump: i32): i32 {
  const hash = number(at(fields.jumpHashes), jump);
  const slots = at(fields.slots);
  const lastSlot = get(fields.slotMask);
  let slot = hash & lastSlot;
  while (true) {
    const entry = number(slots, slot);
    const id = (entry & idBits) - 1;
    if (id < 0 || (((entry ^ hash) & tagBits) === 0 && isJumpTo(id, jump))) return id;
    slot = (slot + 1) & lastSlot;
  }
}

function moveJump(from: i32, to: i32): void {
  copy(at(fields.jumpLines), from, to);
  copy(at(fields.jumpTables), from, to);
  copy(at(fields.jumpStarts), from, to);
  copy(at(fields.jumpEnds), from, to);
  copy(at(fields.jumpHashes), from, to);
}

function copy(array: usize, from: i32, to: i32): void {
  put(array, to, number(array, from));
}

/** The first chain for each name that has the hash's tag. Nothing waits for what was read before: the processor fetches for many at once. */
function guessJumps(length: i32): void {
  const hashes = at(fields.jumpHashes);
  const found = at(fields.jumpFound);
  const slots = at(fields.slots);
  const lastSlot = get(fields.slotMask);
  for (let i = 0; i < length; i++) {
    const hash = number(hashes, i);
    let slot = hash & lastSlot;
    let entry = number(slots, slot);
    while (entry !== 0 && ((entry ^ hash) & tagBits) !== 0) {
      slot = (slot + 1) & lastSlot;
      entry = number(slots, slot);
    }
    put(found, i, (entry & idBits) - 1);
  }
  let sum = 0;
  for (let i = 0; i < length; i++) {
    const id = number(found, i);
    if (id >= 0) sum ^= load<i32>(at(fields.text) + nameStart(id));
  }
  set(fields.touched, sum);
}

function skimRules(last: i32): void {
  const text = at(fields.text);
  const until = get(fields.until);
  const table = get(fields.table);
  const starts = at(fields.lineStarts);
  const kinds = at(fields.lineKinds);
  const chains = at(fields.lineChains);
  const names = get(fields.nameCount);
  const first = get(fields.lineCount);
  let place = get(fields.at);
  let id = get(fields.lastId);
  let line = first;
  if (id < 0) return;
  for (; place < until && line < last; line++) {
    if (get(fields.jumpCount) === get(fields.jumpCapacity) && !hasRoomForJumps()) break;
    const command = load<u8>(text + place) === bracket ? afterCounter(text, place, until) : place;
    if ((load<i32>(text + command) & 0xffffff) !== appendCommand) break;
    const start = command + 3;
    let chain = id;
    if (!isWord(chain, start)) {
      chain++;
      if (chain >= names || tableOf(chain) !== table || !isWord(chain, start)) break;
    }
    const end = fit(start + nameEnd(chain) - nameStart(chain));
    if (end < 0) break;
    put(starts, line, place);
    store<u8>(kinds + line, ruleKind);
    put(chains, line, chain);
    if (get(fields.wordEnd) > 0) noteJump(line, table);
    id = chain;
    place = end;
  }
  set(fields.ruleCount, get(fields.ruleCount) + line - first);
  set(fields.lineCount, line);
  set(fields.at, place);
  set(fields.lastId, id);
}

function skimDeclarations(last: i32): void {
  const until = get(fields.until);
  const starts = at(fields.lineStarts);
  const kinds = at(fields.lineKinds);
  const first = get(fields.lineCount);
  let place = get(fields.at);
  let line = first;
  if (get(fields.implicit) !== 0) return;
  for (; place < until && line < last; line++) {
    const end = fits(get(fields.declaration), place);
    if (end < 0 || get(fields.wordEnd) - get(fields.wordStart) <= builtinNameMax || !addName(line + 1)) break;
    put(starts, line, place);
    store<u8>(kinds + line, chainKind);
    place = end;
  }
  if (line > first) set(fields.lastId, -1);
  set(fields.lineCount, line);
  set(fields.at, place);
}

/** Where the rule begins behind `[12:345] `; what stands at that place is no command if there is no such thing. */
function afterCounter(text: usize, start: i32, until: i32): i32 {
  let place = start + 1;
  while (place < until && isOfCounter(load<u8>(text + place))) place++;
  return load<u16>(text + place) === counterEnd ? place + 2 : start;
}

function isOfCounter(byte: u8): bool {
  return (byte >= 48 && byte <= 57) || byte === 58;
}

function noteJump(line: i32, table: i32): void {
  const place = get(fields.jumpCount);
  put(at(fields.jumpLines), place, line);
  put(at(fields.jumpTables), place, table);
  put(at(fields.jumpStarts), place, get(fields.wordStart));
  put(at(fields.jumpEnds), place, get(fields.wordEnd));
  put(at(fields.jumpHashes), place, inTable(get(fields.wordHash), table));
  set(fields.jumpCount, place + 1);
}

/** As `Stencils.fit`. */
function fit(start: i32): i32 {
  const next = at(fields.next);
  const place = get(fields.lastStencil) * 2;
  for (let i = 0; i < 2; i++) {
    const stencil = number(next, place + i);
    const end = stencil < 0 ? -1 : fits(stencil, start);
    if (end < 0) continue;
    put(next, place + i, number(next, place));
    put(next, place, stencil);
    set(fields.lastStencil, stencil);
    set(fields.fitted, get(fields.fitted) + 1);
    return end;
  }
  return -1;
}

/** Where a line ends (behind the newline) that a stencil fits; -1 otherwise. The last word that a hole for chains takes is put into `word…`. */
function fits(stencil: i32, start: i32): i32 {
  const text = at(fields.text);
  let code = at(fields.code) + (number(at(fields.offsets), stencil) << 2);
  let place = text + start;
  set(fields.wordEnd, 0);
  while (true) {
    let quads = load<i32>(code);
    code += 4;
    for (; quads >= 4; quads -= 4, code += 16, place += 16) if (v128.any_true(v128.xor(v128.load(place), v128.load(code)))) return -1;
    for (; quads > 0; quads--, code += 4, place += 4) if (load<i32>(place) !== load<i32>(code)) return -1;
    if ((load<i32>(place) & load<i32>(code)) !== load<i32>(code, 4)) return -1;
    place += load<i32>(code, 8);
    const hole = load<i32>(code, 12);
    code += 16;
    if (hole === noHole) return <i32>(place - text);
    const begin = place;
    const least = hole === quotedHole ? i8x16.splat(blank) : i8x16.splat(printable);
    let found = endsIn(v128.load(place), least);
    if (hole !== quotedHole && ((found & 1) !== 0 || beginsOddly(load<u8>(place)))) return -1;
    while (found === 0) {
      place += 16;
      found = endsIn(v128.load(place), least);
    }
    place += ctz(found);
    if (hole === chainHole) noteWord(text, begin, place);
  }
}

/** For each of 16 bytes a bit: whether it ends what a hole takes, as a quote and a backslash do. */
function endsIn(bytes: v128, least: v128): i32 {
  const quotes = v128.or(i8x16.eq(bytes, i8x16.splat(34)), i8x16.eq(bytes, i8x16.splat(92)));
  return i8x16.bitmask(v128.or(i8x16.lt_u(bytes, least), quotes));
}

/** For the first byte of a word: whether it may be more than a plain value. */
function beginsOddly(byte: u8): bool {
  return byte === 45 || byte === 39 || byte === bracket;
}

function noteWord(text: usize, begin: usize, end: usize): void {
  let hash = 0;
  let place = begin;
  for (; place + 4 <= end; place += 4) hash = mixed(hash, load<i32>(place));
  set(fields.wordStart, <i32>(begin - text));
  set(fields.wordEnd, <i32>(end - text));
  set(fields.wordHash, mixed(hash, load<i32>(place) & ((1 << ((<i32>(end - place)) << 3)) - 1)));
}

/** Adds the chain whose name was read last; false if there is no room, or the table has it already. */
function addName(line: i32): bool {
  const id = get(fields.nameCount);
  if (id === get(fields.nameCapacity)) return false;
  const start = get(fields.wordStart);
  const end = get(fields.wordEnd);
  const table = get(fields.table);
  const hash = inTable(get(fields.wordHash), table);
  const slots = at(fields.slots);
  const lastSlot = get(fields.slotMask);
  let slot = hash & lastSlot;
  for (let entry = number(slots, slot); entry !== 0; entry = number(slots, slot)) {
    const other = (entry & idBits) - 1;
    if (((entry ^ hash) & tagBits) === 0 && tableOf(other) === table && isName(other, start, end)) return false;
    slot = (slot + 1) & lastSlot;
  }
  const record = at(fields.records) + (id << 4);
  store<i32>(record, start);
  store<i32>(record, end, 4);
  store<i32>(record, table, 8);
  store<i32>(record, line, 12);
  put(slots, slot, (hash & tagBits) | (id + 1));
  set(fields.nameCount, id + 1);
  return true;
}

/** Whether the word at an offset is the name of a chain. */
function isWord(id: i32, start: i32): bool {
  const length = nameEnd(id) - nameStart(id);
  return load<u8>(at(fields.text) + start + length) <= blank && isSame(nameStart(id), start, length);
}

function isName(id: i32, start: i32, end: i32): bool {
  const length = nameEnd(id) - nameStart(id);
  return length === end - start && isSame(nameStart(id), start, length);
}

/** Whether the same bytes stand at two offsets of the text. */
function isSame(one: i32, other: i32, length: i32): bool {
  const text = at(fields.text);
  let left = text + one;
  let right = text + other;
  let rest = length;
  for (; rest >= 16; rest -= 16, left += 16, right += 16) if (v128.any_true(v128.xor(v128.load(left), v128.load(right)))) return false;
  const equal = i8x16.bitmask(i8x16.eq(v128.load(left), v128.load(right)));
  return (~equal & ((1 << rest) - 1)) === 0;
}

function nameStart(id: i32): i32 {
  return load<i32>(at(fields.records) + (id << 4));
}

function nameEnd(id: i32): i32 {
  return load<i32>(at(fields.records) + (id << 4), 4);
}

function tableOf(id: i32): i32 {
  return load<i32>(at(fields.records) + (id << 4), 8);
}

/** As `mixed` of ../iptables.text.ts. */
function mixed(hash: i32, quad: i32): i32 {
  return rotl<i32>(hash ^ quad, 15) * 0x2c1b3c6d;
}

/** As `inTable` of ../iptables.names.ts. */
function inTable(hash: i32, table: i32): i32 {
  const both = (hash ^ (hash >>> 15)) * 0x297a2d39 + table * <i32>0x9e3779b1;
  return both ^ (both >>> 15);
}

function get(field: i32): i32 {
  return load<i32>(<usize>(field << 2));
}

function at(field: i32): usize {
  return load<usize>(<usize>(field << 2));
}

function set(field: i32, value: i32): void {
  store<i32>(<usize>(field << 2), value);
}

function number(array: usize, index: i32): i32 {
  return load<i32>(array + ((<usize>index) << 2));
}

function put(array: usize, index: i32, value: i32): void {
  store<i32>(array + ((<usize>index) << 2), value);
}

const bracket: u8 = 91;
const blank: u8 = 32;
const printable: u8 = 33;
/** `] `. */
const counterEnd: u16 = 0x205d;
/** `-A `, as the first three bytes of a quad. */
const appendCommand: i32 = 0x20412d;
// What follows stands in ../iptables.lines.ts, ../iptables.skim.ts, ../iptables.stencil.ts and ../iptables.names.ts too: where they differ, iptables.machine.test.ts fails.
const chainKind: u8 = 3;
const ruleKind: u8 = 4;
const builtinNameMax: i32 = 11;
const noHole: i32 = 0;
const quotedHole: i32 = 2;
const chainHole: i32 = 3;
const idBits: i32 = 0x07ffffff;
const tagBits: i32 = ~idBits;
