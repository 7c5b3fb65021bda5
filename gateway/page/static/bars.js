// Which bars the timeline shows, and the patterns that fill them.

import { svg } from "./element.js";

const GONE_SHARE = 0.22; // of the picture, at most, for what is not there any more

// What is drawn, oldest first: as much of what is gone as there is room for, what is frozen, and the live one.
export function visible(stream) {
  const held = [...stream.bars, ...(stream.live.start == null ? [] : [stream.live])];
  const first = held[0]?.start ?? Infinity;
  const span = held.length ? Math.max(...held.map((bar) => bar.end)) - first : Infinity;
  const near = stream.gone.filter((bar) => bar.start < first && first - bar.start <= (span * GONE_SHARE) / (1 - GONE_SHARE));
  const most = Math.max(3, Math.round(held.length * GONE_SHARE));
  return [...near.slice(-most), ...held].sort((one, other) => one.start - other.start);
}

export function hatches() {
  const line = (name) => svg("pattern", { id: `hatch-${name}`, width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
    svg("rect", { width: 6, height: 6, class: `hatch-ground-${name}` }), svg("rect", { width: 2.5, height: 6, class: `hatch-line-${name}` }));
  return svg("defs", {}, line("spilled"), line("missing"));
}
