// How many findings were open and how much changed along a span of time, as a picture without axes: the ground of the time slider.
import { useEffect, useRef } from 'preact/hooks';
import UPlot from 'uplot';
import type { History } from '../model/history.ts';

interface StripProps {
  readonly history: History;
  readonly height: number;
}

export function Strip({ history, height }: StripProps) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<UPlot | undefined>(undefined);
  useEffect(() => {
    const root = place.current;
    if (root === null) return undefined;
    const make = (): void => {
      plot.current?.destroy();
      plot.current = new UPlot(optionsOf(root, height), dataOf(history), root);
    };
    make();
    const sizes = new ResizeObserver(() => plot.current?.setSize({ width: root.clientWidth, height }));
    sizes.observe(root);
    // The colours are those of the theme, which may change.
    const theme = new MutationObserver(make);
    theme.observe(document.documentElement, { attributes: true, attributeFilter: ['data-theme'] });
    return () => {
      sizes.disconnect();
      theme.disconnect();
      plot.current?.destroy();
      plot.current = undefined;
    };
  }, [height]);
  useEffect(() => plot.current?.setData(dataOf(history)), [history]);
  return <div ref={place} class="strip" aria-hidden="true" />;
}

const dataOf = ({ at, open, changes }: History): UPlot.AlignedData => [[...at], [...changes], [...open]];

function optionsOf(root: HTMLElement, height: number): UPlot.Options {
  const colour = (name: string): string => getComputedStyle(root).getPropertyValue(name).trim();
  const bars = UPlot.paths.bars?.({ size: [0.7, 8] }) as UPlot.Series.PathBuilder;
  const steps = UPlot.paths.stepped?.({ align: 1 }) as UPlot.Series.PathBuilder;
  // A few that are open must be seen beside thousands that were, and one change beside a storm.
  const scale = (): UPlot.Scale => ({ range: (_, __, max) => [0, Math.max(4, max) * 1.15] });
  return {
    width: Math.max(1, root.clientWidth),
    height,
    padding: [2, 0, 0, 0],
    legend: { show: false },
    cursor: { show: false },
    axes: [{ show: false }, { show: false }],
    scales: { x: { time: false }, changes: scale(), open: scale() },
    series: [
      {},
      { scale: 'changes', paths: bars, fill: colour('--strip-changes'), width: 0, points: { show: false } },
      { scale: 'open', paths: steps, stroke: colour('--bad'), fill: colour('--strip-open'), width: 1.5, points: { show: false } },
    ],
  };
}
