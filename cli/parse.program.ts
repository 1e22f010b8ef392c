// `portreeve parse` alone, as a program: what `make build` makes dist/parse.cjs of, as one file is loaded sooner than dozens of modules.
import { parseCommandLine } from './command.ts';
import { parse } from './commands/parse.command.ts';
import { exitCodeFor, runProcess, sentence } from './process.ts';

// A module of CommonJS, which is loaded sooner, cannot wait at its end; this never rejects.
void runProcess(async (words, io) => {
  try {
    return await parse.run(parseCommandLine(parse, words, io.env), io);
  } catch (error) {
    io.stderr.write(`portreeve: ${sentence(error, io.env)}\n`);
    return exitCodeFor(error);
  }
});
