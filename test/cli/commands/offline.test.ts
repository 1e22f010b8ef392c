// The forms of the commands that need no collector, as golden texts; what a walk looks like as a drawing and as data has its own.
import { join } from 'node:path';
import t from 'tap';
import { run } from '../../support/command-line.ts';
import { golden } from '../../support/golden.ts';

const fixtures = join(import.meta.dirname, '../../fixtures');
const faulty = '09-forward-drop-target-port';

t.test('forms', async (t) => {
  const capture = (name: string) => ['--capture', join(fixtures, name)];
  const printed: string[] = [];
  for (const [words, fixture] of [
    ...['text', 'wide', 'json', 'yaml'].map((form) => [['check', '-o', form], faulty] as const),
    [['check', '-o', 'text'], '01-healthy-iptables-nft'],
    ...['text', 'json', 'yaml'].map((form) => [['reach', '--port', '30080', '-o', form], faulty] as const),
    ...['text', 'ndjson'].map((form) => [['trace', '--packet', 'src=192.0.2.1,dport=30080', '-o', form], faulty] as const),
  ] as const) {
    const { code, stdout, stderr } = await run([...words, ...capture(fixture)]);
    printed.push(`$ portreeve ${words.join(' ')} --capture ${fixture}`, (stdout + stderr).replaceAll(fixtures, '').trimEnd(), `exit code ${code}`, '');
  }
  for (const form of ['text', 'wide', 'json', 'yaml', 'csv'])
    for (const words of form === 'csv' ? [['lint', '--register']] : [['lint'], ['lint', '--register']]) {
      const { code, stdout } = await run([...words, '-o', form, '--cluster', join(fixtures, faulty)]);
      printed.push(`$ portreeve ${words.join(' ')} -o ${form} --cluster ${faulty}`, stdout.trimEnd(), `exit code ${code}`, '');
    }
  golden(t, join(import.meta.dirname, 'offline.golden.txt'), printed.join('\n'));
});
