// Chooses the bars that the timeline shows, and makes the patterns that fill them.

import { svg } from "./element.js";

const GONE_SHARE = 0.22; // the largest share of the picture for dropped generations

// Return the bars to draw, oldest first: the newest dropped generations, all frozen ones, and the live one.
export function visible(stream) {
  const held = [...stream.bars, ...(stream.live.start == null ? [] : [stream.live])];
  const first = held[0]?.start ?? Infinity;
  const span = held.length ? Math.max(...held.map((bar) => bar.end)) - first : Infinity;
  const near = stream.gone.filter(
    (bar) => bar.start < first && first - bar.start <= (span * GONE_SHARE) / (1 - GONE_SHARE),
  );
  const most = Math.max(3, Math.round(held.length * GONE_SHARE));
  return [...near.slice(-most), ...held].sort((one, other) => one.start - other.start);
}

export function hatches() {
  const line = (name) =>
    svg(
      "pattern",
      { id: `hatch-${name}`, width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
      svg("rect", { width: 6, height: 6, class: `hatch-ground-${name}` }),
      svg("rect", { width: 2.5, height: 6, class: `hatch-line-${name}` }),
    );
  return svg("defs", {}, line("spilled"), line("missing"));
}
