// The packet's way through hooks and chains as a drawing. The picture is read as XML, and of it only known shapes with known attributes are made: text stays text.
import { h, type VNode } from 'preact';
import { useEffect, useMemo, useRef } from 'preact/hooks';
import type { WalkGraph } from '../../../shared/netfilter/walk.graph.model.ts';
import { drawingStyle, walkSvg } from '../../../shared/netfilter/walk.svg.ts';

/** The drawing in its own size; where it is too large for the screen, what decides is in sight first. */
export function Walk({ graph, id = 'walk' }: { readonly graph: WalkGraph; readonly id?: string }) {
  const picture = useMemo(() => pictureOf(graph, id), [graph, id]);
  const place = useRef<HTMLElement>(null);
  useEffect(() => {
    const root = place.current;
    const deciding = root?.querySelector('.bar');
    if (root === null || deciding === null || deciding === undefined) return;
    const [box, own] = [deciding.getBoundingClientRect(), root.getBoundingClientRect()];
    root.scrollTop += box.top - own.top - (own.height - box.height) / 2;
  }, [graph.packet, graph.nodes.length]);
  return (
    <section ref={place} class="walk" tabIndex={0} aria-label={`The packet's way, as a drawing: ${graph.packet}`}>
      {picture}
    </section>
  );
}

// The picture's own style sheet: the page forbids styles inside of pictures, and this one is a part of the script.
const sheet = new CSSStyleSheet();
sheet.replaceSync(drawingStyle);
document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];

const elements: ReadonlySet<string> = new Set(['svg', 'g', 'rect', 'path', 'circle', 'text', 'title', 'desc']);
const attributes: ReadonlySet<string> = new Set(
  'xmlns class viewBox width height x y rx r cx cy d transform text-anchor role id aria-labelledby overflow'.split(' '),
);

function pictureOf(graph: WalkGraph, id: string): VNode | undefined {
  const document = new DOMParser().parseFromString(walkSvg(graph, { style: 'page', id: `drawing-${id}` }), 'image/svg+xml');
  return elementOf(document.documentElement);
}

function elementOf(element: Element): VNode | undefined {
  if (!elements.has(element.localName)) return undefined;
  const given = [...element.attributes].filter(({ name }) => attributes.has(name)).map(({ name, value }) => [name, value]);
  return h(element.localName, Object.fromEntries(given), [...element.childNodes].map(childOf));
}

const childOf = (node: ChildNode): VNode | string | undefined => (node instanceof Element ? elementOf(node) : (node.nodeValue ?? undefined));
