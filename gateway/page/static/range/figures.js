// What the rows of a range come to: tiles with count, rate and times, and the histogram of how long sets took.

import { json } from "../lib/access.js";
import { svg } from "../lib/element.js";
import { big } from "../lib/exact.js";
import { compact, duration, isTime, length, number, toMs } from "../lib/format.js";

const [WIDTH, HEIGHT, BUCKETS] = [600, 90, 40];

// Return the figures of all sets of a range: { count, p50, p95, max } in the stream's unit, or null if there are none.
export async function figuresOf({ name, view }, [from, to]) {
  if (view !== "sets") return null;
  try {
    const { summary } = await json(`/${name}/summary?startTime=${from}&endTime=${to}`);
    return summary.find(({ step }) => step === "whole") ?? null;
  } catch {
    return null; // the table is there all the same
  }
}

export const quantile = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1)];

// Return the tiles of a range. `rows` are those that were read; `figures` are those of all sets, if they are known.
export function tilesOf(stream, { rows, range, figures }) {
  const { unit, view } = stream;
  const long = big(range[1]) - big(range[0]);
  const tiles = [];
  if (view === "sets") {
    const all = figures?.count ?? rows.length;
    tiles.push({ key: "count", label: "Sets", value: compact(all), note: `in ${length(long, unit)}` });
    if (isTime(unit) && long > 0n) {
      const each = all / (toMs(long, unit) / 1000);
      tiles.push({ key: "rate", label: "Rate", value: rounded(each), unit: "/s", note: "mean of the range" });
    }
    const titles = { p50: "p50 of the whole", p95: "p95 of the whole", max: "Longest" };
    for (const [key, label] of Object.entries(figures ? titles : {}))
      tiles.push({ key, label, ...spoken(figures[key], unit), note: "of all sets of the range" });
  } else if (view === "funnel") {
    const states = { complete: "Complete", open: "Open", lapsed: "Lapsed" };
    for (const [key, label] of Object.entries(states)) {
      const found = rows.filter(({ state }) => state === key).length;
      tiles.push({ key, label, value: compact(found), note: `of ${compact(rows.length)} sequences` });
    }
  } else if (view === "words") {
    const sum = rows.reduce((total, [, each]) => total + each, 0);
    tiles.push({ key: "words", label: "Words", value: compact(rows.length), note: `in ${length(long, unit)}` });
    tiles.push({ key: "sum", label: "Occurrences", value: compact(sum), note: "of these words" });
    if (rows.length)
      tiles.push({
        key: "top",
        label: "Most frequent",
        value: rows[0][0].slice(0, 24),
        note: `${number(rows[0][1])} times`,
      });
  } else if (view === "uniques" && rows.length) {
    const most = rows.reduce((best, row) => (row.unique > best.unique ? row : best));
    const frames = rows.reduce((total, row) => total + row.frames, 0);
    tiles.push({ key: "periods", label: "Periods", value: number(rows.length), note: "with at least one user" });
    tiles.push({ key: "most", label: "Most users", value: compact(most.unique), note: "in one period" });
    tiles.push({ key: "frames", label: "Frames", value: compact(frames), note: "in all periods" });
  }
  return tiles;
}

const rounded = (value) => (value >= 100 ? compact(value) : String(Number(value.toPrecision(3))));

function spoken(value, unit) {
  const [figure, ...rest] = length(value, unit).split(" ");
  return rest.length > 1 ? { value: length(value, unit) } : { value: figure, unit: rest[0] ?? "" };
}

export const durations = (rows) => rows.map((row) => Number(row.at(-1) - row[0])).sort((one, other) => one - other);

// Draw how many sets took how long, up to the 99th percentile, with marks at p50 and p95. Nothing if all took as long.
export function drawDurations(target, stream, rows) {
  const took = durations(rows);
  const high = took.length ? quantile(took, 0.99) : 0;
  const low = took[0] ?? 0;
  target.hidden = took.length < 20 || high <= low || !isTime(stream.unit);
  if (target.hidden) return;
  const counts = new Array(BUCKETS).fill(0);
  const place = (value) => Math.min(BUCKETS - 1, Math.floor(((value - low) / (high - low)) * BUCKETS));
  for (const each of took) if (each <= high) counts[place(each)] += 1;
  const most = Math.max(...counts);
  const wide = WIDTH / BUCKETS;
  const tall = (count) => (count ? Math.max(1, (count / most) * HEIGHT) : 0);
  const bars = counts
    .map((count, at) => `M${(at * wide).toFixed(1)} ${HEIGHT}v${-tall(count)}h${wide - 1}V${HEIGHT}Z`)
    .join("");
  const marks = [0.5, 0.95].map((share) =>
    svg("path", { class: "quantile", d: `M${((quantile(took, share) - low) / (high - low)) * WIDTH} 0V${HEIGHT}` }),
  );
  const text = (value) => duration(toMs(value, stream.unit));
  const [p50, p95] = [0.5, 0.95].map((share) => text(quantile(took, share)));
  const label = `How long sets took: ${text(low)} to ${text(high)} for 99 of 100, p50 ${p50}, p95 ${p95}`;
  const picture = svg(
    "svg",
    {
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      preserveAspectRatio: "none",
      role: "img",
      "aria-label": label,
      class: "durations",
    },
    svg("path", { class: "bar", d: bars }),
    ...marks,
  );
  const under = document.createElement("p");
  under.className = "ends";
  for (const each of [
    text(low),
    `how long ${compact(rows.length)} sets took; lines at p50 and p95`,
    `${text(high)} (p99)`,
  ]) {
    const span = document.createElement("span");
    span.textContent = each;
    under.append(span);
  }
  target.replaceChildren(picture, under);
}
