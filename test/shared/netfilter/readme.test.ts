// The README of the netfilter model names every match and target that the decoder knows: what is decoded without being accounted for is a claim without a test.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { matchModules } from '../../../shared/netfilter/iptables.matches.ts';
import { targets } from '../../../shared/netfilter/iptables.targets.ts';

const readme = readFileSync(join(import.meta.dirname, '../../../shared/netfilter/README.md'), 'utf8');
const tables = readme.slice(readme.indexOf('## What is modelled'), readme.indexOf('## What is out'));
const named = new Set(tables.match(/[A-Za-z][A-Za-z0-9]*/g));

t.test('matches and targets', async (t) => {
  for (const name of matchModules.keys()) t.ok(named.has(name), `the match ${name}`);
  for (const name of targets.keys()) t.ok(named.has(name), `the target ${name}`);
});

t.test('the tests that the tables name exist', async (t) => {
  const files = [...readme.matchAll(/`(test\/[a-z/.-]+\.ts)`/g)].map((found) => found[1] as string);
  t.ok(files.length >= 6);
  for (const file of files) t.doesNotThrow(() => readFileSync(join(import.meta.dirname, '../../..', file)), file);
});
