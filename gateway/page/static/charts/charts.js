// Line and bar charts over time, drawn by uPlot in the page's colours, light or dark.

import { iso, now, onZone } from "../lib/zone.js";

const uPlot = window.uPlot;
const LEGEND_PX = 44;
const NARROW_PX = 420;
const POWERS = Array.from({ length: 50 }, (_, at) => 2 ** at);
const dark = matchMedia("(prefers-color-scheme: dark)");

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// Return the label of a time on the axis, as precise as the distance `step` between two marks.
function axisLabel(seconds, step) {
  const text = iso(seconds * 1000);
  return step >= 86_400 ? text.slice(0, 10) : text.slice(11, step >= 60 ? 16 : 19);
}

export class Chart {
  // `series` are [label, colour variable, format]; the x axis is seconds since 1970, in the zone of the page.
  // With `bars` each value is a bar, as wide as `set` says.
  constructor(target, label, series, { bars = false, least = 1, binary = false } = {}) {
    this.binary = binary; // marks of the y axis at powers of two, for bytes
    this.least = least; // the y axis reaches at least as high
    this.target = target;
    this.series = series;
    this.bars = bars;
    target.setAttribute("role", "img");
    target.setAttribute("aria-label", label);
    this.data = [[], ...series.map(() => [])];
    this.remake = () => this.make();
    dark.addEventListener("change", this.remake);
    this.forget = onZone(this.remake);
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(target);
    this.make();
  }

  make() {
    this.plot?.destroy();
    this.colours = ["transparent", ...this.series.map(([, name]) => colour(name))];
    const grid = { stroke: colour("--line"), width: 1 };
    const size = parseFloat(getComputedStyle(document.documentElement).fontSize);
    const axis = {
      stroke: colour("--quiet"),
      grid,
      ticks: { show: false },
      font: `${Math.round(size * 0.78)}px system-ui, sans-serif`,
    };
    const format = this.series[0][2];
    this.plot = new uPlot(
      {
        ...this.size(),
        tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), now() === "UTC" ? "Etc/UTC" : now()),
        padding: this.bars ? [null, 2 * size, null, null] : undefined, // the last label is at the end of the last bar
        cursor: { y: false, points: { size: 6 } },
        hooks: { drawAxes: [(plot) => this.drawMarks(plot)] },
        legend: { live: true, markers: { width: 0, fill: (_, at) => this.colours[at] } },
        scales: {
          x: { time: true, range: (_, low, high) => this.span(low, high) },
          y: { range: (_, _low, high) => [0, Math.max(this.least, high * 1.1)] },
        },
        axes: [
          {
            ...axis,
            space: 6 * size,
            size: 2 * size,
            values: (_, times, __, ___, step) => times.map((time) => axisLabel(time, step)),
          },
          {
            ...axis,
            size: 4.3 * size,
            incrs: this.binary ? POWERS : undefined,
            values: (_, values) => values.map((value) => format(value)),
          },
        ],
        series: [
          {
            value: (_, seconds) =>
              seconds == null
                ? ""
                : iso(seconds * 1000)
                    .replace("T", " ")
                    .slice(0, 19),
          },
          ...this.series.map(([label, name, shown]) => ({
            label,
            stroke: colour(name),
            fill: this.bars ? colour(name) : undefined,
            width: this.bars ? 0 : 2,
            paths: this.bars ? (plot, at, from, to) => this.barPaths(plot, at, from, to) : undefined,
            points: { show: false },
            value: (_, value) => (value == null ? "" : shown(value)),
          })),
        ],
      },
      this.data,
      this.target,
    );
  }

  // `marks` are [seconds, kind]: vertical lines in the colour of the kind, "bad" or "mild". `lengths` are those of the
  // bars, in seconds.
  set(data, marks = [], lengths = []) {
    this.data = data;
    this.marks = marks;
    this.lengths = lengths;
    this.plot.setData(data);
    // Without a cursor, the legend shows the newest values.
    if (this.plot.cursor.idx == null && data[0].length) this.plot.setLegend({ idx: data[0].length - 1 });
  }

  barPaths(plot, at, from, to) {
    const path = new Path2D();
    const [times, values] = [plot.data[0], plot.data[at]];
    const ground = plot.valToPos(0, "y", true);
    for (let place = from; place <= to; place += 1) {
      if (values[place] == null) continue;
      const left = plot.valToPos(times[place], "x", true);
      const wide = plot.valToPos(times[place] + (this.lengths?.[place] ?? 60), "x", true) - left;
      const top = plot.valToPos(values[place], "y", true);
      path.rect(left, top, Math.max(1, wide - (wide > 4 ? devicePixelRatio : 0)), ground - top);
    }
    return { fill: path, stroke: null, clip: null, flags: 0 };
  }

  drawMarks(plot) {
    const { ctx, bbox } = plot;
    ctx.save();
    for (const [at, kind] of this.marks ?? []) {
      if (at < plot.scales.x.min || at > plot.scales.x.max) continue;
      const x = Math.round(plot.valToPos(at, "x", true));
      ctx.fillStyle = colour(kind === "bad" ? "--bad" : "--edge");
      ctx.fillRect(x, bbox.top, Math.max(1, devicePixelRatio), bbox.height);
    }
    ctx.restore();
  }

  // Return the visible span. A bar begins at its time.
  span(low, high) {
    const starts = this.data[0];
    if (starts.length === 1) low = high = starts[0]; // for a single point uPlot would choose years
    if (!this.bars) return [Math.min(low, high - 60), high]; // at least a minute, otherwise the axis repeats its labels
    return [low, high + (this.lengths?.at(-1) ?? 60)];
  }

  resize() {
    const size = this.size();
    if (Math.abs(size.width - this.plot.width) + Math.abs(size.height - this.plot.height) > 2) this.plot.setSize(size);
  }

  size() {
    const width = Math.max(120, this.target.clientWidth);
    const legend = width < NARROW_PX ? 2 * LEGEND_PX : LEGEND_PX; // the legend takes two lines
    return { width, height: Math.max(120, this.target.clientHeight - legend) };
  }

  destroy() {
    dark.removeEventListener("change", this.remake);
    this.forget();
    this.observer.disconnect();
    this.plot.destroy();
  }
}
