// Tells a list of IP sets from what else a program may print.

/** Why an output cannot be that of `ipset save`; undefined when it can. */
export function saveFault(output: Buffer): string | undefined {
  const text = output.subarray(0, 256).toString('latin1');
  if (text === '') return undefined;
  if (!/^create \S+ \S+/.test(text)) return `it prints what is no list of sets: ${JSON.stringify(text.split('\n')[0]?.slice(0, 80))}`;
  return output.at(-1) === 0x0a ? undefined : 'its list ends in the middle';
}
