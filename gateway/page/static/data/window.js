// The window of event time that the histogram shows: all of it, the newest part, or a fixed range. Times are BigInt.

import { least, most } from "../lib/exact.js";
import { isTime, toMs } from "../lib/format.js";

const LEAST = 10n; // units of the stream's time

// Return the times that the stream holds, [first, end), or null.
export function extent({ bars, live }) {
  const held = [...bars, live].filter(({ start }) => start != null);
  if (!held.length) return null;
  const first = least(...held.map(({ start }) => start));
  return [first, most(first + LEAST, ...held.map(({ end }) => end))];
}

export class Window {
  constructor() {
    this.reset();
  }

  reset() {
    this.last = "all"; // "all", a length in units that follows the newest event, or null if the range is fixed
    this.range = null;
    this.named = "all"; // the button that has chosen it; null: no button
  }

  get follows() {
    return this.last != null;
  }

  // Follow the newest part: "all", or a length in ms.
  follow(ms, unit) {
    this.range = null;
    this.named = String(ms);
    this.last = ms === "all" ? "all" : most(LEAST, BigInt(Math.round(isTime(unit) ? ms / toMs(1, unit) : ms)));
  }

  // Return the visible range within `whole`, which is what the stream holds.
  of(whole) {
    const [first, end] = whole;
    if (this.last === "all") return whole;
    if (this.last != null) return [end - this.last, end];
    const length = least(this.range[1] - this.range[0], most(LEAST, end - first));
    const from = most(first, least(this.range[0], end - length));
    return [from, from + length];
  }

  fix(from, end) {
    this.last = this.named = null;
    this.range = [from, most(end, from + LEAST)];
  }

  // Zoom by a factor (below 1: closer) so that the time `at` keeps its place. Returns whether anything has changed.
  zoom(whole, factor, at) {
    const [from, end] = this.of(whole);
    const limit = whole[1] - whole[0];
    const now = end - from;
    const wanted = most(LEAST, BigInt(Math.round(Number(now) * factor)));
    if (wanted >= limit) {
      const changed = this.last !== "all";
      this.follow("all");
      return changed;
    }
    if (wanted === now) return false;
    const share = Number(at - from) / Math.max(1, Number(now));
    const start = at - BigInt(Math.round(Number(wanted) * Math.max(0, Math.min(1, share))));
    // At the newest end the window goes on following, as long as it did.
    if (this.follows && share > 0.98) {
      this.last = wanted;
      this.named = null;
    } else this.fix(start, start + wanted);
    return true;
  }

  pan(whole, share) {
    const [from, end] = this.of(whole);
    const by = BigInt(Math.round(Number(end - from) * share));
    if (end + by >= whole[1]) {
      if (this.last !== "all") this.last = end - from;
      return;
    }
    this.fix(from + by, end + by);
  }
}

const STEPS_MS = [
  1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 1.5e4, 3e4, 6e4, 1.2e5, 3e5, 6e5, 9e5, 1.8e6, 3.6e6, 7.2e6,
  1.08e7, 2.16e7, 4.32e7, 8.64e7, 1.728e8, 6.048e8, 1.2096e9, 2.592e9, 7.776e9, 3.15576e10,
];

// Return a round width of buckets, so that `length` has at most `count` of them.
export function bucketWidth(length, count, unit) {
  const apart = Math.max(1, Number(length) / Math.max(1, count));
  const ms = isTime(unit) ? apart * toMs(1, unit) : null;
  const step = ms == null ? null : STEPS_MS.find((size) => size >= ms);
  if (step && ms > 0.5) return most(1n, BigInt(Math.round(step / toMs(1, unit))));
  const power = 10n ** BigInt(Math.floor(Math.log10(apart)));
  return [1n, 2n, 5n, 10n].map((factor) => factor * power).find((size) => Number(size) >= apart) ?? 20n * power;
}

// Return at most `count` + 1 round values from 0, of which the last is `high` or more.
export function ticks(high, count) {
  const apart = Math.max(1, high) / count;
  const power = 10 ** Math.floor(Math.log10(apart));
  const step = Math.max(
    1,
    [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((size) => size >= apart),
  );
  const whole = step === Math.round(step) ? step : Math.ceil(step);
  return Array.from({ length: Math.ceil(high / whole) + 1 }, (_, at) => at * whole);
}
