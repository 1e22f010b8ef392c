import { existsSync, globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { catalogue, catalogueText, proofTests } from '../../../collector/causes/catalogue.ts';
import { detectors } from '../../../collector/causes/index.ts';
import { golden } from '../../support/golden.ts';

const root = join(import.meta.dirname, '../../..');

t.test('the catalogue holds the causes of the detectors, each in its file, and says of the others that nothing recognises them', (t) => {
  const known = new Set(detectors.flatMap(({ causes }) => causes));
  known.delete('unknown');
  t.same(
    catalogue.filter(({ detector }) => detector !== undefined).map(({ id }) => id),
    [...known].sort(),
  );
  t.same(
    catalogue.map(({ id }) => id),
    catalogue.map(({ id }) => id).sort(),
  );
  for (const { id, detector, proof, recognised } of catalogue) {
    t.equal(detector === undefined, proof === 'none', `${id}: what nothing recognises has no test`);
    t.equal(detector === undefined, recognised === '', `${id}: and nothing is said of how`);
    for (const file of detector?.split(', ') ?? []) t.ok(existsSync(join(root, 'collector/causes', file)), `${id}: ${file} is there`);
  }
  t.end();
});

t.test('every cause is named in the tests that its row rests on', (t) => {
  const texts = Object.fromEntries(Object.entries(proofTests).map(([proof, patterns]) => [proof, textOf(patterns)]));
  for (const { id, proof } of catalogue) if (proof !== 'none') t.ok(new RegExp(`\\b${id}\\b`).test(texts[proof] as string), `${id}: ${proof}`);
  t.end();
});

t.test('docs/causes.md is the catalogue', (t) => {
  golden(t, join(root, 'docs/causes.md'), catalogueText());
  t.end();
});

function textOf(patterns: readonly string[]): string {
  const files = patterns.flatMap((pattern) => globSync(pattern, { cwd: root })).filter((file) => !file.endsWith('catalogue.test.ts'));
  return files.map((file) => readFileSync(join(root, file), 'utf8')).join('\n');
}
