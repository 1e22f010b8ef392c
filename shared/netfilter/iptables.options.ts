// What an entry of the lists of matches and targets is: options with the number of their values, and a reader to typed steps.
import type { Family } from '../model/address.ts';
import type { Place } from './iptables.places.ts';
import type { Condition, Step } from './rule.ts';

/** An option as it stands in a rule, by its canonical name. */
export interface GivenOption {
  readonly name: string;
  readonly negate: boolean;
  readonly values: readonly string[];
}

export interface DecodeContext {
  readonly family: Family;
  /** Whether the rule's table has a chain of this name. `at`: where the name stands, if that is known. */
  isChain(name: string, at?: Place): boolean;
}

/** The options of an entry → how many values follow. */
export type Arities = ReadonlyMap<string, number>;

export interface MatchModule {
  readonly options: Arities;
  /** Conditions of all options given behind one `-m`, in order; undefined for values that cannot be read. */
  read(given: readonly GivenOption[], context: DecodeContext): readonly Condition[] | undefined;
}

export interface Target {
  readonly options: Arities;
  /** undefined for values that cannot be read. */
  read(given: readonly GivenOption[], context: DecodeContext): readonly Step[] | undefined;
}

/** Reads one option by itself. */
export type OptionReader = (given: GivenOption, context: DecodeContext) => readonly Condition[] | undefined;

/** Lists options in short: `--name` without value, `--name:1` with one. */
export function arities(list: string): Arities {
  return new Map(
    list
      .split(' ')
      .filter((item) => item !== '')
      .map((item): [string, number] => {
        const [name, count] = item.split(':') as [string, string?];
        return [name, Number(count ?? 0)];
      }),
  );
}

/** A module whose options are judged one by one: `{ '--dport:1': reader }`. */
export function optionByOption(readers: Readonly<Record<string, OptionReader>>): MatchModule {
  const options = arities(Object.keys(readers).join(' '));
  const byName = new Map(Object.entries(readers).map(([item, reader]) => [item.split(':')[0] as string, reader]));
  return {
    options,
    read(given, context) {
      const conditions: Condition[] = [];
      for (const option of given) {
        const read = byName.get(option.name)?.(option, context);
        if (read === undefined) return undefined;
        conditions.push(...read);
      }
      return conditions;
    },
  };
}

/** A module that is understood but cannot be judged from rules and packet alone. */
export function undecidable(module: string, reason: string, options = ''): MatchModule {
  const step: Condition = { kind: 'may', module, reason };
  return { options: arities(options), read: () => [step] };
}

/** The option of this name, if it was given. */
export function optionOf(given: readonly GivenOption[], name: string): GivenOption | undefined {
  return given.find((option) => option.name === name);
}

/** The first value of the option of this name. */
export function firstValue(given: readonly GivenOption[], name: string): string | undefined {
  return optionOf(given, name)?.values[0];
}
