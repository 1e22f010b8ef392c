// One mutation of a run: makes the input from its number, holds the parser to its laws and limits, and says what is wrong.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { type DumpName, type Dumps, dumpNames, excerpt, readDumps } from './dumps.ts';
import { mutate } from './mutations.ts';
import { Random, seedOf } from './random.ts';
import { type Subject, subjects } from './subjects.ts';

/** Milliseconds for each megabyte of an input, and for any input however small. */
export interface TimeLimit {
  readonly perMegabyte: number;
  readonly floor: number;
}

export interface Limits {
  readonly parsing: TimeLimit;
  /** With decoding every rule and printing. */
  readonly whole: TimeLimit;
}

/** What `make fuzz` holds parsers to. */
export const usualLimits: Limits = { parsing: { perMegabyte: 100, floor: 60 }, whole: { perMegabyte: 1500, floor: 600 } };

/** What a parsed dump may keep of memory, as a multiple of its text. Measured on inputs from this size on. */
const memoryFactor = 6;
const memoryBytesMin = 1_000_000;
/** One in so many inputs is large. */
const largeEvery = 20_000;

export interface Trial {
  readonly name: DumpName;
  readonly input: Buffer;
  readonly isLarge: boolean;
}

export interface Failure {
  readonly name: DumpName;
  readonly number: number;
  readonly reason: string;
  readonly input: Uint8Array;
}

/** The inputs of a run, by number. */
export class Trials {
  readonly #run: number;
  readonly #limits: Limits;
  readonly #dumps: Readonly<Record<DumpName, Dumps>>;

  constructor(run: number, limits: Limits = usualLimits) {
    this.#run = run;
    this.#limits = limits;
    this.#dumps = Object.fromEntries(dumpNames.map((name) => [name, readDumps(name)])) as Record<DumpName, Dumps>;
  }

  /** The input with this number; always the same for the same run. */
  at(number: number): Trial {
    const random = new Random(seedOf(this.#run, number));
    const isLarge = random.onceIn(largeEvery);
    const name = random.pick(isLarge ? largeNames : chosenNames);
    const { whole, large } = this.#dumps[name];
    if (isLarge && large.length > 0) return { name, isLarge, input: mutate({ dump: random.pick(large), others: large }, random) };
    const small = (): Buffer => excerpt(name, random.pick(whole), random);
    const foreign = random.onceIn(20) ? random.pick(this.#dumps[random.pick(dumpNames)].whole).subarray(0, 2000) : small();
    return { name, isLarge: false, input: mutate({ dump: small(), others: [small(), foreign] }, random) };
  }

  /** Runs one; without `failure` when all is well. */
  run(number: number): { readonly name: DumpName; readonly failure?: Failure } {
    const { name, input, isLarge } = this.at(number);
    const reason = verdict(subjects[name], input, this.#limits) ?? (isLarge ? memoryVerdict(name, input) : undefined);
    return reason === undefined ? { name } : { name, failure: { name, number, reason, input } };
  }
}

const largeNames: readonly DumpName[] = ['iptables', 'nftText', 'nftJson'];
/** Rulesets are what most inputs are made of. */
const chosenNames: readonly DumpName[] = [
  'iptables',
  'iptables',
  'iptables',
  'iptables',
  'nftText',
  'nftText',
  'nftText',
  'nftText',
  'nftJson',
  'nftJson',
  ...dumpNames,
];

/** What is wrong with how a parser takes an input; undefined when nothing is. A time over the limit counts when it was so three times. */
export function verdict(subject: Subject, input: Buffer, limits: Limits = usualLimits): string | undefined {
  let reason: string | undefined;
  for (let attempt = 0; attempt < 3; attempt++) {
    const tried = attemptOnce(subject, input, limits);
    if (tried.slow === undefined || tried.wrong !== undefined) return tried.wrong;
    reason = tried.slow;
  }
  return reason;
}

function attemptOnce({ parse, check }: Subject, input: Buffer, limits: Limits): { readonly wrong?: string; readonly slow?: string } {
  try {
    const start = threadMs();
    const parsed = parse(input);
    const parsedMs = threadMs() - start;
    const wrong = check(parsed as never, input);
    const checkedMs = threadMs() - start;
    if (wrong !== undefined) return { wrong };
    const slow =
      overLimit('parsing', { ms: parsedMs, input }, limits.parsing) ?? overLimit('parsing, decoding and printing', { ms: checkedMs, input }, limits.whole);
    return slow === undefined ? {} : { slow };
  } catch (error) {
    return { wrong: `throws: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}` };
  }
}

/** Milliseconds that this thread has worked: what else runs on the machine does not count. */
function threadMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}

function overLimit(what: string, { ms, input }: { readonly ms: number; readonly input: Buffer }, { perMegabyte, floor }: TimeLimit): string | undefined {
  const limit = Math.max(floor, (perMegabyte * input.length) / 1e6);
  return ms > limit ? `${what} ${input.length} bytes took ${ms.toFixed(0)} ms, the limit is ${limit.toFixed(0)} ms` : undefined;
}

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

const heldBytes = (): number => {
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
};

/** Measures what is kept while the parsed dump is: what was made on the way may be collected. The text itself counts. */
export function memoryVerdict(name: DumpName, input: Buffer): string | undefined {
  if (input.length < memoryBytesMin) return undefined;
  collectGarbage();
  const before = heldBytes();
  const parsed = subjects[name].parse(input);
  collectGarbage();
  const kept = heldBytes() - before;
  if (parsed === undefined || kept <= memoryFactor * input.length) return undefined;
  return `keeps ${(kept / input.length).toFixed(1)} times the ${input.length} bytes of its input, the limit is ${memoryFactor} times`;
}
