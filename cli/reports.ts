// Findings in the forms that programs of continuous integration read: SARIF 2.1.0 and JUnit XML. Pure.

/** One finding of a check or lint. */
export interface Reported {
  /** Id of the cause or rule. */
  readonly rule: string;
  readonly level: 'error' | 'warning' | 'note';
  /** Stable from run to run, so that a finding is known again. */
  readonly id: string;
  /** What it is about: a node and NodePort, or a Service. */
  readonly subject: string;
  readonly text: string;
  readonly remedy: readonly string[];
  /** Where it stands, relative to what was checked. */
  readonly file?: string;
  /** From 1. */
  readonly line?: number;
}

/** https://docs.oasis-open.org/sarif/sarif/v2.1.0/; `rules` are all that there are, of which those that were met are listed. */
export function sarifText(items: readonly Reported[], rules: readonly { readonly id: string; readonly text: string }[]): string {
  const met = [...new Set(items.map(({ rule }) => rule))].sort();
  const run = {
    tool: {
      driver: {
        name: 'portreeve',
        rules: met.map((id) => ({ id, shortDescription: { text: rules.find((rule) => rule.id === id)?.text ?? id } })),
      },
    },
    results: items.map((item) => ({
      ruleId: item.rule,
      ruleIndex: met.indexOf(item.rule),
      level: item.level,
      message: { text: [`${item.subject}: ${item.text}`, ...item.remedy].join('\n') },
      partialFingerprints: { portreeve: item.id },
      locations: [
        {
          ...(item.file === undefined ? {} : { physicalLocation: { artifactLocation: { uri: item.file }, region: { startLine: item.line ?? 1 } } }),
          logicalLocations: [{ fullyQualifiedName: item.subject }],
        },
      ],
    })),
  };
  return `${JSON.stringify({ $schema: 'https://json.schemastore.org/sarif-2.1.0.json', version: '2.1.0', runs: [run] }, null, 2)}\n`;
}

/** A test case for each finding, failed unless it is a note; one that passed where there is none. `checked`: how many things were looked at. */
export function junitText(suite: string, items: readonly Reported[], checked: number): string {
  const failures = items.filter(({ level }) => level !== 'note').length;
  const cases = items.map(({ rule, level, subject, text, remedy, file, line }) => {
    const body = [text, ...remedy].join('\n');
    const place = file === undefined ? '' : ` file="${xml(file)}"${line === undefined ? '' : ` line="${line}"`}`;
    const inner = level === 'note' ? `<system-out>${xml(body)}</system-out>` : `<failure type="${level}" message="${xml(text)}">${xml(body)}</failure>`;
    return `    <testcase classname="${xml(rule)}" name="${xml(subject)}"${place}>${inner}</testcase>\n`;
  });
  const all = cases.length > 0 ? cases : [`    <testcase classname="${xml(suite)}" name="${checked} checked, nothing is wrong"/>\n`];
  return `<?xml version="1.0" encoding="UTF-8"?>
<testsuites tests="${all.length}" failures="${failures}">
  <testsuite name="${xml(suite)}" tests="${all.length}" failures="${failures}">
${all.join('')}  </testsuite>
</testsuites>
`;
}

// Characters that XML 1.0 cannot hold at all are shown as what they are not: they come from rules and names of others.
const xml = (text: string): string =>
  text
    .toWellFormed()
    .replaceAll(/[^\t\n\r\u0020-\u007e\u00a0-\ufffd\u{10000}-\u{10ffff}]/gu, '\ufffd')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll('\n', '&#10;');
