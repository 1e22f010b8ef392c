// Says what keeps a tree from being released: `node packaging/release.check.ts` prints a line for each and ends with 1. `make release` begins with it.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root, version } from './release.ts';

/** What a release is judged by. */
export interface Tree {
  /** Of package.json. */
  readonly version: string;
  /** Of package-lock.json, twice, and of Chart.yaml, twice. */
  readonly others: Readonly<Record<string, string>>;
  /** CHANGELOG.md. */
  readonly changelog: string;
  /** Names of recorded sessions, without `.ndjson`. */
  readonly hasRecording: boolean;
  /** `git status --porcelain`. */
  readonly uncommitted: string;
}

/** Sentences that say what is wrong; none when the tree may be released. */
export function releaseFaults({ version: its, others, changelog, hasRecording, uncommitted }: Tree): readonly string[] {
  const differing = Object.entries(others).filter(([, other]) => other !== its);
  const section = new RegExp(`^## ${its.replaceAll('.', '\\.')} \\((\\d{4}-\\d{2}-\\d{2})\\)\\n+([\\s\\S]*?)(?=^## |$(?![\\s\\S]))`, 'm').exec(changelog);
  const unreleased = /^## Unreleased\n+([\s\S]*?)(?=^## )/m.exec(changelog)?.[1]?.trim() ?? '';
  return [
    ...(/^\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?$/.test(its) ? [] : [`package.json: ${its} is no version of Semantic Versioning`]),
    ...differing.map(([place, other]) => `${place} says ${other}, package.json ${its}`),
    ...(section === null ? [`CHANGELOG.md has no section "## ${its} (YYYY-MM-DD)": give what is under "Unreleased" that name`] : []),
    ...(section !== null && section[2]?.trim() === '' ? [`CHANGELOG.md says nothing of ${its}`] : []),
    ...(section !== null && unreleased !== '' ? ['CHANGELOG.md still has something under "Unreleased"'] : []),
    ...(hasRecording ? [] : [`no session of ${its.replace(/\.\d+$/, '')} is recorded: node test/labs/record-wire.ts`]),
    ...(uncommitted === '' ? [] : [`not committed: ${uncommitted.trim().split('\n').length} files`]),
  ];
}

if (import.meta.main) {
  const faults = releaseFaults(thisTree());
  for (const fault of faults) process.stderr.write(`make release: ${fault}\n`);
  process.exitCode = faults.length === 0 ? 0 : 1;
}

function thisTree(): Tree {
  const text = (file: string): string => readFileSync(join(root, file), 'utf8');
  const lock = JSON.parse(text('package-lock.json')) as { readonly version: string; readonly packages: Readonly<Record<string, { readonly version: string }>> };
  const chart = (name: string): string => new RegExp(`^${name}: (.*)$`, 'm').exec(text('packaging/helm/portreeve/Chart.yaml'))?.[1] ?? 'nothing';
  return {
    version,
    others: {
      'package-lock.json': lock.version,
      'package-lock.json (packages)': lock.packages['']?.version ?? 'nothing',
      'Chart.yaml (version)': chart('version'),
      'Chart.yaml (appVersion)': chart('appVersion'),
    },
    changelog: text('CHANGELOG.md'),
    hasRecording: existsSync(join(root, `test/shared/wire/recorded/${version.replace(/\.\d+$/, '')}.ndjson`)),
    uncommitted: execFileSync('git', ['status', '--porcelain'], { cwd: root, encoding: 'utf8' }),
  };
}
