// Makes the capture of this node for a collector that asks: packed, one at a time, and not again at once, as each reads every source anew.
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { archiveOf } from '../shared/archive.ts';
import { reasonOf } from '../shared/errors.ts';
import { limits } from '../shared/limits.ts';
import type { ReadCapture } from './capture.ts';

/** A tar archive packed by gzip, or why there is none. */
export type PackedCapture = { readonly archive: Buffer } | { readonly error: string };

export class CaptureRequests {
  readonly #read: () => Promise<ReadCapture>;
  readonly #now: () => number;
  #making = false;
  #endedAt = Number.NEGATIVE_INFINITY;

  /** `now`: a clock that never jumps, in milliseconds. */
  constructor(read: () => Promise<ReadCapture>, now: () => number = () => performance.now()) {
    this.#read = read;
    this.#now = now;
  }

  /** Never rejects. */
  async make(): Promise<PackedCapture> {
    if (this.#making) return { error: 'this agent is making a capture for somebody else: ask again in a minute' };
    const waitMs = this.#endedAt + limits.captureEveryMs - this.#now();
    if (waitMs > 0) return { error: `this agent has just made a capture: ask again in ${Math.ceil(waitMs / 1_000)} s` };
    this.#making = true;
    try {
      return await packed(await this.#read());
    } catch (error) {
      return { error: reasonOf(error) };
    } finally {
      this.#making = false;
      this.#endedAt = this.#now();
    }
  }
}

async function packed({ files, manifest }: ReadCapture): Promise<PackedCapture> {
  const bytes = [...files.values()].reduce((sum, content) => sum + content.length, 0);
  if (bytes > limits.captureUnpackedBytesMax) return { error: tooLarge(bytes, limits.captureUnpackedBytesMax) };
  const archive = await promisify(gzip)(archiveOf(files, Date.parse(manifest.time)));
  return archive.length > limits.captureBytesMax ? { error: tooLarge(archive.length, limits.captureBytesMax) } : { archive };
}

const tooLarge = (bytes: number, max: number): string =>
  `the capture of this node has ${bytes} bytes, and ${max} can be sent: run "portreeve capture --out DIR" on the node`;
