// `portreeve parse`: the table of its options; what it does is in parse.ts.
import { failure } from '../../shared/errors.ts';
import { type Command, flagOf, outputOption, textOf } from '../command.ts';
import { runParse } from './parse.ts';

export const parse: Command = {
  name: 'parse',
  summary: 'parse a dump of rules',
  usage: 'FILE',
  description:
    'Says what the file holds and what in it is not understood. FILE is the output of iptables-save, ip6tables-save or their legacy twins, of nft list ruleset with or without -j, ipset save, or ipvsadm -Sn, told apart by content; - reads standard input.',
  options: [
    { name: 'print', summary: 'write the rules back, byte for byte but for comment lines; the summary then goes to stderr' },
    { ...outputOption, choices: ['text', 'json'] },
  ],
  examples: ['iptables-save | portreeve parse -', 'portreeve parse --print iptables-save.txt | diff iptables-save.txt -'],
  run(parsed) {
    const [file, ...more] = parsed.positionals;
    if (file === undefined || more.length > 0) throw failure('USAGE', ['parse wants one file; see portreeve parse --help']);
    return runParse(file, { print: flagOf(parsed, 'print'), output: textOf(parsed, 'output') === 'json' ? 'json' : 'text' });
  },
};
