// What the agent must know of ufw's texts before they are parsed: whether it is enabled, and whether a status is one.

/** Whether /etc/ufw/ufw.conf says that ufw is to be loaded. The last assignment counts, as in a shell. */
export const isEnabled = (conf: string): boolean => [...conf.matchAll(/^\s*ENABLED\s*=\s*["']?(\w+)/gm)].at(-1)?.[1]?.toLowerCase() === 'yes';

/** Why an output cannot be that of `ufw status`; undefined when it can. ufw speaks the language of the system if it is not told otherwise. */
export function statusFault(output: string): string | undefined {
  const first = output.trimStart().split('\n', 1)[0] ?? '';
  return /^Status: (?:in)?active\b/.test(first) ? undefined : `it prints what is no status of ufw: ${JSON.stringify(first.slice(0, 80))}`;
}
