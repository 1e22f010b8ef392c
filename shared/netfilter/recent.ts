// Keeps what was made lately by its number, within bounds: what is asked for again soon is there, and what is not costs no memory for long.

export class Recent<Item> {
  readonly #numbers: Int32Array;
  readonly #items: (Item | undefined)[];
  readonly #mask: number;

  /** Keeps at most as many items as are expected, and no more than `placesMax`. */
  constructor(expected: number, placesMax: number) {
    const places = 2 ** Math.ceil(Math.log2(Math.max(1, Math.min(expected, placesMax))));
    this.#numbers = new Int32Array(places);
    this.#items = Array.from({ length: places });
    this.#mask = places - 1;
  }

  /** The item of a number, from 1. Numbers share a place with those that are a multiple of the places away. */
  get(number: number): Item | undefined {
    const place = number & this.#mask;
    return this.#numbers[place] === number ? this.#items[place] : undefined;
  }

  keep(number: number, item: Item): void {
    const place = number & this.#mask;
    this.#numbers[place] = number;
    this.#items[place] = item;
  }
}
