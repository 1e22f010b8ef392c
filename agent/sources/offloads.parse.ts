// Keeps of `ethtool -k` the features that decide whether a checksum is right or a packet is joined with others.

const kept =
  /^(?:Features for .*:|\s*(?:rx-checksumming|tx-checksumming|tx-checksum-[\w-]+|rx-udp_tunnel-port-offload|tx-udp_tnl-[\w-]+|tcp-segmentation-offload|generic-segmentation-offload|generic-receive-offload|rx-gro-[\w-]+|tx-vlan-offload|rx-vlan-offload): (?:on|off).*)$/;

/** The lines kept, in their order; empty when the text has no features. */
export function steadyFeatures(text: string): string {
  const lines = text.split('\n').filter((line) => kept.test(line));
  return lines.length > 1 ? `${lines.join('\n')}\n` : '';
}
