// The bill of materials of an image in the form of CycloneDX 1.5: packages of npm (as npm tells them), of Debian, and Node.js.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import manifest from '../package.json' with { type: 'json' };
import type { DebianPackage } from './debian-root.ts';
import { root, sourceDateEpoch, version } from './release.ts';

export interface BillOptions {
  readonly name: string;
  readonly packages: readonly DebianPackage[];
  /** The agent is bundled with few of the packages, the collector with all that are not for development. */
  readonly side: 'agent' | 'collector';
}

interface Component {
  readonly type: string;
  readonly name: string;
  readonly version: string;
  readonly purl: string;
  readonly 'bom-ref': string;
  readonly licenses?: readonly object[];
}

/** Packages of npm that the agent's bundle draws in by the packages that it imports; the collector's are all that are not for development. */
const agentPackages = ['dbus-native', 'execa', 'pino', 'systeminformation', 'typebox', 'ws', 'yaml'];

/** As text; the same for the same input. */
export function billOfMaterials({ name, packages, side }: BillOptions): string {
  const components = [...npmComponents(side), nodeComponent(), ...packages.map(debianComponent)].sort((a, b) => (a['bom-ref'] < b['bom-ref'] ? -1 : 1));
  const hash = createHash('sha256').update(JSON.stringify(components)).digest('hex');
  // Named by its content, as serial numbers that are drawn would differ from one build to the next.
  const serialNumber = `urn:uuid:${hash.slice(0, 8)}-${hash.slice(8, 12)}-5${hash.slice(13, 16)}-a${hash.slice(17, 20)}-${hash.slice(20, 32)}`;
  const metadata = {
    timestamp: new Date(sourceDateEpoch() * 1000).toISOString(),
    component: { type: 'container', name, version, 'bom-ref': `pkg:oci/${name}@${version}`, licenses: [{ license: { id: 'Apache-2.0' } }] },
  };
  return `${JSON.stringify({ $schema: 'http://cyclonedx.org/schema/bom-1.5.schema.json', bomFormat: 'CycloneDX', specVersion: '1.5', serialNumber, version: 1, metadata, components }, null, 1)}\n`;
}

interface NpmBill {
  readonly components: readonly (Component & { readonly externalReferences?: unknown })[];
  readonly dependencies: readonly { readonly ref: string; readonly dependsOn: readonly string[] }[];
}

// All packages are asked for, and those that are drawn in are found here: asked to leave out those for development, npm leaves out some that are for both.
function npmComponents(side: BillOptions['side']): readonly Component[] {
  const told = execFileSync('npm', ['sbom', '--sbom-format=cyclonedx', '--package-lock-only'], {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const bill = JSON.parse(told) as NpmBill;
  const kept = drawnIn(bill, side === 'agent' ? agentPackages : Object.keys(manifest.dependencies));
  return bill.components
    .filter((component) => kept.has(component['bom-ref']))
    .map(({ type, name, version: its, purl, licenses }) => ({
      type,
      name,
      version: its,
      purl,
      'bom-ref': purl,
      ...(licenses === undefined ? {} : { licenses }),
    }));
}

function drawnIn({ components, dependencies }: NpmBill, names: readonly string[]): ReadonlySet<string> {
  const next = new Map(dependencies.map(({ ref, dependsOn }) => [ref, dependsOn]));
  const own = new Set(dependencies.find(({ ref }) => ref.startsWith(`${manifest.name}@`))?.dependsOn);
  const kept = new Set<string>();
  const add = (ref: string): void => {
    if (kept.has(ref)) return;
    kept.add(ref);
    for (const each of next.get(ref) ?? []) add(each);
  };
  for (const component of components) if (own.has(component['bom-ref']) && names.includes(fullName(component))) add(component['bom-ref']);
  return kept;
}

const fullName = ({ name, purl }: Component): string => (purl.startsWith('pkg:npm/%40') && !name.startsWith('@') ? `@${name}` : name);

function nodeComponent(): Component {
  const its = process.versions.node;
  const purl = `pkg:generic/nodejs@${its}`;
  return { type: 'application', name: 'nodejs', version: its, purl, 'bom-ref': purl, licenses: [{ license: { id: 'MIT' } }] };
}

function debianComponent({ name, version: its, architecture }: DebianPackage): Component {
  const purl = `pkg:deb/debian/${name}@${encodeURIComponent(its)}?arch=${architecture}&distro=debian-12`;
  return { type: 'library', name, version: its, purl, 'bom-ref': purl };
}
