// One copy of what thousands of objects have in common: labels of the pods of one Deployment, names of nodes, lists of container ports.
import type { Share } from './raw.ts';

/** Distinct values that are remembered; then the memory is begun anew, so that values nobody uses any more are let go. */
const valuesMax = 200_000;
/** Longer texts of values are as good as never equal. */
const keyLengthMax = 4_096;

/** Makes a sharing: texts by what they say, lists and records by their JSON. What is returned must not be changed by anybody. */
export function sharing(): Share {
  let known = new Map<string, unknown>();
  return <Value>(value: Value): Value => {
    const key = keyOf(value);
    if (key === undefined || key.length > keyLengthMax) return value;
    const found = known.get(key);
    if (found !== undefined) return found as Value;
    if (known.size >= valuesMax) known = new Map();
    known.set(key, value);
    return value;
  };
}

// A text is its own key, marked so that it cannot be taken for the JSON of something else.
function keyOf(value: unknown): string | undefined {
  if (typeof value === 'string') return `"${value}`;
  return typeof value === 'object' && value !== null ? JSON.stringify(value) : undefined;
}
