// Where in its memory the machine code finds what it works on: the numbers of fields of 32 bits, from address 0. AssemblyScript and TypeScript both read this file.

export const at = 0;
export const until = 1;
export const lastId = 2;
export const table = 3;
export const implicit = 4;
export const ruleCount = 5;
export const text = 6;
export const lineCount = 7;
export const lineCapacity = 8;
export const lineStarts = 9;
export const lineKinds = 10;
export const lineChains = 11;
export const nameCount = 12;
export const nameCapacity = 13;
export const records = 14;
export const slots = 15;
export const slotMask = 16;
export const code = 17;
export const offsets = 18;
export const next = 19;
export const lastStencil = 20;
export const fitted = 21;
export const declaration = 22;
export const wordStart = 23;
export const wordEnd = 24;
export const wordHash = 25;
export const jumpCount = 26;
export const jumpCapacity = 27;
export const jumpLines = 28;
export const jumpTables = 29;
export const jumpStarts = 30;
export const jumpEnds = 31;
export const jumpHashes = 32;
export const jumpFound = 33;
/** Written alone: what was read to have it at hand must be of some use, or it is not read. */
export const touched = 34;
