// What each of the four witnesses says of a NodePort: rules, their counters, the kernel's drops, and probes. Pure.
import type { Explanation } from '../../explain/explain.ts';

export interface Witness {
  readonly name: 'Rules' | 'Counters' | 'Kernel' | 'Probes';
  /** What it looks at, for who does not know it. */
  readonly of: string;
  /** Sentences, most important first; empty where it has not spoken. */
  readonly says: readonly string[];
  /** Why it may not have spoken. */
  readonly silence: string;
}

/** In the order in which they are believed: what must happen, what was counted, what the kernel did, what a client met. */
export function witnessesOf({ seenBy, findings }: Pick<Explanation, 'seenBy' | 'findings'>): Witness[] {
  return list.map(({ name, of, words, silence }) => {
    const evidence = findings.flatMap((finding) => finding.evidence.filter(({ witness }) => words.includes(witness)).map(({ text }) => text));
    const seen = seenBy.flatMap((text) => words.flatMap((word) => (text.startsWith(`${word}: `) ? [text.slice(word.length + 2)] : [])));
    return { name, of, says: distinct([...seen, ...evidence]), silence };
  });
}

const list: readonly (Omit<Witness, 'says'> & { readonly words: readonly string[] })[] = [
  { name: 'Rules', of: "the walk through the node's ruleset", words: ['rules'], silence: 'No rule is named.' },
  {
    name: 'Counters',
    of: 'packets that the rules have counted',
    words: ['counters', 'counter'],
    silence: 'No packet was counted, or the rules hold no counters.',
  },
  { name: 'Kernel', of: 'packets that the kernel was seen to drop', words: ['kernel'], silence: 'The kernel was not seen to drop a packet of it.' },
  { name: 'Probes', of: 'connections that were tried', words: ['probes', 'probe'], silence: 'No probe has asked.' },
];

/** A sentence that begins like another says no more than that: the longer one stays. */
function distinct(texts: readonly string[]): string[] {
  const plain = (text: string): string => text.replace(/\.$/, '');
  return texts.filter(
    (text, at) => !texts.some((other, index) => index !== at && plain(other).startsWith(plain(text)) && (plain(other) !== plain(text) || index < at)),
  );
}
