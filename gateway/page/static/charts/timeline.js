// The timeline of memory: one bar for each generation over event time, from dropped to live. A line below the bars
// shows for which times answers are complete. A bar keeps its element, so that a change of its state is animated.

import { element, set, svg, write } from "../lib/element.js";
import { least, most } from "../lib/exact.js";
import { bytes, compact, isTime, length, moment, number, toMs } from "../lib/format.js";
import { hatches, visible } from "./bars.js";
import { roundNumbers, roundTimes, scaleOf } from "./scale.js";

const COVER_REM = 1.4;
const AXIS_REM = 1.5;

const SIZES = {
  rate: ({ events, start, end }) => events / Math.max(1, Number(end - start)),
  events: ({ events }) => events,
  bytes: ({ bytes: inMemory, disk }) => inMemory + disk,
};

export const STATES = { gone: "forgotten", spilled: "on disk", aged: "frozen, in memory", live: "live" };

export class Timeline {
  constructor(plot) {
    this.plot = plot;
    this.kind = { height: "events", width: "auto" };
    this.bars = svg("g", { class: "bars" });
    this.cover = svg("g", { class: "cover" });
    this.axis = svg("g", { class: "axis" });
    this.svg = svg(
      "svg",
      { role: "img", class: "timeline", "aria-label": "Timeline of memory" },
      hatches(),
      this.axis,
      this.bars,
      this.cover,
    );
    this.tip = element("div", { class: "tip", hidden: true, "aria-hidden": "true" });
    this.plot.append(this.svg, this.tip);
    this.kept = new Map();
    this.scale = null;
    this.onResize = () => {};
    new ResizeObserver(() => this.redraw()).observe(plot);
    this.plot.addEventListener("pointermove", (event) => this.point(event));
    this.plot.addEventListener("pointerleave", () => {
      this.tip.hidden = true;
    });
  }

  // Remove all bars when another stream is chosen, so that no bar moves from one stream to the other.
  clear() {
    this.kept.clear();
    this.bars.replaceChildren();
    this.scale = null;
  }

  // Whether pixels are proportional to time.
  get straight() {
    return this.scale?.points.length === 2;
  }

  redraw() {
    if (this.stream) this.draw(this.stream);
    this.onResize();
  }

  draw(stream) {
    this.stream = stream;
    this.width = Math.max(200, this.plot.clientWidth);
    this.rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    this.height = Math.round(this.plot.clientHeight - (COVER_REM + AXIS_REM) * this.rem);
    this.digit = this.rem * 0.24;
    set(this.svg, {
      viewBox: `0 0 ${this.width} ${this.plot.clientHeight}`,
      width: this.width,
      height: this.plot.clientHeight,
    });
    this.shown = visible(stream);
    this.svg.toggleAttribute("data-none", !this.shown.length);
    if (!this.shown.length) {
      this.clear();
      return;
    }
    this.scale = scaleOf(this.shown, this.width, this.kind.width);
    this.drawBars();
    this.drawCover();
    this.drawAxis();
    set(this.svg, { "aria-label": this.summary() });
  }

  drawBars() {
    const size = SIZES[this.kind.height];
    const settled = this.shown.filter(({ state }) => state !== "live");
    // A new live generation covers little time, so its density would make all other bars flat.
    const tallest = Math.max(...(settled.length ? settled : this.shown).map(size)) || 1;
    const unseen = new Set(this.kept.keys());
    this.shown.forEach((bar, at) => {
      const next = this.shown[at + 1];
      const left = this.scale.x(bar.start);
      const right = Math.max(left + 1.5, this.scale.x(next ? most(bar.start, next.start) : bar.end));
      const gap = right - left > 5 ? 1.5 : 0;
      const tall = Math.max(3, (this.height - 12) * Math.min(1, size(bar) / tallest));
      const key = bar.key;
      unseen.delete(key);
      let rect = this.kept.get(key);
      if (!rect) {
        rect = svg("rect", {
          rx: 2,
          x: left.toFixed(1),
          width: (right - left - gap).toFixed(1),
          y: this.height,
          height: 0,
        });
        this.kept.set(key, rect);
        this.bars.append(rect);
        rect.getBoundingClientRect(); // forces a layout, so that the bar grows from height 0
      }
      set(rect, {
        class: bar.state,
        x: left.toFixed(1),
        width: (right - left - gap).toFixed(1),
        y: (this.height - tall).toFixed(1),
        height: tall.toFixed(1),
      });
      bar.left = left;
      bar.right = right;
    });
    for (const key of unseen) {
      this.kept.get(key).remove();
      this.kept.delete(key);
    }
  }

  drawCover() {
    const { coverage, missing } = this.stream;
    const y = this.height + 8;
    const made = [];
    const from = coverage.completeFrom ?? this.stream.first;
    const low = most(from ?? this.scale.start, this.scale.start);
    const high = least(coverage.completeTo ?? low, this.scale.end);
    if (high > low)
      made.push(
        svg("rect", {
          class: "complete",
          x: this.scale.x(low),
          width: this.scale.x(high) - this.scale.x(low),
          y,
          height: 6,
          rx: 3,
        }),
      );
    for (const [, from, to] of missing) {
      const start = from ?? this.scale.start;
      const end = to ?? this.scale.end;
      if (end <= this.scale.start || start >= this.scale.end) continue;
      const x = this.scale.x(start);
      made.push(
        svg("rect", { class: "missing", x, width: Math.max(4, this.scale.x(end) - x), y: y - 3, height: 12, rx: 2 }),
      );
    }
    const final = coverage.finalUntil;
    if (final != null && final > this.scale.start && final < this.scale.end) {
      const x = this.scale.x(final);
      made.push(svg("path", { class: "final", d: `M${x} ${y - 5}v16` }));
    }
    if (from != null && from > this.scale.start)
      made.push(svg("path", { class: "edge", d: `M${this.scale.x(from)} 0V${y + 8}` }));
    this.cover.replaceChildren(...made);
  }

  drawAxis() {
    const count = Math.max(2, Math.floor(this.width / (36 * this.digit)));
    const y = this.height + Math.round(COVER_REM * this.rem);
    const marks = [];
    const places = this.straight ? this.roundPlaces(count) : this.evenPlaces(count);
    let taken = -Infinity;
    for (const [x, text] of places) {
      const half = text.length * this.digit;
      const at = Math.max(half, Math.min(this.width - half, x));
      if (at - half < taken + 10) continue;
      taken = at + half;
      const label = svg("text", { x: at, y: y + this.rem, "text-anchor": "middle" });
      label.textContent = text;
      marks.push(svg("path", { d: `M${x} ${y - 2}v6` }), label);
    }
    this.axis.replaceChildren(svg("path", { class: "ground", d: `M0 ${this.height + 0.5}H${this.width}` }), ...marks);
  }

  // Return the pixel and the text of each mark.
  roundPlaces(count) {
    const { unit } = this.stream;
    const { start, end } = this.scale;
    if (!isTime(unit)) return roundNumbers(start, end, count).map((at) => [this.scale.x(at), number(at)]);
    const first = toMs(start, unit);
    const { step, times } = roundTimes(first, toMs(end, unit), count);
    let day = "";
    return times.map((ms) => {
      const text = moment(ms, "ms", step < 1000);
      const [date, hours = ""] = text.split(" ");
      const short = step >= 86_400_000 ? date : step >= 60_000 ? hours.slice(0, 5) : hours;
      const label = date === day || step >= 86_400_000 ? short : `${date} ${short}`;
      day = date;
      return [this.scale.after((ms - first) / toMs(1, unit)), label];
    });
  }

  // If all bars have the same width, the marks are at the beginnings of bars.
  evenPlaces(count) {
    const { times } = this.scale;
    const every = Math.max(1, Math.ceil((times.length - 1) / count));
    return times
      .filter((_, at) => at % every === 0)
      .map((time) => [this.scale.x(time), moment(time, this.stream.unit)]);
  }

  point(event) {
    const box = this.plot.getBoundingClientRect();
    const x = event.clientX - box.left;
    const bar = this.shown?.find((each) => x >= each.left && x < each.right);
    this.tip.hidden = !bar || event.pointerType === "touch";
    if (this.tip.hidden) return;
    const { unit, noun } = this.stream;
    const lines = [
      bar.count > 1
        ? `${number(bar.count)} generations, ${STATES[bar.state]}`
        : STATES[bar.state] + (bar.reason ? `: ${bar.reason}` : ""),
      `${moment(bar.start, unit)} to ${moment(bar.end, unit)} (${length(bar.end - bar.start, unit)})`,
      `${compact(bar.events)} events${bar.answers == null ? "" : `, ${compact(bar.answers)} ${noun}`}`,
      bar.state === "gone"
        ? `${bytes(bar.bytes)} freed`
        : bytes(bar.bytes) + (bar.disk ? ` in memory, ${bytes(bar.disk)} on disk` : ""),
    ];
    write(this.tip, lines.join("\n"));
    this.tip.style.left = `${Math.max(0, Math.min(x + 12, this.width - this.tip.offsetWidth))}px`;
    this.tip.dataset.state = bar.state;
  }

  summary() {
    const count = (state) => this.shown.filter((bar) => bar.state === state).reduce((sum, bar) => sum + bar.count, 0);
    const parts = Object.entries(STATES)
      .map(([state, name]) => [count(state), name])
      .filter(([found]) => found);
    const [start, end] = [this.scale.start, this.scale.end].map((time) => moment(time, this.stream.unit));
    const counts = parts.map(([found, name]) => `${found} ${name}`).join(", ");
    return `Timeline of memory, from ${start} to ${end}: ${counts}`;
  }
}
