// A real Chromium for the tests of the page: starts it, watches what a page complains of, asks axe-core, and takes pictures on request.
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { delimiter, join } from 'node:path';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';

/** Where Debian and others put it; undefined where there is none. */
const executable = [
  ...(process.env.CHROMIUM === undefined ? [] : [process.env.CHROMIUM]),
  ...(process.env.PATH ?? '').split(delimiter).map((directory) => join(directory, 'chromium')),
].find((path) => existsSync(path));

/** What keeps the page from being tested here, as a sentence; undefined when nothing does. */
export function browserObstacle(): string | undefined {
  if (executable === undefined) return 'chromium is not installed (apt-get install chromium, or CHROMIUM=/path/to/it)';
  return existsSync(new URL('../../dist/web/index.html', import.meta.url)) ? undefined : 'the page is not built: run "make web"';
}

/** A browser without a sandbox of its own: tests run as root, and it sees nothing but our own page. */
export const startBrowser = (): Promise<Browser> =>
  chromium.launch({ ...(executable === undefined ? {} : { executablePath: executable }), args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'] });

export interface Watched {
  readonly page: Page;
  /** Errors of scripts, refusals by the content policy, requests to others: whatever a page should never have. */
  readonly complaints: string[];
}

/** A page that is watched from its first request on. */
export async function openPage(browser: Browser, address: string, options: BrowserContextOptions = {}): Promise<Watched> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, timezoneId: 'UTC', ...options });
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on('pageerror', (error) => complaints.push(`error: ${error.message}`));
  page.on('console', (message) => {
    // What the API refuses is a test's own doing; the browser writes it down all the same.
    if (message.type() === 'error' && !/status of (?:40[134]|502)/.test(message.text())) complaints.push(`console: ${message.text()}`);
  });
  page.on('dialog', (dialog) => {
    complaints.push(`dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  page.on('request', (request) => {
    if (!request.url().startsWith(address) && !request.url().startsWith('data:')) complaints.push(`request: ${request.url()}`);
  });
  return { page, complaints };
}

const axeSource = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** What axe-core finds that is serious or worse: the rule, and where. */
export async function accessibilityFaults(page: Page): Promise<readonly string[]> {
  await page.evaluate(axeSource);
  const found = await page.evaluate(async () => {
    const axe = (globalThis as unknown as { axe: { run: (options: object) => Promise<{ violations: readonly Violation[] }> } }).axe;
    interface Violation {
      readonly id: string;
      readonly impact: string;
      readonly nodes: readonly { readonly html: string; readonly failureSummary: string }[];
    }
    const { violations } = await axe.run({ resultTypes: ['violations'] });
    return violations.map(({ id, impact, nodes }) => ({
      id,
      impact,
      where: nodes.map(({ html, failureSummary }) => `${html.slice(0, 160)} ${failureSummary}`),
    }));
  });
  return found.filter(({ impact }) => impact === 'serious' || impact === 'critical').flatMap(({ id, where }) => where.map((text) => `${id}: ${text}`));
}

const pictures = new URL('../../docs/screenshots/', import.meta.url).pathname;

/** With UPDATE_SCREENSHOTS=1, writes docs/screenshots/NAME.png; `height` is that of the picture, where the page's own is too small. */
export async function picture(page: Page, name: string, height?: number): Promise<void> {
  if (process.env.UPDATE_SCREENSHOTS !== '1') return;
  mkdirSync(pictures, { recursive: true });
  const usual = page.viewportSize();
  if (height !== undefined && usual !== null) await page.setViewportSize({ width: usual.width, height });
  await page.screenshot({ path: join(pictures, `${name}.png`), animations: 'disabled' });
  if (height !== undefined && usual !== null) await page.setViewportSize(usual);
}
