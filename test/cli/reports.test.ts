// What check and lint give to programs of continuous integration: goldens of both forms, and XML that is well-formed whatever stands in a rule.
import { spawnSync } from 'node:child_process';
import { readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { SaxesParser } from 'saxes';
import t from 'tap';
import { loadCommands } from '../../cli/commands/index.ts';
import { junitText, type Reported, sarifText } from '../../cli/reports.ts';
import { run } from '../support/command-line.ts';
import { golden } from '../support/golden.ts';

const root = join(import.meta.dirname, '../..');
const fixtures = join(root, 'test/fixtures');

t.test('forms', async (t) => {
  const printed: string[] = [];
  for (const [command, option, fixture] of [
    ['check', '--capture', '09-forward-drop-target-port'],
    ['check', '--capture', '06-etp-local-no-local-endpoint'],
    ['check', '--capture', '01-healthy-iptables-nft'],
    ['lint', '--cluster', '01-healthy-iptables-nft'],
  ] as const)
    for (const form of ['sarif', 'junit']) {
      const { code, stdout } = await run([command, option, join(fixtures, fixture), '-o', form]);
      printed.push(`$ portreeve ${command} ${option} ${fixture} -o ${form}`, stdout.trimEnd(), `exit code ${code}`, '');
    }
  golden(t, join(import.meta.dirname, 'reports.golden.txt'), printed.join('\n'));
});

const item = fc.record({
  rule: fc.string(),
  level: fc.constantFrom<Reported['level']>('error', 'warning', 'note'),
  id: fc.string(),
  subject: fc.string({ unit: 'binary' }),
  text: fc.string({ unit: 'binary' }),
  remedy: fc.array(fc.string({ unit: 'grapheme' }), { maxLength: 2 }),
});

t.test('JUnit is well-formed XML and SARIF JSON, and no finding is lost', async (t) => {
  await fc.assert(
    fc.property(fc.array(item, { maxLength: 5 }), (items) => {
      const parser = new SaxesParser();
      let [cases, failures] = [0, 0];
      parser.on('error', (error) => {
        throw error;
      });
      parser.on('opentag', ({ name }) => {
        if (name === 'testcase') cases++;
        if (name === 'failure') failures++;
      });
      parser.write(junitText('s', items, 3)).close();
      const sarif = JSON.parse(sarifText(items, [])) as {
        runs: readonly { results: readonly { ruleIndex: number }[]; tool: { driver: { rules: readonly object[] } } }[];
      };
      const rules = sarif.runs[0]?.tool.driver.rules ?? [];
      return (
        cases === Math.max(1, items.length) &&
        failures === items.filter(({ level }) => level !== 'note').length &&
        sarif.runs[0]?.results.length === items.length &&
        sarif.runs[0].results.every(({ ruleIndex }) => rules[ruleIndex] !== undefined)
      );
    }),
  );
  t.pass('held');
});

const isThere = (program: string): boolean => spawnSync(program, ['--version']).error === undefined;

t.test('manual pages are accepted by man', { skip: isThere('man') && isThere('groff') ? false : 'man and groff are not installed' }, async (t) => {
  const directory = t.testdir();
  t.match(await run(['man', '--out', directory]), { code: 0, stdout: '' });
  const commands = await loadCommands();
  t.strictSame(readdirSync(directory).sort(), ['portreeve.1', ...commands.map(({ name }) => `portreeve-${name}.1`)].sort());
  for (const file of readdirSync(directory)) {
    const { stdout, stderr, status } = spawnSync('man', ['--warnings', '-E', 'UTF-8', '-l', '-Tutf8', join(directory, file)], {
      encoding: 'utf8',
      env: { ...process.env, MANWIDTH: '160' },
    });
    t.match({ status, stderr }, { status: 0, stderr: /^(?![\s\S]*warning(?!.*cannot (adjust|break) line))/ }, file);
    t.match(stdout, /S.?.?Y.?.?N.?.?O.?.?P.?.?S.?.?I.?.?S/);
  }
});

t.test('shells take the completion scripts', async (t) => {
  const directory = t.testdir();
  for (const shell of ['bash', 'zsh', 'fish']) {
    const file = join(directory, shell);
    writeFileSync(file, (await run(['completion', shell])).stdout);
    if (!isThere(shell)) t.comment(`${shell} is not installed: its script is not checked`);
    else t.match(spawnSync(shell, ['-n', file], { encoding: 'utf8' }), { status: 0, stderr: '' }, shell);
  }
  const use = (words: string, count: number) =>
    spawnSync(
      'bash',
      ['-c', `source "$0"; COMP_WORDS=(portreeve ${words}); COMP_CWORD=${count}; _portreeve; echo "\${COMPREPLY[*]}"`, join(directory, 'bash')],
      {
        encoding: 'utf8',
        env: { ...process.env, PATH: `${join(root, 'cli')}:${process.env.PATH}` },
      },
    ).stdout.trim();
  t.equal(use('check -o s', 3), 'sarif', 'what an option may be depends on the command');
  t.equal(use('get fin', 2), 'findings');
  t.equal(use('config pr', 2), 'print');
});

t.test('kubectl finds the command', { skip: isThere('kubectl') ? false : 'kubectl is not installed' }, async (t) => {
  const directory = t.testdir({ bin: {} });
  for (const name of ['kubectl-portreeve', 'kubectl_complete-portreeve']) symlinkSync(join(root, 'cli', name), join(directory, 'bin', name));
  const kubectl = (...words: string[]) =>
    spawnSync('kubectl', ['portreeve', ...words], { encoding: 'utf8', env: { ...process.env, PATH: `${directory}/bin:${process.env.PATH}` } });
  t.match(kubectl('--version'), { status: 0, stdout: /^portreeve \d/ });
  t.match(kubectl('check', '--capture', join(fixtures, '09-forward-drop-target-port')), { status: 1, stdout: /C08/ }, 'the exit code comes through');
  const completed = spawnSync('kubectl', ['__complete', 'portreeve', 'exp'], {
    encoding: 'utf8',
    env: { ...process.env, PATH: `${directory}/bin:${process.env.PATH}` },
  });
  t.match(completed.stdout, /^explain\n:4/);
});
