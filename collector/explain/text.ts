// An explanation as text for a terminal: the paragraph, the walk, and labelled lines, no line longer than a wide terminal.
import { styleText } from 'node:util';
import { printable } from '../causes/remedy.ts';
import type { Explanation } from './explain.ts';
import type { WalkStep } from './walk-steps.ts';

export interface TextOptions {
  /** Colour by ANSI codes; without it plain text. */
  readonly colour?: boolean;
}

/** Columns of the longest line; commands to copy are never broken. */
const columns = 160;

/** Prints an explanation; ends in a newline. */
export function explanationText(explanation: Explanation, options: TextOptions = {}): string {
  const paint = painter(options.colour === true);
  const { walk, cause, who, seenBy, notIt, fix, kind } = explanation;
  const [start = ''] = [explanation.summary];
  const unlabelled = kind === 'by-design' || kind === 'healthy' || cause === undefined || cause.cause === 'unknown';
  const blocks = [
    wrapped(start, '', paint(colours[kind])),
    walk.length === 0 ? [] : ['', `  client → ${explanation.node}:${explanation.port}`, ...walkLines(walk)],
    [
      ...(unlabelled ? [] : ['', ...labelled('Cause', `${cause.cause}  ${cause.title}   ${cause.confidence}`)]),
      ...(who === undefined ? [] : labelled('Who', who)),
    ],
    [...(unlabelled ? [''] : []), ...labelled('Seen by', seenBy.join(' · ')), ...labelled('Not it', notIt.join(' · '))],
    fix.flatMap((command, index) => [`  ${(index === 0 ? 'Fix' : '').padEnd(labelWidth)}${printable(command)}`]),
    others(explanation),
  ];
  return `${blocks
    .flat()
    .filter((line, index, all) => line !== '' || (all[index - 1] !== '' && index < all.length - 1))
    .join('\n')}\n`;
}

const labelWidth = 9;

const colours: Readonly<Record<Explanation['kind'], 'red' | 'green' | 'yellow' | 'cyan'>> = {
  faulty: 'red',
  'by-design': 'cyan',
  healthy: 'green',
  unknown: 'yellow',
  none: 'yellow',
};

type Paint = (text: string) => string;
const painter =
  (colour: boolean) =>
  (name: 'red' | 'green' | 'yellow' | 'cyan'): Paint =>
  (text) =>
    colour ? styleText(name, text, { validateStream: false }) : text;

function labelled(label: string, text: string): string[] {
  if (text === '') return [];
  return wrapped(text, ' '.repeat(labelWidth + 2)).map((line, index) => (index === 0 ? `  ${label.padEnd(labelWidth)}${line.trimStart()}` : line));
}

function walkLines(walk: readonly WalkStep[]): string[] {
  const hookWidth = Math.max(...walk.map(({ hook }) => hook.length));
  const tableWidth = Math.max(...walk.map(({ table }) => table.length));
  return walk.map(({ hook, table, text, decides, packets }) => {
    const mark = decides ? `   ◄ decides${packets === undefined ? '' : `; ${packets} packet${packets === '1' ? '' : 's'} so far`}` : '';
    const start = `    ${hook.padEnd(hookWidth)}  ${table.padEnd(tableWidth)}  `;
    return `${start}${cut(text, columns - start.length - mark.length)}${mark}`;
  });
}

const cut = (raw: string, width: number): string => {
  const text = printable(raw);
  return text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1))}…`;
};

function wrapped(text: string, indent: string, paint: Paint = (line) => line): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of printable(text).split(' ')) {
    if (line !== '' && indent.length + line.length + 1 + word.length > columns) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line].map((each) => `${indent}${paint(each)}`);
}

// What else was found of this NodePort, in one line each.
function others({ findings, cause }: Explanation): string[] {
  const rest = findings.filter((finding) => finding.cause !== cause?.cause);
  return rest.flatMap((finding) => labelled('Also', `${finding.cause}  ${finding.summary}`));
}
