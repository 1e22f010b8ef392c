// The ConfigMap that kube-proxy reads its configuration from, as kubeadm and its kin write it; of other ConfigMaps nothing but the name is kept.
import { parse } from 'yaml';
import { reasonOf } from '../../shared/errors.ts';
import type { ConfigMap, ProxySettings } from './objects.ts';
import { given, type Issue, managersOf, optionalText, type Raw, type RawObject, record, texts } from './raw.ts';

export function readConfigMap({ value, metadata, namespace, name, issue, share }: RawObject): ConfigMap {
  const data = record(value.data);
  // kubeadm writes config.conf, EKS config.
  const source = name.startsWith('kube-proxy') ? (optionalText(data['config.conf']) ?? optionalText(data.config)) : undefined;
  const settings = source === undefined ? undefined : settingsOf(source, issue);
  return { namespace, name, ...given('proxy', settings), managers: managersOf(metadata, share) };
}

function settingsOf(source: string, issue: Issue): ProxySettings | undefined {
  try {
    const raw = record(parse(source, { maxAliasCount: 100 }));
    if (raw.kind !== undefined && raw.kind !== 'KubeProxyConfiguration') issue(`its configuration is of kind ${String(raw.kind)}, not KubeProxyConfiguration`);
    return readSettings(raw);
  } catch (error) {
    issue(`its configuration cannot be read: ${reasonOf(error).split('\n')[0] ?? ''}`);
    return undefined;
  }
}

function readSettings(raw: Raw): ProxySettings {
  // Of the sections for each mode, that of the mode counts; ipvs goes by that of section.
  const section = record(raw.mode === 'nftables' ? raw.nftables : raw.iptables);
  const gates = Object.entries(record(raw.featureGates)).filter((entry): entry is [string, boolean] => typeof entry[1] === 'boolean');
  return {
    ...given('mode', optionalText(raw.mode)),
    ...given('clusterCIDR', optionalText(raw.clusterCIDR)),
    ...given('detectLocalMode', optionalText(raw.detectLocalMode)),
    ...given('hostnameOverride', optionalText(raw.hostnameOverride)),
    ...given('masqueradeAll', typeof section.masqueradeAll === 'boolean' ? section.masqueradeAll : undefined),
    ...given('localhostNodePorts', typeof section.localhostNodePorts === 'boolean' ? section.localhostNodePorts : undefined),
    ...given('syncPeriod', optionalText(section.syncPeriod)),
    ...given('minSyncPeriod', optionalText(section.minSyncPeriod)),
    nodePortAddresses: texts(raw.nodePortAddresses),
    featureGates: Object.fromEntries(gates),
  };
}
