// Fingers on the histogram: one moves the window, two zoom it, and one that rests before it moves draws a range.

const REST_MS = 350;
const LEAST_PX = 8;

export class Touch {
  // `histogram` has window, whole, scale and moved(); `begin(event)` begins a range, as the mouse does.
  constructor(histogram, begin) {
    this.histogram = histogram;
    this.begin = begin;
    this.fingers = new Map();
    const { plot } = histogram;
    plot.addEventListener("pointerdown", (event) => this.down(event));
    plot.addEventListener("pointermove", (event) => this.move(event));
    for (const kind of ["pointerup", "pointercancel"]) plot.addEventListener(kind, (event) => this.up(event));
  }

  down(event) {
    if (event.pointerType !== "touch" || event.target.closest(".handle") || !this.histogram.scale) return;
    this.fingers.set(event.pointerId, event.clientX);
    this.start = event.clientX;
    clearTimeout(this.rest);
    this.still = this.fingers.size === 1;
    if (!this.still) return;
    this.rest = setTimeout(() => {
      if (!this.still) return;
      this.fingers.clear();
      this.begin(event);
    }, REST_MS);
  }

  move(event) {
    const before = this.fingers.get(event.pointerId);
    if (before == null) return;
    if (Math.abs(event.clientX - this.start) >= LEAST_PX) this.still = false;
    const { histogram } = this;
    const { window, whole, scale, width, left } = histogram;
    const others = [...this.fingers].filter(([id]) => id !== event.pointerId).map(([, x]) => x);
    this.fingers.set(event.pointerId, event.clientX);
    if (this.still) return;
    clearTimeout(this.rest);
    if (!others.length) {
      if (window.last === "all") return;
      window.pan(whole, (before - event.clientX) / (width - left));
    } else {
      const [was, is] = [before, event.clientX].map((x) => Math.max(20, Math.abs(x - others[0])));
      const middle = (event.clientX + others[0]) / 2 - histogram.plot.getBoundingClientRect().left;
      window.zoom(whole, was / is, scale.time(middle));
    }
    histogram.moved();
  }

  up(event) {
    clearTimeout(this.rest);
    this.fingers.delete(event.pointerId);
  }
}
