// Reads the capabilities that a process holds from /proc/PID/status.

/** Numbers of capabilities(7), of those that some source needs. */
const numbers: Readonly<Record<string, number>> = {
  CAP_DAC_OVERRIDE: 1,
  CAP_DAC_READ_SEARCH: 2,
  CAP_NET_ADMIN: 12,
  CAP_NET_RAW: 13,
  CAP_SYS_PTRACE: 19,
  CAP_SYS_ADMIN: 21,
  CAP_PERFMON: 38,
  CAP_BPF: 39,
};

/** Names of the effective capabilities, as far as they are known here; undefined when the text does not say. */
export function heldCapabilities(status: string): ReadonlySet<string> | undefined {
  const found = /^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1];
  if (found === undefined) return undefined;
  const mask = BigInt(`0x${found}`);
  // Who may write past permissions may read past them too.
  const held = Object.entries(numbers).filter(([, number]) => (mask >> BigInt(number)) & 1n);
  const names = held.map(([name]) => name);
  return new Set(names.includes('CAP_DAC_OVERRIDE') ? [...names, 'CAP_DAC_READ_SEARCH'] : names);
}
