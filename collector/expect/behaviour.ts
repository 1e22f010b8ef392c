// What kube-proxy does with endpoints, release by release: what of it shows in the rules of a NodePort.
//
// After pkg/proxy/topology.go and pkg/proxy/ipvs/proxier.go of the releases named, and the feature gates that switch them.

/** How a kube-proxy chooses endpoints. */
export interface ProxyBehaviour {
  /**
   * When hints for zones count. `never`: before 1.24 (TopologyAwareHints off). `auto`: the Service's annotation says "Auto" (1.24 to 1.26). `annotated`: it says anything but
   * "Disabled" (1.27 to 1.30). `always`: whenever there are hints (from 1.31 on, with ServiceTrafficDistribution).
   */
  readonly zoneHints: 'never' | 'auto' | 'annotated' | 'always';
  /** Whether hints for nodes count (PreferSameTrafficDistribution, from 1.34 on). */
  readonly nodeHints: boolean;
  /** Whether endpoints that terminate but still serve stand in when none is ready (ProxyTerminatingEndpoints, from 1.26 on). */
  readonly terminating: boolean;
  /** IPVS: whether a Service with externalTrafficPolicy Local and no local endpoint is sent to the remote ones (from 1.24 on). */
  readonly ipvsFallback: boolean;
}

/** Feature gates that were set by hand. */
export type FeatureGates = Readonly<Record<string, boolean>>;

/** Releases of Kubernetes 1.x whose kube-proxy is known; older and newer ones are taken for the nearest. */
export const oldestRelease = 23;
export const newestRelease = 35;

/** The behaviour of kube-proxy 1.`release`. */
export function behaviourOf(release: number, gates: FeatureGates = {}): ProxyBehaviour {
  const on = (gate: string, from: number): boolean => gates[gate] ?? release >= from;
  const hints = on('TopologyAwareHints', 24);
  const distributed = release >= 30 && on('ServiceTrafficDistribution', 31);
  return {
    zoneHints: !hints ? 'never' : distributed ? 'always' : release >= 27 ? 'annotated' : 'auto',
    nodeHints: release >= 33 && on('PreferSameTrafficDistribution', 34),
    terminating: on('ProxyTerminatingEndpoints', 26),
    ipvsFallback: release >= 24,
  };
}

/** Every behaviour that some release has by default, the newest first. */
export const knownBehaviours: readonly ProxyBehaviour[] = distinct(
  Array.from({ length: newestRelease - oldestRelease + 1 }, (_, index) => behaviourOf(newestRelease - index)),
);

/** `v1.30.4+k3s1`, `registry.k8s.io/kube-proxy:v1.32.0` → 30, 32; undefined for anything else. */
export function releaseOf(version: string | undefined): number | undefined {
  const found = /(?:^|:)v?1\.(\d{1,3})(?:\.|$|[-+@])/.exec(version ?? '')?.[1];
  return found === undefined ? undefined : Number(found);
}

const annotations = ['service.kubernetes.io/topology-aware-hints', 'service.kubernetes.io/topology-mode'] as const;

/** Whether kube-proxy looks at the hints for zones in the slices of a Service with these annotations. */
export function usesZoneHints({ zoneHints }: ProxyBehaviour, given: Readonly<Record<string, string>> = {}): boolean {
  const [older, newer] = annotations;
  switch (zoneHints) {
    case 'never':
      return false;
    case 'auto':
      return /^auto$/i.test(given[older] ?? '');
    case 'annotated':
      return !/^(disabled)?$/i.test(given[older] ?? given[newer] ?? '');
    case 'always':
      return true;
  }
}

function distinct(behaviours: readonly ProxyBehaviour[]): ProxyBehaviour[] {
  return [...new Map(behaviours.map((behaviour) => [JSON.stringify(behaviour), behaviour])).values()];
}
