// The views that answer ranges: the request of each, how its answer becomes rows, and the same request in Python.

import { extent } from "../data/window.js";
import { json } from "../lib/access.js";
import { big, least, most } from "../lib/exact.js";
import { duration, isTime, length, number, toMs, utc } from "../lib/format.js";
import { when } from "../lib/when.js";

export const AT_ONCE = 1_000;
const NEWEST = 100;
const MINUTE_MS = 60_000;

const quoted = (text) => JSON.stringify(String(text));
const timed = (time) => (/^-?\d+$/.test(time) ? time : quoted(time));
const encoded = encodeURIComponent;

// For each view: `path` of a range, `rows` of an answer, `columns` of the table, and the newest range of a stream.
export const ANSWERS = {
  sets: {
    noun: "set",
    path: ({ name }, from, to) => `/${name}/get-sets?startTime=${encoded(from)}&endTime=${encoded(to)}`,
    limit: `&limit=${AT_ONCE}`,
    rows: (body) => body.sets.map((row) => Object.values(row).map(({ timestamp }) => big(timestamp))),
    columns: ({ steps, unit }) => [
      { title: "set", kind: "n", text: (_, at) => number(at + 1) },
      ...steps.map((step, at) => ({
        title: step,
        kind: "n",
        text: (row) => when(row[at], unit, true),
        key: (row) => row[at],
      })),
      { title: "took", kind: "n", text: (row) => length(took(row), unit), key: took },
    ],
    python: ({ name }, from, to) => `firnline.sets(${timed(from)}, ${timed(to)}, stream=${quoted(name)})`,
    newest: newestSets,
    first: [1, -1],
  },
  funnel: {
    noun: "sequence",
    path: ({ name }, from, to) => `/${name}/sequences?startTime=${encoded(from)}&endTime=${encoded(to)}`,
    limit: `&limit=${AT_ONCE}`,
    rows: (body) => body.sequences,
    columns: ({ steps, unit }) => [
      { title: "key", text: ({ key }) => key, key: ({ key }) => key },
      { title: "state", text: ({ state }) => state, key: ({ state }) => state },
      ...steps.map((step) => ({
        title: step,
        kind: "n",
        text: (row) => when(big(row.steps[step]), unit, true),
        key: (row) => big(row.steps[step]) ?? -1n,
      })),
      { title: "lapses at", kind: "n", text: ({ lapsesAt }) => when(big(lapsesAt), unit) },
    ],
    python: ({ name }, from, to) => `firnline.sequences(${timed(from)}, ${timed(to)}, stream=${quoted(name)})`,
    newest: (stream) => newestLength(stream, 10 * MINUTE_MS),
    first: [2, -1],
  },
  words: {
    noun: "word",
    path: ({ name }, from, to) => `/${name}/CountWords?startTime=${encoded(from)}&endTime=${encoded(to)}`,
    limit: `&limit=${AT_ONCE}`,
    rows: (body) => Object.entries(body).sort((one, other) => other[1] - one[1]),
    columns: () => [
      { title: "word", text: ([word]) => word, key: ([word]) => word },
      { title: "count", kind: "n", text: ([, count]) => number(count), key: ([, count]) => count },
    ],
    python: ({ name }, from, to) => `firnline.words(start=${quoted(from)}, end=${quoted(to)}, stream=${quoted(name)})`,
    newest: (stream) => newestLength(stream, MINUTE_MS),
  },
  uniques: {
    noun: "period",
    path: ({ name }, from, to, by) => `/${name}?granularity=${by}&start=${encoded(from)}&end=${encoded(to)}`,
    limit: "",
    rows: (body) => body.uniques,
    columns: () => [
      { title: "begins", text: ({ start }) => when(start, "s"), key: ({ start }) => start },
      { title: "unique users", kind: "n", text: users, key: ({ unique }) => unique },
      { title: "frames", kind: "n", text: ({ frames }) => number(frames), key: ({ frames }) => frames },
      { title: "lasts", kind: "n", text: ({ start, end }) => duration((end - start) * 1000) },
      { title: "state", text: ({ final }) => (final ? "final" : "may change") },
    ],
    python: ({ name }, from, to, by) =>
      `firnline.uniques(${quoted(by)}, ${quoted(from)}, ${quoted(to)}, stream=${quoted(name)})`,
    newest: (stream) => newestLength(stream, 60 * MINUTE_MS),
    first: [0, -1],
  },
};

const took = (row) => row.at(-1) - row[0];
const users = (row) => (row.exact ? number(row.unique) : `${number(row.lower)} to ${number(row.upper)}`);

const IN_UNITS = new Set(["sets", "funnel"]);

// Return a time as text for a path. Numbers of these views are in the stream's unit, those of the others in seconds.
export function instant(time, { unit, view }) {
  return IN_UNITS.has(view) || !isTime(unit) ? String(time) : utc(time, unit);
}

async function newestLength(stream, ms) {
  const whole = extent(stream);
  const from = whole[1] - BigInt(Math.round(ms / toMs(1, stream.unit)));
  return [most(from, whole[0]), whole[1]];
}

// Return the range of the newest hundred sets. Sets may be far apart, so the start is searched in ever finer buckets.
async function newestSets(stream) {
  const [first, end] = extent(stream);
  let [low, high, wanted] = [first, end, NEWEST];
  for (;;) {
    const width = (high - low) / 500n + 1n;
    const { buckets } = await json(`/${stream.name}/histogram?startTime=${low}&endTime=${high}&width=${width}`);
    let [sum, at] = [0, buckets.length];
    while (at > 0 && sum < wanted) {
      at -= 1;
      sum += buckets[at].count;
    }
    if (sum < wanted) return [low, end];
    const start = big(buckets[at].start);
    const found = most(start, low);
    if (width === 1n || sum === wanted) return [found, end];
    wanted -= sum - buckets[at].count; // as many of the newest sets of this bucket are needed
    low = found;
    high = least(start + width, high);
  }
}
