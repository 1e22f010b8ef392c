// What keeps a tree from being released.
import t from 'tap';
import { releaseFaults, type Tree } from '../../packaging/release.check.ts';

const sound: Tree = {
  version: '1.2.3',
  others: { 'Chart.yaml': '1.2.3' },
  changelog: '# Changelog\n\n## Unreleased\n\n## 1.2.3 (2026-11-28)\n\n### Added\n\n- Something.\n\n## 1.2.2 (2026-10-01)\n\n- Less.\n',
  hasRecording: true,
  uncommitted: '',
};

const faulty: readonly { readonly name: string; readonly tree: Partial<Tree>; readonly says: RegExp }[] = [
  { name: 'another version elsewhere', tree: { others: { 'Chart.yaml': '1.2.2' } }, says: /^Chart\.yaml says 1\.2\.2, package\.json 1\.2\.3$/ },
  {
    name: 'no section in the changelog',
    tree: { changelog: '# Changelog\n\n## Unreleased\n\n- Something.\n' },
    says: /no section "## 1\.2\.3 \(YYYY-MM-DD\)"/,
  },
  { name: 'an empty section', tree: { changelog: '## 1.2.3 (2026-11-28)\n\n## 1.2.2 (2026-10-01)\n\n- Less.\n' }, says: /says nothing of 1\.2\.3/ },
  {
    name: 'something left over',
    tree: { changelog: sound.changelog.replace('## Unreleased\n', '## Unreleased\n\n- More.\n') },
    says: /still has something under "Unreleased"/,
  },
  { name: 'no recording', tree: { hasRecording: false }, says: /no session of 1\.2 is recorded/ },
  { name: 'changes', tree: { uncommitted: ' M a\n?? b\n' }, says: /^not committed: 2 files$/ },
  { name: 'no version', tree: { version: '1.2', others: {} }, says: /1\.2 is no version/ },
];

t.test('a sound tree is released', async (t) => t.same(releaseFaults(sound), []));

for (const { name, tree, says } of faulty)
  t.test(name, async (t) => {
    const faults = releaseFaults({ ...sound, ...tree });
    t.ok(
      faults.some((fault) => says.test(fault)),
      String(says),
      { faults },
    );
  });
