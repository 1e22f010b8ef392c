// Puts the parts of a capture together that an agent sends.
import { limits } from '../../shared/limits.ts';
import type { Captured } from '../../shared/wire/messages.ts';

export class Parts {
  readonly #done: (made: Buffer | string) => void;
  #parts: Buffer[] = [];
  #bytes = 0;

  /** `done` is told the whole, or why there is none; once. */
  constructor(done: (made: Buffer | string) => void) {
    this.#done = done;
  }

  take({ part, last, content, error }: Captured): void {
    if (error !== undefined) return this.end(error);
    if (part !== this.#parts.length) return this.end(`part ${part} of the capture came where part ${this.#parts.length} was due`);
    const bytes = Buffer.from(content ?? '', 'base64');
    this.#bytes += bytes.length;
    if (this.#bytes > limits.captureBytesMax) return this.end(`the capture has more than ${limits.captureBytesMax} bytes`);
    this.#parts.push(bytes);
    if (last) this.end(Buffer.concat(this.#parts));
  }

  /** Nothing more is kept. */
  end(made: Buffer | string): void {
    this.#parts = [];
    this.#done(made);
  }
}
