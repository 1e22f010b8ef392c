// The API's page for people: /docs, made from the OpenAPI document as plain HTML. No script, nothing from elsewhere.
import type { FastifyInstance } from 'fastify';

/** Adds /docs and its style sheet. */
export function addDocs(app: FastifyInstance): void {
  app.get('/docs', { schema: { hide: true } }, async (_request, reply) =>
    reply.type('text/html; charset=utf-8').send(docsPage(app.swagger() as unknown as Document)),
  );
  app.get('/docs/style.css', { schema: { hide: true } }, async (_request, reply) => reply.type('text/css; charset=utf-8').send(style));
}

/** As much of an OpenAPI document as the page shows. */
export interface Document {
  readonly info: { readonly title: string; readonly description?: string; readonly version: string };
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components?: { readonly schemas?: Readonly<Record<string, Schema>> };
}

export interface Operation {
  readonly operationId?: string;
  readonly summary?: string;
  readonly parameters?: readonly {
    readonly name: string;
    readonly in: string;
    readonly required?: boolean;
    readonly description?: string;
    readonly schema: Schema;
  }[];
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: Schema }>> };
  readonly responses?: Readonly<Record<string, { readonly content?: Readonly<Record<string, { readonly schema: Schema }>> }>>;
}

export interface Schema {
  readonly $ref?: string;
  readonly type?: string;
  readonly description?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly anyOf?: readonly Schema[];
  readonly allOf?: readonly Schema[];
  readonly additionalProperties?: Schema | boolean;
  readonly patternProperties?: Readonly<Record<string, Schema>>;
  readonly default?: unknown;
}

/** The page. */
export function docsPage({ info, paths, components }: Document): string {
  const operations = Object.entries(paths).flatMap(([path, methods]) => Object.entries(methods).map(([method, operation]) => ({ path, method, operation })));
  const links = operations.map(({ path, method }) => `<li><a href="#${anchor(method, path)}"><code>${method.toUpperCase()} ${html(path)}</code></a></li>`);
  const schemas = Object.entries(components?.schemas ?? {});
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${html(info.title)} API</title>
<link rel="stylesheet" href="/docs/style.css">
</head>
<body>
<header><h1>${html(info.title)} API ${html(info.version)}</h1>
<p>${html(info.description ?? '')} The document for programs is <a href="/openapi.json">/openapi.json</a>.
A token goes into the header <code>Authorization: Bearer TOKEN</code>. Errors are problem documents (RFC 9457). Lists that go on have <code>next</code>: give it as
<code>cursor</code>. Answers have an <code>ETag</code>.</p></header>
<nav aria-label="Operations"><ul>${links.join('')}</ul></nav>
<main>
${operations.map(({ path, method, operation }) => operationSection(path, method, operation)).join('\n')}
<h2 id="models">Models</h2>
${schemas.map(([name, schema]) => `<section id="model-${html(name)}"><h3>${html(name)}</h3>${paragraph(schema.description)}${fieldsTable(schema)}</section>`).join('\n')}
</main>
</body>
</html>
`;
}

function operationSection(path: string, method: string, { summary, parameters = [], requestBody, responses = {} }: Operation): string {
  const rows = parameters.map(
    ({ name, in: where, required, description, schema }) =>
      `<tr><td><code>${html(name)}</code></td><td>${html(where)}${required === true ? ', required' : ''}</td><td>${typeText(schema)}</td><td>${html(description ?? schema.description ?? '')}</td></tr>`,
  );
  const asked =
    rows.length === 0 ? '' : `<table><thead><tr><th>parameter</th><th>in</th><th>type</th><th></th></tr></thead><tbody>${rows.join('')}</tbody></table>`;
  const body = Object.values(requestBody?.content ?? {})[0]?.schema;
  const answer = Object.values(responses['200']?.content ?? {})[0]?.schema;
  return `<section id="${anchor(method, path)}">
<h2><code>${method.toUpperCase()} ${html(path)}</code></h2>
${paragraph(summary)}${asked}
${body === undefined ? '' : `<h3>Body</h3>${fieldsTable(body)}`}
${answer === undefined ? '' : `<h3>Answer</h3>${fieldsTable(answer)}`}
</section>`;
}

function fieldsTable(schema: Schema): string {
  const parts = schema.allOf ?? [schema];
  const names = parts.flatMap(({ $ref }) => ($ref === undefined ? [] : [`<p>All of ${refLink($ref)}.</p>`]));
  const rows = parts.flatMap(({ properties = {}, required = [] }) =>
    Object.entries(properties).map(
      ([name, field]) =>
        `<tr><td><code>${html(name)}</code>${required.includes(name) ? '' : ' <small>optional</small>'}</td><td>${typeText(field)}</td><td>${html(field.description ?? '')}</td></tr>`,
    ),
  );
  return `${names.join('')}${rows.length === 0 ? '' : `<table><thead><tr><th>field</th><th>type</th><th></th></tr></thead><tbody>${rows.join('')}</tbody></table>`}`;
}

function typeText(schema: Schema): string {
  const { $ref, type, items, enum: values, const: value, anyOf, additionalProperties, patternProperties, default: fallback } = schema;
  const start = fallback === undefined ? '' : `, default <code>${html(JSON.stringify(fallback))}</code>`;
  if ($ref !== undefined) return refLink($ref);
  if (value !== undefined) return `<code>${html(JSON.stringify(value))}</code>`;
  if (values !== undefined) return values.map((each) => `<code>${html(JSON.stringify(each))}</code>`).join(' or ') + start;
  if (anyOf !== undefined) return anyOf.map(typeText).join(' or ');
  if (type === 'array') return `list of ${items === undefined ? 'anything' : typeText(items)}`;
  const valued = patternProperties === undefined ? additionalProperties : Object.values(patternProperties)[0];
  if (type === 'object' && typeof valued === 'object') return `object of ${typeText(valued)}`;
  return `${html(type ?? 'anything')}${start}`;
}

const refLink = (ref: string): string => {
  const name = ref.split('/').at(-1) ?? '';
  return `<a href="#model-${html(name)}">${html(name)}</a>`;
};
const paragraph = (text: string | undefined): string => (text === undefined || text === '' ? '' : `<p>${html(text)}</p>`);
const anchor = (method: string, path: string): string => `${method}${path.replaceAll(/[^a-z0-9]+/gi, '-')}`;
const html = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');

const style = `:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 70rem; margin: 0 auto; padding: 1rem; }
nav ul { columns: 22rem; padding-left: 1rem; }
section { border-top: 1px solid color-mix(in srgb, currentColor 25%, transparent); }
table { border-collapse: collapse; display: block; overflow-x: auto; }
th, td { text-align: left; vertical-align: top; padding: .2rem .8rem .2rem 0; border-bottom: 1px solid color-mix(in srgb, currentColor 12%, transparent); }
h2 code { font-size: 1.1rem; }
a:focus-visible { outline: 2px solid; outline-offset: 2px; }
`;
