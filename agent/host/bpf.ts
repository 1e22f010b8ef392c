// Where portreeve-bpf is: beside the bundle, built in this checkout, or installed on PATH.
import { ownProgram } from './program.ts';

/** The path of the program; undefined when there is none. */
export const bpfProgram = (): string | undefined => ownProgram('portreeve-bpf');
