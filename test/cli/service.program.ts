// A daemon that does nothing but speak to its service manager, for the test beside it: ready at once, a reload that fails the second time, an end by SIGTERM.
import { startService } from '../../cli/service.ts';

const ending = new AbortController();
process.on('SIGTERM', () => ending.abort());
const service = startService(process.env, ending.signal);
let reloads = 0;
service.onReload(() => {
  if (++reloads > 1) throw new Error('the second time it fails');
});
service.ready('doing\nnothing');
const busy = setInterval(() => {}, 1_000);
ending.signal.addEventListener('abort', () => {
  service.close();
  clearInterval(busy);
});
