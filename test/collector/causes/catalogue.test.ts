import { join } from 'node:path';
import t from 'tap';
import { catalogue, catalogueText } from '../../../collector/causes/catalogue.ts';
import { detectors } from '../../../collector/causes/index.ts';
import { golden } from '../../support/golden.ts';

t.test('the catalogue holds the causes of the detectors and no others, in order', (t) => {
  const known = new Set(detectors.flatMap(({ causes }) => causes));
  known.delete('unknown');
  t.same(
    catalogue.map(({ id }) => id),
    [...known].sort(),
  );
  t.end();
});

t.test('docs/causes.md is the catalogue', (t) => {
  golden(t, join(import.meta.dirname, '../../../docs/causes.md'), catalogueText());
  t.end();
});
