// Makes the client's types from the OpenAPI document: an interface for each model, and what each operation takes and answers. Pure; "make client" writes them.
import type { Document, Operation, Schema } from './docs.ts';

/** The text of collector/api/client.types.ts. */
export function clientTypes({ paths, components }: Document): string {
  const models = Object.entries(components?.schemas ?? {}).map(
    ([name, schema]) => `${comment(schema.description)}export interface ${name} ${fields(schema, '')}\n`,
  );
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => operationText(path, method, operation)),
  );
  return `// What the collector's API takes and answers. Made from its OpenAPI document by "make client"; test/collector/api/client.test.ts holds it to that.

${models.join('\n')}
/** Every operation by method and path below /api/v1. */
export interface Operations {
${operations.join('')}}
`;
}

const base = '/api/v1';

function operationText(path: string, method: string, { summary, parameters = [], requestBody, responses = {} }: Operation): string {
  const given = (where: string): string => {
    const own = parameters.filter((parameter) => parameter.in === where);
    return own.length === 0
      ? 'undefined'
      : `{ ${own.map(({ name, required, schema }) => `readonly ${quoted(name)}${required === true ? '' : '?'}: ${typeText(schema, '    ')}${required === true ? '' : ' | undefined'}`).join('; ')} }`;
  };
  const body = Object.values(requestBody?.content ?? {})[0]?.schema;
  const answer = Object.values(responses['200']?.content ?? {})[0]?.schema;
  return `${comment(summary, '  ')}  '${method.toUpperCase()} ${path.replace(base, '')}': {
    readonly path: ${given('path')};
    readonly query: ${given('query')};
    readonly body: ${body === undefined ? 'undefined' : typeText(body, '    ')};
    readonly answer: ${answer === undefined ? 'unknown' : typeText(answer, '    ')};
  };
`;
}

function fields({ properties = {}, required = [], additionalProperties }: Schema, indent: string): string {
  const lines = Object.entries(properties).map(([name, schema]) => {
    const isRequired = required.includes(name);
    return `${comment(schema.description, `${indent}  `)}${indent}  readonly ${quoted(name)}${isRequired ? '' : '?'}: ${typeText(schema, `${indent}  `)};\n`;
  });
  const open = additionalProperties === true ? `${indent}  readonly [name: string]: unknown;\n` : '';
  return `{\n${lines.join('')}${open}${indent}}`;
}

function typeText(schema: Schema, indent: string): string {
  const { $ref, type, items, enum: values, const: value, anyOf, allOf, properties, additionalProperties, patternProperties } = schema;
  if ($ref !== undefined) return $ref.split('/').at(-1) ?? 'unknown';
  if (value !== undefined) return literal(value);
  if (values !== undefined) return values.map(literal).join(' | ');
  if (anyOf !== undefined) return anyOf.map((each) => typeText(each, indent)).join(' | ');
  if (allOf !== undefined) return allOf.map((each) => typeText(each, indent)).join(' & ');
  if (type === 'array') return listText(items === undefined ? 'unknown' : typeText(items, indent));
  if (type === 'object' || properties !== undefined) {
    const valued = patternProperties === undefined ? additionalProperties : Object.values(patternProperties)[0];
    if (typeof valued === 'object' && properties === undefined) return `Readonly<Record<string, ${typeText(valued, indent)}>>`;
    return Object.keys(properties ?? {}).length === 0 ? 'Readonly<Record<string, unknown>>' : fields(schema, indent);
  }
  return plain[type ?? ''] ?? 'unknown';
}

const listText = (item: string): string => (/[|&]/.test(item) && !item.startsWith('{') ? `readonly (${item})[]` : `readonly ${item}[]`);
const plain: Readonly<Record<string, string>> = { string: 'string', number: 'number', integer: 'number', boolean: 'boolean', null: 'null' };
const literal = (value: unknown): string => (typeof value === 'string' ? `'${value.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'` : JSON.stringify(value));
const quoted = (name: string): string => (/^[A-Za-z_]\w*$/.test(name) ? name : `'${name}'`);
const comment = (text: string | undefined, indent = ''): string =>
  text === undefined || text === '' ? '' : `${indent}/** ${text.replaceAll('*/', '* /')} */\n`;
