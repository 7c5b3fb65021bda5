// Converts event time to pixels and back. A generation covers milliseconds or years. `even` gives each the same width,
// `time` a width in proportion to its time, and `fit` chooses `time` if most bars are then wide enough to be seen.

import { most } from "../lib/exact.js";
import { offsetAt } from "../lib/zone.js";

const LEAST_PX = 3; // a narrower bar cannot be seen

export class Scale {
  // `points` are [time, pixel], both ascending. Pixels are computed from the distance to the first time, because a
  // double holds distances, but not all times, exactly.
  constructor(points) {
    this.times = points.map(([time]) => time);
    this.start = this.times[0];
    this.end = this.times.at(-1);
    this.points = points.map(([time, x]) => [Number(time - this.start), x]);
  }

  x(time) {
    return this.after(Number(time - this.start));
  }

  // Return the pixel of the time that is `distance` after the start.
  after(distance) {
    return interpolated(this.points, distance, 0, 1);
  }

  time(x) {
    if (x >= this.points.at(-1)[1]) return this.end;
    return this.start + BigInt(Math.round(interpolated(this.points, x, 1, 0)));
  }
}

function interpolated(points, value, from, to) {
  let at = 1;
  while (at < points.length - 1 && points[at][from] < value) at += 1;
  const [low, high] = [points[at - 1], points[at]];
  const length = high[from] - low[from];
  const share = length > 0 ? (value - low[from]) / length : 0;
  return low[to] + Math.max(0, Math.min(1, share)) * (high[to] - low[to]);
}

// `bars` ascend by start, and each has start and end. Returns a scale over all of them, from 0 to `width` pixels.
export function scaleOf(bars, width, kind) {
  const start = bars[0].start;
  const end = most(...bars.map((bar) => bar.end), start + 1n);
  const linear = new Scale([
    [start, 0],
    [end, width],
  ]);
  if (kind === "time" || (kind === "auto" && shown(bars, linear))) return linear;
  const starts = bars.map((bar) => bar.start).filter((time, at, all) => !at || time > all[at - 1]);
  const each = width / starts.length;
  return new Scale([...starts.map((time, at) => [time, at * each]), [most(end, starts.at(-1) + 1n), width]]);
}

// Return whether most bars are wide enough to be seen.
function shown(bars, scale) {
  const wide = bars.filter((bar) => scale.x(bar.end) - scale.x(bar.start) >= LEAST_PX);
  return wide.length >= 0.8 * bars.length;
}

const STEPS = [
  1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 1.5e4, 3e4, 6e4, 1.2e5, 3e5, 6e5, 9e5, 1.8e6, 3.6e6, 7.2e6,
  1.08e7, 2.16e7, 4.32e7, 8.64e7, 1.728e8, 6.048e8, 1.2096e9, 2.592e9, 7.776e9, 3.15576e10, 6.31152e10, 1.57788e11,
  3.15576e11,
];

// Return the marks of an axis: at most `count` times in ms, from `start` to `end`, that are round in the page's zone.
export function roundTimes(start, end, count) {
  const apart = (end - start) / Math.max(1, count);
  const step = STEPS.find((size) => size >= apart) ?? Math.ceil(apart);
  const found = [];
  const ahead = offsetAt(start);
  const first = Math.ceil((start + ahead) / step) * step - ahead;
  for (let time = first; time <= end && found.length <= count; time += step) found.push(time);
  return { step, times: found };
}

// Return at most `count` round numbers from `start` to `end`, which are BigInt.
export function roundNumbers(start, end, count) {
  const apart = Math.max(1, Number(end - start) / Math.max(1, count));
  const power = 10n ** BigInt(Math.floor(Math.log10(apart)));
  const step = [1n, 2n, 5n, 10n].map((factor) => factor * power).find((size) => Number(size) >= apart) ?? 20n * power;
  const found = [];
  const rest = ((start % step) + step) % step;
  for (let at = rest ? start + step - rest : start; at <= end && found.length <= count; at += step) found.push(at);
  return found;
}
