// The tiles at the top of the page of a stream.

import { heldSpan } from "../data/nouns.js";
import { bytes, clock, compact, isTime, length, moment, perSecond, scaled, toMs } from "../lib/format.js";
import { forms, isDate, isRelative } from "../lib/when.js";
import { stamp } from "../lib/zone.js";

const HALF_A_DAY_S = 43_200;

export const upper = (text) => `${text[0].toUpperCase()}${text.slice(1)}`;

export function tiles(stream, rates) {
  const { held, memory, unit, noun, coverage } = stream;
  const [read, unitRead] = perSecond(rates?.records);
  const [made, unitMade] = perSecond(rates?.made);
  const span = heldSpan(stream);
  const topic = stream.source.startsWith("topic");
  return [
    { key: "read", label: "Read", value: read, unit: unitRead, note: `${compact(stream.records)} records so far` },
    { key: "made", label: upper(noun), value: made, unit: unitMade, note: `${compact(held.answers)} held` },
    {
      key: "lag",
      label: "Not read yet",
      value: stream.trouble ? "unknown" : topic ? compact(stream.lagTotal) : "–",
      unit: topic && !stream.trouble ? "records" : "",
      ...newest(stream),
    },
    {
      key: "held",
      label: unit === "batch" ? "Batch ids held" : "Event time held",
      ...spanned(span, unit),
      ...begins(coverage.completeFrom, unit),
    },
    {
      key: "memory",
      label: "Memory",
      ...scaled(memory.accounted),
      note: `of ${bytes(memory.budget)}`,
      share: memory.accounted / memory.budget,
    },
    {
      key: "late",
      label: "Late",
      value: compact(stream.late),
      unit: "events",
      note: lateness(stream),
    },
  ];
}

// The times of some views are ids, which are late if a higher id came before.
function lateness({ late, unit }) {
  if (!isTime(unit)) return late ? "after a higher id" : "all in ascending order";
  return late ? "taken in after their time" : "all came in time";
}

// Return the notes of tiles that name a time, with the other form of the time as the title.
function newest({ lastRecordAt, at, source }) {
  if (lastRecordAt == null) return { note: source };
  if (at - lastRecordAt < 2) return { note: "newest read just now", title: stamp(lastRecordAt) };
  const [shown, title] = forms(lastRecordAt * 1000, stamp(lastRecordAt));
  const short = !isRelative() && at - lastRecordAt < HALF_A_DAY_S ? `at ${clock(lastRecordAt)}` : shown;
  return { note: `newest read ${short}`, title: short === shown ? title : `${shown}, ${title}` };
}

function begins(time, unit) {
  if (time == null) return { note: "from the beginning" };
  const date = moment(time, unit);
  if (!isDate(date, unit)) return { note: `from ${date}` };
  const [shown, title] = forms(toMs(time, unit), date);
  return { note: `from ${shown}`, title };
}

function spanned(span, unit) {
  if (span == null) return { value: "nothing", unit: "" };
  const text = length(span, unit);
  const [value, ...rest] = text.split(" ");
  return rest.length > 1 ? { value: text, unit: "" } : { value, unit: rest.join(" ") };
}
