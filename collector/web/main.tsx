// Begins the page: the theme before anything is drawn, then the frame with the view of the address.
import { render } from 'preact';
import { App } from './shell/app.tsx';
import { applyTheme } from './shell/theme.ts';

applyTheme();
const root = document.getElementById('page');
if (root !== null) {
  root.textContent = '';
  render(<App />, root);
}
