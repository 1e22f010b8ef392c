// Rules of the house that a linter cannot hold.
import { existsSync, globSync, readFileSync, statSync } from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
import t from 'tap';

const root = new URL('../..', import.meta.url).pathname;
const rooms = ['agent', 'collector', 'shared', 'cli'];
const sources = rooms.flatMap((room) => globSync(`${room}/**/*.{ts,tsx}`, { cwd: root })).sort();
const tests = globSync('test/**/*.ts', { cwd: root, exclude: (name) => name === 'fixtures' }).sort();
const text = (file: string): string => readFileSync(join(root, file), 'utf8');

t.ok(sources.length > 20, 'there are sources to check');

t.test('a file opens with a sentence on what it is for', async (t) => {
  for (const file of [...sources, ...tests.filter((name) => !name.endsWith('.test.ts'))]) t.match(text(file).replace(/^#!.*\n/, ''), /^\/\/ \S.{20,}/, file);
});

t.test('no file is named for nothing', async (t) => {
  const vague = [...sources, ...tests].filter((file) => /^(utils?|helpers?|managers?|common|misc)\b/.test(basename(file)));
  t.same(vague, []);
});

t.test('sources are erasable TypeScript with named exports only', async (t) => {
  const found = [...sources, ...tests].filter((file) => /^(export )?(default |(declare |const )?enum |namespace )|^export default/m.test(text(file)));
  t.same(found, []);
});

t.test('every import of a file names a file that is there, with its extension', async (t) => {
  const broken = [...sources, ...tests].flatMap((file) =>
    importsOf(file)
      .filter((target) => target.startsWith('.') && !existsSync(join(root, dirname(file), target)))
      .map((target) => `${file}: ${target}`),
  );
  t.same(broken, []);
});

t.test('the sides keep apart', async (t) => {
  const allowed: Readonly<Record<string, readonly string[]>> = {
    shared: ['shared'],
    agent: ['agent', 'shared'],
    collector: ['collector', 'shared'],
    cli: ['cli', 'agent', 'collector', 'shared'],
  };
  const crossing = sources.flatMap((file) => {
    const room = file.split('/')[0] ?? '';
    return importsOf(file)
      .filter((target) => target.startsWith('.'))
      .map((target) => relative(root, join(root, dirname(file), target)))
      .filter((target) => !target.endsWith('package.json') && !allowed[room]?.includes(target.split('/')[0] ?? ''))
      .map((target) => `${file} → ${target}`);
  });
  t.same(crossing, []);
});

t.test('every exported function of shared is documented, but for those that say all by their name', async (t) => {
  const bare = sources
    .filter((file) => file.startsWith('shared/'))
    .flatMap((file) => {
      const lines = text(file).split('\n');
      return lines.flatMap((line, index) =>
        /^export (async )?function (?!(is|to|new)[A-Z])/.test(line) && !/\*\/\s*$|^\s*\/\//.test(lines[index - 1] ?? '')
          ? [`${file}:${index + 1}: ${line}`]
          : [],
      );
    });
  t.same(bare, []);
});

t.test('every fixture says where it was captured', async (t) => {
  const fixtures = globSync('test/fixtures/*', { cwd: root }).filter((path) => statSync(join(root, path)).isDirectory());
  t.same(
    fixtures.filter((path) => !existsSync(join(root, path, 'README.md'))),
    [],
  );
});

t.test('code speaks of the project alone and leaves nothing undone', async (t) => {
  const pattern = new RegExp(`(?:// | \\* ).*\\b(?:${['TO', 'FIX', 'X'].map((word, index) => word + ['DO', 'ME', 'XX'][index]).join('|')})\\b`);
  t.same(
    [...sources, ...tests].filter((file) => pattern.test(text(file))),
    [],
  );
});

t.test('everything that runs by itself can be run', async (t) => {
  for (const file of ['cli/portreeve', '.ci/run']) t.ok((statSync(join(root, file)).mode & 0o111) !== 0, file);
});

function importsOf(file: string): string[] {
  return [...text(file).matchAll(/(?:^(?:import|export)\b[^'";]*?from |^import |\bimport\()'([^'\n]+)'/gm)].map(([, target = '']) => target);
}
