// Where the histogram gets its counts from: for each view that can count by event time, the request of one window.

import { json } from "../lib/access.js";
import { big, most } from "../lib/exact.js";
import { toMs, utc } from "../lib/format.js";

const SECOND_MS = 1000n; // words are counted by the second
const PERIODS_MS = { minute: 6e4, hour: 3.6e6, day: 8.64e7, week: 6.048e8, month: 2.6784e9, year: 3.16224e10 };

async function counted({ name }, [from, to], width) {
  const range = `startTime=${from}&endTime=${to}&width=${width}`;
  const { width: used, buckets } = await json(`/${name}/histogram?${range}`);
  return { width: big(used), buckets: buckets.map(({ start, count }) => [big(start), count]) };
}

// A funnel counts by minute, hour or day: those of the first step are the sequences that began then.
async function began({ name, unit, steps }, [from, to], width) {
  const wanted = toMs(width, unit);
  const by = ["minute", "hour", "day"].find((each) => PERIODS_MS[each] >= wanted) ?? "day";
  const long = BigInt(Math.round(PERIODS_MS[by] / toMs(1, unit)));
  const { steps: rows } = await json(`/${name}?by=${by}&startTime=${from}&endTime=${to}`);
  const first = rows.filter(({ step }) => step === steps[0]);
  return { width: long, by, buckets: first.map(({ start, reached }) => [big(start), reached]) };
}

const KINDS = {
  sets: { of: counted, noun: "sets" },
  words: { of: (stream, span, width) => counted(stream, span, most(width, SECOND_MS)), noun: "events" },
  funnel: { of: began, noun: "sequences" },
  uniques: {
    noun: "frames",
    // Periods are the buckets: the shortest that the stream keeps and that is not shorter than `width`.
    async of({ name, unit, granularities }, [from, to], width) {
      const wanted = toMs(width, unit);
      const by = granularities.find((each) => PERIODS_MS[each] >= wanted) ?? granularities.at(-1);
      const long = BigInt(Math.round(PERIODS_MS[by] / toMs(1, unit)));
      const range = `start=${utc(from - long, unit)}&end=${utc(to, unit)}`;
      const { uniques } = await json(`/${name}?granularity=${by}&${range}`);
      const s = BigInt(Math.round(1000 / toMs(1, unit)));
      return { width: long, by, buckets: uniques.map(({ start, frames }) => [BigInt(start) * s, frames]) };
    },
  },
};

export const counts = (view) => KINDS[view] ?? null;
