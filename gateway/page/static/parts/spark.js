// A spark line: one small area without axes. It shows the course of a value, and the number beside it the present one.

import { set, svg } from "../lib/element.js";

const [WIDTH, HEIGHT] = [240, 40];

export function spark() {
  const area = svg("path", { class: "area" });
  const line = svg("path", { class: "line" });
  const flags = svg("g", { class: "flags" });
  const box = { class: "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" };
  return svg("svg", box, area, line, flags);
}

// Draw values at times, from `from` to `to`. Unknown values (null) leave a gap. `marks` are times of failures.
export function drawSpark(target, { at, values, from, to, marks = [] }) {
  const [area, line, flags] = target.children;
  const x = (time) => (((time - from) / Math.max(1e-9, to - from)) * WIDTH).toFixed(1);
  const high = Math.max(1e-9, ...values.filter((value) => value != null)) * 1.08;
  const y = (value) => (HEIGHT - 1 - (value / high) * (HEIGHT - 3)).toFixed(1);
  let [path, shape, open] = ["", "", null];
  const close = (end) => {
    if (open != null) shape += `V${HEIGHT}H${x(open)}Z`;
    open = end;
  };
  for (const [place, time] of at.entries()) {
    if (values[place] == null) {
      close(null);
      continue;
    }
    const point = `${x(time)} ${y(values[place])}`;
    path += open == null ? `M${point}` : `L${point}`;
    shape += open == null ? `M${x(time)} ${HEIGHT}L${point}` : `L${point}`;
    open ??= time;
  }
  close(null);
  set(area, { d: shape || "M0 0" });
  set(line, { d: path || "M0 0" });
  flags.replaceChildren(...marks.map((time) => svg("path", { d: `M${x(time)} 0V${HEIGHT}` })));
}
