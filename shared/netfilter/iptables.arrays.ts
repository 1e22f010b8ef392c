// Where a scan has its arrays: on the heap, or in the memory that machine code works on.

/** Makes arrays of zeros. */
export interface Arrays {
  readonly int32: (length: number) => Int32Array;
  readonly uint32: (length: number) => Uint32Array;
  readonly uint8: (length: number) => Uint8Array;
}

export const heapArrays: Arrays = {
  int32: (length) => new Int32Array(length),
  uint32: (length) => new Uint32Array(length),
  uint8: (length) => new Uint8Array(length),
};
