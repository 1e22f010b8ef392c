// Watches the files of firewall managers: what they write there they load, or have loaded, into the kernel.
import { watchDirectories } from '../host/watch.ts';
import type { Wake } from '../sources/source.ts';

interface ManagerFiles {
  readonly wake: Wake;
  readonly directories: readonly string[];
  /** Of the files in them; absent: all. */
  readonly names?: RegExp;
}

const managers: readonly ManagerFiles[] = [
  { wake: 'ufw', directories: ['/etc/ufw', '/etc/ufw/applications.d'] },
  { wake: 'ufw', directories: ['/etc/default'], names: /^ufw$/ },
  {
    wake: 'firewalld',
    directories: ['', '/zones', '/policies', '/services', '/ipsets', '/icmptypes', '/helpers'].map((directory) => `/etc/firewalld${directory}`),
  },
];

/** Editors write a file beside it and move it over: what has another name is of no interest. */
const scratch = /(?:^\.|~$|\.sw[a-z]$|\.tmp$|^4913$)/;

export function monitorFiles(onWake: (wake: Wake) => void): { close(): void } {
  const watches = managers.map(({ wake, directories, names }) =>
    watchDirectories({
      directories,
      onChange: (path) => {
        const name = path.slice(path.lastIndexOf('/') + 1);
        if (!scratch.test(name) && (names === undefined || names.test(name))) onWake(wake);
      },
    }),
  );
  return {
    close: () => {
      for (const each of watches) each.close();
    },
  };
}
