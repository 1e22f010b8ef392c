// The agent alone, as a program: what `make build` makes dist/agent.mjs of. Nothing of the collector or of the other commands is loaded with it.
import { parseCommandLine } from './command.ts';
import { command } from './commands/agent.ts';
import { commandHelp } from './help.ts';
import { runProcess, sentence } from './process.ts';

await runProcess(async (words, io) => {
  try {
    if (words.some((word) => word === '--help' || word === '-h')) {
      io.stdout.write(commandHelp(command));
      return 0;
    }
    return await command.run(parseCommandLine(command, words, io.env), io);
  } catch (error) {
    io.stderr.write(`portreeve: ${sentence(error, io.env)}\n`);
    return 2;
  }
});
