// Builds the page into dist/web: one script and one style sheet with names by their content, which the collector serves.
import { build } from 'vite';

const root = new URL('../../', import.meta.url).pathname;

await build({
  root: import.meta.dirname,
  base: '/',
  configFile: false,
  envDir: false,
  publicDir: false,
  logLevel: 'warn',
  // Nothing of what was built for a page that is gone is left behind.
  build: { outDir: `${root}dist/web`, emptyOutDir: true, target: 'es2022', assetsInlineLimit: 0, modulePreload: false, reportCompressedSize: false },
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
});
