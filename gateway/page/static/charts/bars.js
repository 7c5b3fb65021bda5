// Chooses the bars that the timeline shows, and makes the patterns that fill them.

import { svg } from "../lib/element.js";
import { compared, most } from "../lib/exact.js";

const GONE_SHARE = 0.22; // the largest share of the picture for dropped generations

// Return the bars to draw, oldest first: the newest dropped generations, all frozen ones, and the live one.
export function visible(stream) {
  const held = [...stream.bars, ...(stream.live.start == null ? [] : [stream.live])];
  const first = held[0]?.start;
  const share = GONE_SHARE / (1 - GONE_SHARE);
  const far = held.length ? Number(most(...held.map((bar) => bar.end)) - first) * share : Infinity;
  const near = stream.gone.filter((bar) => !held.length || (bar.start < first && Number(first - bar.start) <= far));
  const count = Math.max(3, Math.round(held.length * GONE_SHARE));
  return [...near.slice(-count), ...held].sort((one, other) => compared(one.start, other.start));
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
