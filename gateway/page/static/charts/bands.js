// The thin bands below the histogram: generations, and the times for which answers are complete.

import { svg } from "../lib/element.js";
import { least, most } from "../lib/exact.js";
import { visible } from "./bars.js";

// Heights in rem, as that of the text beside the bands.
const GENERATION = 0.63;
const COVER = 0.31;
const BETWEEN = 0.5;

// `chart` has the stream and the scale; `y` is the top of the bands and `left` where the picture begins.
export function drawBands(target, { stream, scale, width, rem }, { y, left }) {
  const [generation, cover] = [GENERATION * rem, COVER * rem];
  const made = [];
  const put = (kind, from, to, top, high) => {
    if (to <= scale.start || from >= scale.end) return;
    const x = Math.max(left, scale.x(most(from, scale.start)));
    const end = Math.min(width, scale.x(least(to, scale.end)));
    const gap = end - x > 4 ? 1 : 0;
    made.push(svg("rect", { class: kind, x, y: top, width: Math.max(1.5, end - x - gap), height: high, rx: 1.5 }));
  };
  for (const bar of visible(stream)) put(`generation ${bar.state}`, bar.start, bar.end, y, generation);
  const { coverage, missing } = stream;
  const below = y + generation + BETWEEN * rem;
  const from = coverage.completeFrom ?? scale.start;
  if (coverage.completeTo != null && coverage.completeTo > from)
    put("complete", from, coverage.completeTo, below, cover);
  for (const [, low, high] of missing) put("missing", low ?? scale.start, high ?? scale.end, below - 2, cover + 4);
  const stroke = (kind, time, top, high) => {
    if (time == null || time < scale.start || time > scale.end) return;
    made.push(svg("path", { class: kind, d: `M${scale.x(time).toFixed(1)} ${top}v${high}` }));
  };
  stroke("final", coverage.finalUntil, below - 3, cover + 6);
  stroke("watermark", stream.watermark, 0, below + cover);
  const label = (text, at) => {
    const made = svg("text", { x: left - 8, y: at, "text-anchor": "end" });
    made.textContent = text;
    return made;
  };
  target.replaceChildren(...made, label("held", y + generation - 0.5), label("complete", below + cover + 1));
}
