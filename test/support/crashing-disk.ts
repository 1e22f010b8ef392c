// A disk that loses power: what was not synced may be there, in part, out of order, or as garbage; names that were not synced may be the old or the new ones.
import type { Disk } from '../../agent/spool/disk.ts';

interface Inode {
  durable: Buffer;
  current: Buffer;
}

/** A small generator of numbers in [0, 1), so that a failure can be repeated from its seed. */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

export class PowerLost extends Error {}

export interface Faults {
  /** Power is lost at this operation, counted from 1: it may be done in part. */
  readonly powerLostAt?: number;
  /** Operations that fail with this code, by number; an append may then be done in part. */
  readonly failing?: ReadonlyMap<number, 'ENOSPC' | 'EIO'>;
  /** Bytes that the disk holds. */
  readonly capacity?: number;
}

const block = 32;

export class CrashingDisk implements Disk {
  readonly #random: () => number;
  readonly #faults: Faults;
  #names = new Map<string, Inode>();
  #durableNames = new Map<string, Inode>();
  #isLost = false;
  #powerLostAt: number | undefined;
  operations = 0;

  constructor(random: () => number, faults: Faults = {}, files: ReadonlyMap<string, Buffer> = new Map()) {
    this.#random = random;
    this.#faults = faults;
    this.#powerLostAt = faults.powerLostAt;
    for (const [name, content] of files) this.#names.set(name, { durable: content, current: content });
    this.#durableNames = new Map(this.#names);
  }

  get hasLostPower(): boolean {
    return this.#isLost;
  }

  get files(): ReadonlyMap<string, Buffer> {
    return new Map([...this.#names].map(([name, { current }]) => [name, current]));
  }

  /** Power is lost at the operation after so many others; undefined: not at all. */
  losePowerIn(operations: number | undefined): void {
    this.#powerLostAt = operations === undefined ? undefined : this.operations + operations;
  }

  /** What a machine finds after the power is back. */
  afterPowerLoss(faults: Faults = {}): CrashingDisk {
    const names = new Map<string, Inode>();
    for (const name of new Set([...this.#names.keys(), ...this.#durableNames.keys()])) {
      const inode = this.#random() < 0.5 ? this.#names.get(name) : this.#durableNames.get(name);
      if (inode !== undefined) names.set(name, inode);
    }
    return new CrashingDisk(this.#random, faults, new Map([...names].map(([name, inode]) => [name, this.#surviving(inode)])));
  }

  async list(): Promise<readonly { readonly name: string; readonly bytes: number }[]> {
    this.#operation();
    return [...this.#names].map(([name, { current }]) => ({ name, bytes: current.length }));
  }

  async read(name: string): Promise<Buffer> {
    if (this.#isLost) throw new PowerLost();
    const inode = this.#names.get(name);
    if (inode === undefined) throw Object.assign(new Error(`ENOENT: ${name}`), { code: 'ENOENT' });
    return Buffer.from(inode.current);
  }

  async append(name: string, content: Buffer): Promise<void> {
    const inode = this.#names.get(name) ?? { durable: Buffer.alloc(0), current: Buffer.alloc(0) };
    const write = (part: Buffer): void => {
      this.#names.set(name, inode);
      inode.current = Buffer.concat([inode.current, part]);
    };
    const inPart = (): void => write(content.subarray(0, Math.floor(this.#random() * content.length)));
    this.#operation(inPart);
    const used = [...this.#names.values()].reduce((sum, { current }) => sum + current.length, 0);
    const room = (this.#faults.capacity ?? Number.POSITIVE_INFINITY) - used;
    if (room < content.length) {
      write(content.subarray(0, Math.max(0, room)));
      throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });
    }
    write(content);
  }

  async sync(name: string): Promise<void> {
    const inode = this.#names.get(name);
    // A failed sync leaves pages that the kernel takes for clean: what is on disk of them is anybody's guess, and a second sync says nothing of it.
    this.#operation(() => {
      if (inode !== undefined) inode.durable = inode.current = this.#surviving(inode);
    });
    if (inode !== undefined) inode.durable = inode.current;
  }

  async rename(from: string, to: string): Promise<void> {
    this.#operation();
    const inode = this.#names.get(from);
    if (inode === undefined) throw Object.assign(new Error(`ENOENT: ${from}`), { code: 'ENOENT' });
    this.#names.delete(from);
    this.#names.set(to, inode);
  }

  async remove(name: string): Promise<void> {
    this.#operation();
    this.#names.delete(name);
  }

  async syncDirectory(): Promise<void> {
    this.#operation();
    this.#durableNames = new Map(this.#names);
  }

  #operation(inPart: () => void = () => {}): void {
    if (this.#isLost) throw new PowerLost();
    this.operations++;
    if (this.operations === this.#powerLostAt) {
      this.#isLost = true;
      inPart();
      throw new PowerLost();
    }
    const code = this.#faults.failing?.get(this.operations);
    if (code === undefined) return;
    inPart();
    throw Object.assign(new Error(`${code}: injected`), { code });
  }

  /** What was synced, and of the rest each block or not: a block that is missing before one that is there reads as zeros or as garbage. */
  #surviving({ durable, current }: Inode): Buffer {
    const rest = Buffer.from(current.subarray(durable.length));
    const length = Math.floor(this.#random() * (rest.length + 1));
    for (let at = 0; at < length; at += block) {
      const fate = this.#random();
      if (fate < 0.2) rest.fill(0, at, Math.min(at + block, length));
      else if (fate < 0.3) for (let i = at; i < Math.min(at + block, length); i++) rest[i] = Math.floor(this.#random() * 256);
    }
    return Buffer.concat([durable, rest.subarray(0, length)]);
  }
}
