// The histogram: answers by event time, in buckets that follow the zoom. Bands below it show generations, coverage
// and the watermark. Its scale has the same form as the timeline's, so the brush works on both.

import { counts } from "../data/counts.js";
import { bucketWidth, extent, ticks, Window } from "../data/window.js";
import { element, set, svg, write } from "../lib/element.js";
import { least, most } from "../lib/exact.js";
import { compact, each, isTime, moment, number, toMs } from "../lib/format.js";
import { drawBands } from "./bands.js";
import { hatches, visible } from "./bars.js";
import { roundNumbers, roundTimes, Scale } from "./scale.js";

const LEFT_REM = 3.8;
const BANDS_REM = 2.5;
const AXIS_REM = 1.5;
const TOP_REM = 1.65;
const BUCKET_PX = 7;
const EVERY_MS = 1_000;
const TICK_MS = 900;
const WHEEL = 0.0016;
const KEYS = {
  "+": "in",
  "=": "in",
  "-": "out",
  ArrowLeft: "earlier",
  ArrowRight: "later",
  Home: "all",
  End: "follow",
};

export class Histogram {
  // `changed()` is called after the window has changed or new counts have come.
  constructor(plot, changed) {
    this.plot = plot;
    this.changed = changed;
    this.window = new Window();
    this.grid = svg("g", { class: "axis" });
    this.bars = svg("g", { class: "buckets" });
    this.bands = svg("g", { class: "bands" });
    this.svg = svg("svg", { class: "timeline", "aria-hidden": "true" }, hatches(), this.grid, this.bars, this.bands);
    this.tip = element("div", { class: "tip", hidden: true, "aria-hidden": "true" });
    plot.append(this.svg, this.tip);
    this.onResize = () => {};
    this.loaded = null;
    this.asked = { key: "", at: -Infinity };
    new ResizeObserver(() => this.redraw()).observe(plot);
    plot.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    plot.addEventListener("keydown", (event) => this.key(event));
    plot.addEventListener("dblclick", () => this.act("all"));
    plot.addEventListener("pointermove", (event) => this.point(event));
    plot.addEventListener("pointerleave", () => {
      this.tip.hidden = true;
    });
  }

  static shows(stream) {
    return counts(stream.view) != null;
  }

  clear() {
    this.window.reset();
    this.loaded = null;
    this.scale = null;
    this.stream = null;
  }

  redraw() {
    if (this.stream && !this.plot.hidden) this.draw(this.stream);
    this.onResize();
  }

  // Draw the newest state, at most once a second: a tick twice a second moves no bar by a pixel.
  tick(stream) {
    const fresh = this.stream?.name !== stream.name || !this.scale;
    if (fresh || performance.now() - this.drawn > TICK_MS) this.draw(stream);
    else this.stream = stream;
  }

  draw(stream) {
    this.stream = stream;
    this.drawn = performance.now();
    const held = extent(stream);
    this.whole = held && [least(held[0], visible(stream)[0].start), held[1]]; // some forgotten generations are in sight
    this.svg.toggleAttribute("data-none", !this.whole);
    if (!this.whole || this.plot.hidden) return;
    this.width = Math.max(240, this.plot.clientWidth);
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    this.rem = rem;
    this.height = Math.round(this.plot.clientHeight - (BANDS_REM + AXIS_REM) * rem);
    this.left = Math.round(LEFT_REM * rem);
    this.top = Math.round(TOP_REM * rem);
    set(this.svg, { width: this.width, height: this.plot.clientHeight });
    const [from, to] = this.window.of(this.whole);
    this.scale = new Scale([
      [from, this.left],
      [to, this.width],
    ]);
    this.step = bucketWidth(to - from, (this.width - this.left) / BUCKET_PX, stream.unit);
    this.load();
    this.drawCounts();
    this.drawTimes();
    drawBands(this.bands, this, { y: this.height + 0.38 * rem, left: this.left });
  }

  // Ask for the counts of the window: at once if it is another one, and every second while it follows the stream.
  async load() {
    const [from, to] = [this.scale.start, this.scale.end];
    const kind = counts(this.stream.view);
    const key = `${this.stream.name} ${this.step} ${this.window.follows ? this.window.last : `${from} ${to}`}`;
    const fresh = this.asked.key !== key;
    const now = performance.now();
    if (!kind || document.hidden || this.busy || (!fresh && now - this.asked.at < EVERY_MS)) return;
    this.asked = { key, at: now };
    this.busy = true;
    const { name } = this.stream;
    try {
      const found = await kind.of(this.stream, [from, to], this.step);
      if (this.stream?.name === name) this.loaded = { ...found, name, from, to, failed: null };
    } catch (error) {
      if (this.stream?.name === name)
        this.loaded = { ...(this.loaded ?? { buckets: [], width: this.step }), failed: error };
    }
    this.busy = false;
    if (this.stream?.name !== name) return;
    this.redraw();
    this.changed();
  }

  // Return the buckets in the window, as [start, count].
  shown() {
    const { scale, loaded } = this;
    if (!loaded || !scale) return [];
    return loaded.buckets.filter(([start]) => start + loaded.width > scale.start && start < scale.end);
  }

  drawCounts() {
    const shown = this.shown();
    const high = Math.max(1, ...shown.map(([, count]) => count));
    const marks = ticks(high, Math.max(2, Math.floor(this.height / 60)));
    const top = marks.at(-1);
    const y = (count) => this.height - (count / top) * (this.height - this.top);
    const lines = marks.map((mark) => svg("path", { d: `M${this.left} ${y(mark).toFixed(1)}H${this.width}` }));
    const labels = marks.map((mark) => {
      const text = svg("text", { x: this.left - 8, y: (y(mark) + 0.25 * this.rem).toFixed(1), "text-anchor": "end" });
      text.textContent = compact(mark).replace(/ (m|b|t)\w+$/, (_, letter) => ` ${letter.toUpperCase()}`);
      return text;
    });
    const title = svg("text", { x: 0, y: (0.7 * this.rem).toFixed(1) });
    title.textContent = this.loaded ? `${counts(this.stream.view).noun} per ${this.bar()}` : "";
    this.grid.replaceChildren(...lines, ...labels, title);
    const final = this.stream.coverage.finalUntil;
    let [settled, open] = ["", ""];
    for (const [start, count] of shown) {
      const left = Math.max(this.left, this.scale.x(start));
      const right = Math.max(left + 1, this.scale.x(start + this.loaded.width));
      const gap = right - left > 4 ? 1 : 0;
      const tall = Math.max(count ? 1 : 0, this.height - y(count));
      const wide = (right - left - gap).toFixed(1);
      const path = `M${left.toFixed(1)} ${this.height}v${-tall.toFixed(1)}h${wide}v${tall.toFixed(1)}Z`;
      if (final != null && start >= final) open += path;
      else settled += path;
    }
    this.bars.replaceChildren(svg("path", { class: "settled", d: settled }), svg("path", { class: "open", d: open }));
    set(this.bars, { "data-count": shown.length });
    this.high = high;
  }

  drawTimes() {
    const { unit } = this.stream;
    const [from, to] = [this.scale.start, this.scale.end];
    const room = (this.width - this.left) / (5.4 * this.rem);
    const y = this.height + BANDS_REM * this.rem;
    const made = [];
    const put = (x, text) => {
      const half = text.length * 0.22 * this.rem;
      if (x - half < (made.at(-1)?.end ?? this.left - 8) || x + half > this.width + 2) return;
      const label = svg("text", { x: x.toFixed(1), y: (y + this.rem).toFixed(1), "text-anchor": "middle" });
      label.textContent = text;
      made.push({
        label,
        end: x + half + 0.75 * this.rem,
        tick: svg("path", { d: `M${x.toFixed(1)} ${(y - 1).toFixed(1)}v5` }),
      });
    };
    if (isTime(unit)) {
      const first = toMs(from, unit);
      const { step, times } = roundTimes(first, toMs(to, unit), Math.max(2, room));
      let day = "";
      for (const ms of times) {
        const [date, hours = ""] = moment(Math.round(ms), "ms", step < 1000).split(" ");
        const short = step >= 86_400_000 ? date : step >= 60_000 ? hours.slice(0, 5) : hours;
        put(
          this.scale.after((ms - first) / toMs(1, unit)),
          date === day || step >= 86_400_000 ? short : `${date.slice(5)} ${short}`,
        );
        day = date;
      }
    } else for (const at of roundNumbers(from, to, Math.max(2, room))) put(this.scale.x(at), number(at));
    this.grid.append(...made.flatMap(({ label, tick }) => [tick, label]));
  }

  // Return what the window shows, in words: the width of a bucket, the total, the highest bucket.
  summary() {
    const { stream, loaded } = this;
    if (!loaded) return "Counting…";
    if (loaded.failed) return `No counts: ${loaded.failed.message}.`;
    const { noun } = counts(stream.view);
    const total = this.shown().reduce((sum, [, count]) => sum + count, 0);
    const [from, to] = [this.scale.start, this.scale.end].map((time) => moment(time, stream.unit));
    const most = total
      ? ` At most ${compact(this.high)} in ${/^\d/.test(this.bar()) ? this.bar() : `one ${this.bar()}`}.`
      : "";
    return `${compact(total)} ${noun} from ${from} to ${to}.${most}`;
  }

  // Return the length of a bucket in words.
  bar() {
    return this.loaded.by ?? each(this.loaded.width, this.stream.unit);
  }

  // Move the window so that a range is in sight, if the window shows another time.
  reveal(from, to) {
    if (from == null || !this.whole || !this.scale) return;
    if (to > this.scale.start && from < this.scale.end) return;
    const around = most(1n, (to - from) / 4n);
    if (from < this.whole[1] && to > this.whole[0]) this.window.fix(from - around, to + around);
    this.redraw();
  }

  act(what) {
    if (!this.whole) return;
    const [from, to] = this.window.of(this.whole);
    const middle = from + (to - from) / 2n;
    const at = this.window.follows ? to : middle;
    if (what === "in") this.window.zoom(this.whole, 0.5, at);
    else if (what === "out") this.window.zoom(this.whole, 2, at);
    else if (what === "earlier") this.window.pan(this.whole, -0.4);
    else if (what === "later") this.window.pan(this.whole, 0.4);
    else if (what === "all") this.window.follow("all");
    else if (!this.window.follows) this.window.last = to - from;
    else if (what === "toggle") this.window.fix(from, to);
    this.moved();
  }

  moved() {
    this.redraw();
    this.changed();
  }

  key(event) {
    if (event.target !== this.plot || event.ctrlKey || event.metaKey || event.altKey || !(event.key in KEYS)) return;
    event.preventDefault();
    this.act(KEYS[event.key]);
  }

  // Zoom about the pointer; a sideways turn moves the window. At the widest window the page scrolls as usual.
  wheel(event) {
    if (!this.scale || !this.whole || event.ctrlKey) return;
    const lines = event.deltaMode === 1 ? 16 : 1;
    const [sideways, turn] = event.shiftKey ? [event.deltaY, 0] : [event.deltaX, event.deltaY];
    if (Math.abs(sideways) > Math.abs(turn)) this.window.pan(this.whole, (sideways * lines) / this.width);
    else {
      const at = this.scale.time(event.clientX - this.plot.getBoundingClientRect().left);
      if (!this.window.zoom(this.whole, Math.exp(turn * lines * WHEEL), at)) return;
    }
    event.preventDefault();
    this.moved();
  }

  point(event) {
    const x = event.clientX - this.plot.getBoundingClientRect().left;
    const found = this.shown().find(
      ([start]) => x >= this.scale.x(start) && x < this.scale.x(start + this.loaded.width),
    );
    this.tip.hidden = !found || x < this.left || event.pointerType === "touch";
    if (this.tip.hidden) return;
    const { unit } = this.stream;
    const [start, count] = found;
    const end = start + this.loaded.width;
    const fine = toMs(this.loaded.width, unit) < 1000;
    const lines = [
      `${number(count)} ${counts(this.stream.view).noun}`,
      `${moment(start, unit, fine)} to ${moment(end, unit, fine)}`,
    ];
    if (isTime(unit)) lines.push(`${compact(count / (toMs(this.loaded.width, unit) / 1000))} per second`);
    write(this.tip, lines.join("\n"));
    this.tip.style.left = `${Math.max(0, Math.min(x + 12, this.width - this.tip.offsetWidth))}px`;
  }
}
