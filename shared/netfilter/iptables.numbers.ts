// A list of unsigned 32 bit numbers that grows without an object for each: what a scan notes for hundreds of thousands of lines.

export class Numbers {
  values: Uint32Array;
  length = 0;

  constructor(capacity: number) {
    this.values = new Uint32Array(Math.max(1, capacity));
  }

  at(index: number): number {
    return this.values[index] as number;
  }

  push(value: number): void {
    if (this.length === this.values.length) this.#grow();
    this.values[this.length++] = value;
  }

  #grow(): void {
    const larger = new Uint32Array(this.length * 2);
    larger.set(this.values);
    this.values = larger;
  }
}
