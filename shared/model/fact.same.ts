// Tells whether two facts say the same, so that only news is sent and kept.

/** Whether two facts say the same. Packet counts inside are evidence that moves all the time, and no difference. */
export function sameFact(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const [left, right] = [a as Record<string, unknown>, b as Record<string, unknown>];
  const keys = Object.keys(left).filter(decides);
  return keys.length === Object.keys(right).filter(decides).length && keys.every((key) => Object.hasOwn(right, key) && sameFact(left[key], right[key]));
}

const decides = (key: string): boolean => key !== 'packets';
