// Renders the Helm chart with Go's template engine and Sprig, which Helm is made of (test/labs/chart/render.go), and reads what it renders.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, renameSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { root } from '../../packaging/release.ts';

const source = join(root, 'test/labs/chart/render.go');
const program = join(root, 'dist/render-chart');
export const chart = join(root, 'packaging/helm/portreeve');

// biome-ignore lint/suspicious/noExplicitAny: manifests are looked at as the YAML they are.
export type Manifest = any;

/** Builds the renderer, once. What keeps it from being built, as a sentence; undefined when it is there. */
export function rendererObstacle(): string | undefined {
  if (existsSync(program)) return undefined;
  const go = ['/usr/lib/go-1.19/bin/go', '/usr/bin/go'].find((path) => existsSync(path));
  if (go === undefined) return 'Go is not installed (golang-1.19-go)';
  if (!existsSync('/usr/share/gocode/src/github.com/Masterminds/sprig')) return 'Sprig is not installed (golang-github-masterminds-sprig-dev)';
  if (!existsSync('/usr/share/gocode/src/sigs.k8s.io/yaml')) return "Go's YAML for Kubernetes is not installed (golang-k8s-sigs-yaml-dev)";
  mkdirSync(join(root, 'dist'), { recursive: true });
  const env = { ...process.env, GO111MODULE: 'off', GOPATH: '/usr/share/gocode', GOCACHE: join(tmpdir(), 'portreeve-go-cache') };
  const made = `${program}.${process.pid}`;
  const built = spawnSync(go, ['build', '-o', made, source], { env, encoding: 'utf8' });
  if (built.status !== 0) throw new Error(built.stderr);
  renameSync(made, program);
  return undefined;
}

/** The manifests as text, with values laid over those of the chart; throws what the templates say is wrong. */
export function render(...files: readonly string[]): string {
  const ran = spawnSync(program, [chart, ...files], { encoding: 'utf8', maxBuffer: 16 * 1024 * 1024 });
  if (ran.status !== 0) throw new Error(ran.stderr);
  return ran.stdout;
}

/** What is rendered, by file, NOTES.txt, which is for a person, left out. */
export const partsOf = (text: string): readonly string[] =>
  text.split(/^---\n# Source: /m).filter((part) => part !== '' && !part.startsWith('portreeve/templates/NOTES.txt'));

/** The same, as objects. */
export const manifestsOf = (text: string): readonly Manifest[] =>
  partsOf(text).flatMap((part) => parseAllDocuments(part.replace(/^.*\n/, '')).map((document) => document.toJS({ maxAliasCount: 0 }) as Manifest));
