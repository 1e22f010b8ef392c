// Begins the page in the document of the collector that serves it.
import { render } from 'preact';
import { App } from './shell/app.tsx';
import { applyTheme } from './shell/theme.ts';

applyTheme();
const root = document.getElementById('page');
if (root !== null) {
  root.textContent = '';
  render(<App />, root);
}
