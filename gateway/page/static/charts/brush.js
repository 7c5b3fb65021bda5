// A range on the timeline. The user drags it with mouse, pen or a finger that rests first, or moves its two handles
// with the arrow keys.

import { element } from "../lib/element.js";
import { least, most } from "../lib/exact.js";
import { moment } from "../lib/format.js";

const LEAST_PX = 4; // a shorter movement is a click, not a drag

export class Brush {
  // `timeline` gives the scale. `onChange(from, to, done)` is called at every move; `done` is true at the last one.
  constructor(timeline, onChange) {
    this.timeline = timeline;
    this.onChange = onChange;
    this.range = null;
    this.enabled = true;
    this.band = element("div", { class: "band", hidden: true });
    this.handles = ["from", "to"].map((end, at) => this.handle(end, at));
    this.known = new Set();
    this.on(timeline);
  }

  // Work on this picture from now on. The range stays.
  on(timeline) {
    if (this.timeline === timeline && this.band.parentElement) return;
    this.timeline.onResize = () => {};
    this.timeline = timeline;
    timeline.plot.append(this.band, ...this.handles);
    timeline.onResize = () => this.draw();
    if (this.known.has(timeline)) return;
    this.known.add(timeline);
    timeline.plot.addEventListener("pointerdown", (event) => this.begin(event));
  }

  handle(end, at) {
    const made = element("div", {
      class: `handle ${end}`,
      role: "slider",
      tabindex: 0,
      hidden: true,
      "aria-label": end === "from" ? "Range begins" : "Range ends",
      "aria-orientation": "horizontal",
    });
    made.addEventListener("keydown", (event) => this.key(event, at));
    made.addEventListener("pointerdown", (event) => {
      event.stopPropagation();
      this.drag(
        event,
        (time) => this.move(at, time, false),
        () => this.onChange(...this.range, true),
      );
    });
    return made;
  }

  // Fingers on a picture with a window move and zoom it; `rested` is one that has rested before.
  begin(event, rested = false) {
    if (!this.enabled || !this.timeline.scale || event.button > 0) return;
    if (event.pointerType === "touch" && this.timeline.window && !rested) return;
    const first = this.timeAt(event);
    const x = event.clientX;
    let dragged = false;
    this.drag(
      event,
      (time, moved) => {
        dragged ||= Math.abs(moved.clientX - x) >= LEAST_PX;
        if (dragged) this.choose(least(first, time), most(first, time), false);
      },
      () => dragged && this.range && this.onChange(...this.range, true),
    );
  }

  drag(event, move, end) {
    const { plot } = this.timeline;
    if (event.pointerType === "mouse") event.preventDefault(); // prevents the selection of text
    plot.setPointerCapture(event.pointerId);
    const moving = (moved) => move(this.timeAt(moved), moved);
    const over = (last) => {
      plot.removeEventListener("pointermove", moving);
      plot.removeEventListener("pointerup", over);
      plot.removeEventListener("pointercancel", over);
      if (last.type === "pointerup") end();
    };
    plot.addEventListener("pointermove", moving);
    plot.addEventListener("pointerup", over);
    plot.addEventListener("pointercancel", over);
  }

  timeAt(event) {
    return this.timeline.scale.time(event.clientX - this.timeline.plot.getBoundingClientRect().left);
  }

  key(event, at) {
    const { scale, width } = this.timeline;
    const step = event.shiftKey ? 0.1 : 0.01;
    const moves = {
      ArrowLeft: -step,
      ArrowDown: -step,
      ArrowRight: step,
      ArrowUp: step,
      PageDown: -0.1,
      PageUp: 0.1,
      Home: -1,
      End: 1,
    };
    if (!(event.key in moves) || !scale) return;
    event.preventDefault();
    const x = scale.x(this.range[at]) + moves[event.key] * width;
    this.move(at, scale.time(Math.max(0, Math.min(width, x))), true);
  }

  // Move one end of the range. It stops at the other end.
  move(at, time, done) {
    const [from, to] = this.range;
    if (at === 0) this.choose(least(time, to), to, done);
    else this.choose(from, most(time, from), done);
  }

  choose(from, to, done = true) {
    this.range = [from, to];
    this.draw();
    this.onChange(from, to, done);
  }

  show(from, to) {
    this.range = from == null || to == null ? null : [from, to];
    this.draw();
  }

  draw() {
    const { scale, stream } = this.timeline;
    const none = !this.range || !scale || this.range[1] < scale.start || this.range[0] > scale.end;
    for (const each of [this.band, ...this.handles]) each.hidden = none;
    if (none) return;
    const [low, high] = this.range.map((time) => scale.x(time));
    this.band.style.left = `${low}px`;
    this.band.style.width = `${Math.max(1, high - low)}px`;
    this.handles.forEach((handle, at) => {
      const time = this.range[at];
      handle.style.left = `${at ? high : low}px`;
      handle.setAttribute("aria-valuemin", at ? this.range[0] : scale.start);
      handle.setAttribute("aria-valuemax", at ? scale.end : this.range[1]);
      handle.setAttribute("aria-valuenow", time);
      handle.setAttribute("aria-valuetext", moment(time, stream.unit, true));
    });
  }
}
