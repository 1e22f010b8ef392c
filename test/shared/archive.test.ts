// Archives of captures: what tar makes of them, and what is not taken for one.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { archiveOf, filesOfArchive } from '../../shared/archive.ts';

const names = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,40}$/);
const contents = fc.uint8Array({ maxLength: 2_000 }).map((bytes) => Buffer.from(bytes));

t.test('law: what is read is what was written', async () => {
  fc.assert(
    fc.property(fc.dictionary(names, contents), (given) => {
      const files = new Map(Object.entries(given));
      const read = filesOfArchive(archiveOf(files, 1_700_000_000_000));
      return read?.size === files.size && [...files].every(([name, content]) => read.get(name)?.equals(content) === true);
    }),
  );
});

t.test('law: an archive that is cut is none', async () => {
  const archive = archiveOf(new Map([['a.txt', Buffer.from('text')]]), 0);
  fc.assert(fc.property(fc.nat(archive.length - 513), (length) => filesOfArchive(archive.subarray(0, length)) === undefined));
});

t.test('tar reads it, and what tar writes is read', async (t) => {
  const directory = t.testdir({ from: { 'ss.txt': 'tcp LISTEN\n', 'empty.txt': '' }, to: {} });
  writeFileSync(join(directory, 'a.tar'), archiveOf(new Map([['ss.txt', Buffer.from('x'.repeat(513))]]), 1_700_000_000_000));
  execFileSync('tar', ['xf', join(directory, 'a.tar'), '-C', join(directory, 'to')]);
  t.equal(readFileSync(join(directory, 'to', 'ss.txt'), 'utf8'), 'x'.repeat(513));
  const made = execFileSync('tar', ['--format=ustar', '-cf', '-', '-C', join(directory, 'from'), 'ss.txt', 'empty.txt']);
  t.strictSame(
    [...(filesOfArchive(made) ?? [])].map(([name, content]) => [name, content.toString()]),
    [
      ['ss.txt', 'tcp LISTEN\n'],
      ['empty.txt', ''],
    ],
  );
});

t.test('names that lead elsewhere, links and damage are refused', async (t) => {
  const named = (name: string) => filesOfArchive(archiveOf(new Map([[name, Buffer.from('x')]]), 0));
  for (const name of ['../x', '/etc/x', 'a/b', '.hidden', '', 'a\nb']) t.equal(named(name), undefined, JSON.stringify(name));
  const directory = t.testdir({ link: t.fixture('symlink', '/etc/passwd') });
  t.equal(filesOfArchive(execFileSync('tar', ['--format=ustar', '-cf', '-', '-C', directory, 'link'])), undefined);
  const archive = archiveOf(new Map([['a.txt', Buffer.from('text')]]), 0);
  archive[0] = 'b'.charCodeAt(0);
  t.equal(filesOfArchive(archive), undefined, 'its sum is wrong');
});
