// Every view has an address: what an address of the page shows, and the address of what is shown. Pure.

export type Route =
  | { readonly view: 'now' }
  | { readonly view: 'chart' }
  | { readonly view: 'story'; readonly node: string; readonly port: number; readonly protocol: string }
  | { readonly view: 'finding'; readonly id: string }
  | { readonly view: 'nodes' }
  | { readonly view: 'node'; readonly node: string }
  | { readonly view: 'services' }
  | { readonly view: 'service'; readonly namespace: string; readonly name: string }
  | { readonly view: 'register' }
  | { readonly view: 'changes' }
  | { readonly view: 'gaps' }
  | { readonly view: 'none'; readonly path: string };

/** The view of a path; `none` for one that is no view. */
export function routeOf(path: string): Route {
  const parts = partsOf(path);
  const [view, first, second, third] = parts;
  switch (parts.length) {
    case 0:
      return { view: 'now' };
    case 1:
      return isPlain(view) ? { view } : { view: 'none', path };
    case 2:
      if (view === 'nodes' && first !== undefined) return { view: 'node', node: first };
      return view === 'findings' && first !== undefined ? { view: 'finding', id: first } : { view: 'none', path };
    case 3:
      return view === 'services' && first !== undefined && second !== undefined ? { view: 'service', namespace: first, name: second } : { view: 'none', path };
    case 4:
      return view === 'story' && first !== undefined && /^(tcp|udp|sctp)$/.test(third ?? '') && isPort(second)
        ? { view: 'story', node: first, port: Number(second), protocol: third as string }
        : { view: 'none', path };
    default:
      return { view: 'none', path };
  }
}

function partsOf(path: string): readonly (string | undefined)[] {
  return path.split('/').flatMap((part) => {
    if (part === '') return [];
    try {
      return [decodeURIComponent(part)];
    } catch {
      // What cannot be decoded names nothing.
      return [undefined];
    }
  });
}

const plain = ['chart', 'nodes', 'services', 'register', 'changes', 'gaps'] as const;
const isPlain = (view: string | undefined): view is (typeof plain)[number] => (plain as readonly (string | undefined)[]).includes(view);
const isPort = (text: string | undefined): boolean => /^\d{1,5}$/.test(text ?? '') && Number(text) >= 1 && Number(text) <= 65_535;

/** The path of a view. */
export function pathOf(route: Route): string {
  switch (route.view) {
    case 'now':
      return '/';
    case 'story':
      return `/story/${encodeURIComponent(route.node)}/${route.port}/${route.protocol}`;
    case 'finding':
      return `/findings/${encodeURIComponent(route.id)}`;
    case 'node':
      return `/nodes/${encodeURIComponent(route.node)}`;
    case 'service':
      return `/services/${encodeURIComponent(route.namespace)}/${encodeURIComponent(route.name)}`;
    case 'none':
      return route.path;
    default:
      return `/${route.view}`;
  }
}

/** The views that are always one step away, in order. */
export const mainViews = [
  { view: 'now', title: 'Now' },
  { view: 'chart', title: 'Chart' },
  { view: 'nodes', title: 'Nodes' },
  { view: 'services', title: 'Services' },
  { view: 'register', title: 'Register' },
  { view: 'changes', title: 'Changes' },
  { view: 'gaps', title: 'Gaps' },
] as const satisfies readonly { readonly view: Route['view']; readonly title: string }[];

/** Which of them a route belongs to. */
export function mainViewOf({ view }: Route): (typeof mainViews)[number]['view'] | undefined {
  if (view === 'node') return 'nodes';
  if (view === 'service') return 'services';
  if (view === 'story' || view === 'finding') return 'now';
  return view === 'none' ? undefined : view;
}
