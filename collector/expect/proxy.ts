// How the kube-proxy of one node is configured, as far as it can be known: from its command line, its ConfigMap, its image and its rules.
import { type Family, parsePrefix } from '../../shared/model/address.ts';
import type { ProxyFact } from '../../shared/model/fact.ts';
import type { ClusterObjects, ProxySettings } from '../kubernetes/objects.ts';
import { behaviourOf, type FeatureGates, knownBehaviours, newestRelease, type ProxyBehaviour, releaseOf } from './behaviour.ts';

/** What is known of the node's kube-proxy configuration; everything absent is kube-proxy's default. */
export interface ProxyConfiguration {
  readonly mode?: string;
  /** `--nodeport-addresses`: prefixes, or the word `primary`. Empty or absent: every address of the node. */
  readonly nodePortAddresses?: readonly string[];
  /** Families in which it serves NodePorts at all; absent: those of the node's addresses. */
  readonly families?: readonly Family[];
  /** Minor number of its release, 1.x; absent: the newest that is known. */
  readonly release?: number;
  /** Whether the release is known for sure. Where it is not, what other releases would do is right as well. */
  readonly certain?: boolean;
  readonly featureGates?: FeatureGates;
}

/** Puts together what is known of one node's kube-proxy. `fact`: what the node itself says; absent before it has reported. */
export function proxyConfigurationOf(nodeName: string, objects: ClusterObjects, fact?: ProxyFact): ProxyConfiguration {
  const settings = settingsOf(objects);
  const flags = fact?.flags ?? {};
  const mode = fact !== undefined && fact.mode !== 'none' ? fact.mode : (flags['proxy-mode'] ?? settings?.mode);
  const addresses = flags['nodeport-addresses']?.split(',') ?? settings?.nodePortAddresses ?? [];
  const families = familiesIn(addresses);
  const gates = { ...settings?.featureGates, ...gatesOf(flags['feature-gates']) };
  return {
    ...(mode === undefined || mode === '' ? {} : { mode }),
    ...(families === undefined ? {} : { families }),
    ...releaseOn(nodeName, objects),
    featureGates: gates,
  };
}

/** The behaviour that is expected, and those that are right as well because the release is not known for sure. */
export function behavioursOf({ release, certain, featureGates }: ProxyConfiguration): {
  readonly expected: ProxyBehaviour;
  readonly others: readonly ProxyBehaviour[];
} {
  const expected = behaviourOf(release ?? newestRelease, featureGates);
  return { expected, others: certain === true ? [] : knownBehaviours };
}

function settingsOf({ configMaps }: ClusterObjects): ProxySettings | undefined {
  for (const { proxy } of configMaps.values()) if (proxy !== undefined) return proxy;
  return undefined;
}

// Prefixes of one family alone leave the other out; which addresses they hold, the rules say.
function familiesIn(addresses: readonly string[]): readonly Family[] | undefined {
  if (addresses.length === 0 || addresses.includes('primary')) return undefined;
  const families = new Set(addresses.flatMap((each) => parsePrefix(each.trim())?.family ?? []));
  return families.size === 0 ? undefined : [...families].sort();
}

// kube-proxy's image says what runs; k3s and its kin hold kube-proxy in the kubelet's own program. Any other kubelet is a good guess: they are upgraded together.
function releaseOn(nodeName: string, { nodes, proxyImages }: ClusterObjects): Pick<ProxyConfiguration, 'release' | 'certain'> {
  const image = releaseOf(proxyImages.get(nodeName));
  if (image !== undefined) return { release: image, certain: true };
  const kubelet = nodes.get(nodeName)?.kubeletVersion;
  const release = releaseOf(kubelet);
  return release === undefined ? {} : { release, certain: /\+(k3s|rke2)/.test(kubelet ?? '') };
}

function gatesOf(flag: string | undefined): FeatureGates {
  return Object.fromEntries(
    (flag ?? '').split(',').flatMap((each) => {
      const [name, value] = each.split('=');
      return name === undefined || name === '' || value === undefined ? [] : [[name.trim(), value.trim() === 'true'] as const];
    }),
  );
}
