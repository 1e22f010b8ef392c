// Rules of the page that a linter cannot hold: text stays text, and nothing of the server gets into what a browser loads.
import { globSync, readFileSync } from 'node:fs';
import t from 'tap';

const root = new URL('../../', import.meta.url).pathname;
const sources = globSync('collector/web/**/*.{ts,tsx,css,html}', { cwd: root }).sort();
const text = (file: string): string => readFileSync(`${root}${file}`, 'utf8');

t.ok(sources.length > 30, 'there are sources to check');

t.test('nothing is ever taken for HTML or for a script', async (t) => {
  const ways = /dangerouslySetInnerHTML|\.innerHTML|\.outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc|'text\/html'|javascript:/;
  t.same(
    sources.filter((file) => file !== 'collector/web/build.ts' && ways.test(text(file))),
    [],
  );
});

t.test('nobody but the collector is asked', async (t) => {
  const others = sources.filter((file) => /\burl\(\s*["']?(?!#)|https?:\/\/(?!www\.w3\.org)|@import "http/.test(text(file)));
  t.same(others, []);
});

t.test('what the pure parts import is pure', async (t) => {
  const impure = globSync('collector/web/model/*.ts', { cwd: root }).filter((file) =>
    /from '(?:preact|uplot|\.\.\/(?:data\/(?!types)|parts|views))/.test(text(file)),
  );
  t.same(impure, []);
});
