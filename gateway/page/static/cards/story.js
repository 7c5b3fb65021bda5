// Says in sentences which data the service holds and which it has forgotten. A new reader starts here.

import { eventless } from "../data/status.js";
import { byId, sentence, write } from "../lib/element.js";
import { bytes, compact, isTime, length, moment, number, plural, toMs } from "../lib/format.js";

const PRODUCERS = {
  sets: "",
  top: " --pattern top",
  segments: " --pattern segments",
  uniques: " --pattern uniques",
  words: " --pattern words",
  funnel: " --pattern orders",
};

export const REASONS = {
  memory: "to stay within its memory",
  budget: "to stay within its memory",
  max_aged: "to stay within its number of generations (max_aged)",
  max_age: "to stay within its age limit (max_age_ms)",
  disk: "because its share of the disk was full",
  emergency: "because the process used too much memory",
};

const sum = (counts) => Object.values(counts).reduce((all, count) => all + count, 0);

export function holds(target, stream) {
  const { held, noun, unit, live, bars, view } = stream;
  const first = bars[0]?.start ?? live.start;
  const last = live.end ?? bars.at(-1)?.end;
  if (first == null) return sentence(target, "Nothing yet. No event has arrived.");
  const parts = [[`${compact(held.answers)} ${noun}`]];
  if (view === "sets") parts.push(` from ${compact(held.events)} events`);
  if (isTime(unit))
    parts.push(
      ", over ",
      [length(last - first, unit)],
      ` of event time: ${moment(first, unit)} to ${moment(last, unit)}. `,
    );
  else parts.push(`, of batches ${number(first)} to ${number(last - 1n)}. `);
  const where = [`${bytes(held.bytes)} of memory`];
  if (held.fileBytes) where.push(`${bytes(held.fileBytes)} of disk`);
  const made = held.generations
    ? `${plural(held.generations, "frozen generation")} and a live one`
    : "one live generation";
  const each = held.answers ? `, ${perAnswer((held.bytes + held.fileBytes) / held.answers)} for each` : "";
  parts.push(`They are in ${made} and take ${where.join(" and ")}${each}.`);
  if (stream.unitBecause) parts.push(` Its times are in ${unit}, as the first plausible one shows.`);
  target.title = stream.unitBecause ?? "";
  return sentence(target, ...parts);
}

// If there is no answer yet, say why, and what to do. A stream that was given up reads nothing, so the hint is hidden.
export function empty(stream, none) {
  byId("empty").hidden = !none || Boolean(stream.degradedBy);
  if (byId("empty").hidden) return;
  const topic = /^topic (\S+)/.exec(stream.source)?.[1];
  const some = stream.records > 0;
  write(byId("empty-title"), title(stream));
  byId("empty-records").hidden = !some;
  byId("empty-try").hidden = some || !topic;
  if (some) return sentence(byId("empty-said"), ...unread(stream));
  sentence(
    byId("empty-said"),
    `The stream reads ${stream.source}. State: ${stream.state}. Records appear here within a second.`,
    topic ? " This sends test records to the topic (with --bootstrap HOST:PORT for your own broker):" : "",
  );
  write(byId("empty-command"), `firnline produce${PRODUCERS[stream.view]} --topic ${topic} --rate 300 --count 0`);
  return undefined;
}

function title(stream) {
  if (!stream.records) return "No record has arrived yet";
  return eventless(stream) ? "No record was an event" : "No answer yet";
}

// Say what became of the records of a stream without an answer. If none was an event, its `record` stanza does most
// likely not fit them.
function unread({ records, rejects, other, apart, buffered, source, view, held }) {
  const parts = [`The stream has read ${plural(records, "record")} of ${source}. `];
  const refused = Object.entries(rejects).sort(([, one], [, another]) => another - one);
  if (refused.length)
    parts.push([`${compact(sum(rejects))} were refused`], `, most often: ${refused[0][0].replaceAll("_", " ")}. `);
  if (other) parts.push([`${compact(other)} are of no interest`], ", because their step has no name here. ");
  if (apart) parts.push(`${compact(apart)} are kept apart: their times lie ahead of the clock. `);
  if (buffered) parts.push(`${compact(buffered)} wait until no earlier event can come. `);
  if (view === "sets" && held.events) parts.push("Waiting for a match: ", [plural(held.events, "event")], ". ");
  return parts;
}

const perAnswer = (size) => (size < 1000 ? `${Number(size.toPrecision(2))} bytes` : bytes(size));

export function forgotten(target, stream) {
  const generations = sum(stream.droppedGenerations);
  const events = sum(stream.dropped);
  const missed = sum(stream.missed);
  const { completeFrom } = stream.coverage;
  const parts = [];
  if (completeFrom != null) {
    parts.push("All before ", [moment(completeFrom, stream.unit)]);
    if (generations) parts.push(`: ${plural(generations, "generation")} with ${compact(events)} events`);
    else if (events) parts.push(`: ${compact(events)} events`);
    const reasons = Object.keys(generations ? stream.droppedGenerations : stream.dropped).map(
      (reason) => REASONS[reason] ?? reason.replaceAll("_", " "),
    );
    parts.push(reasons.length ? `, ${[...new Set(reasons)].join(", and ")}. ` : ". ");
  } else if (events) {
    parts.push(
      [`${compact(events)} events`],
      ` that were too old or too many: ${Object.entries(stream.dropped)
        .map(([reason, count]) => `${reason.replaceAll("_", " ")} ${compact(count)}`)
        .join(", ")}. `,
    );
  } else {
    parts.push(["Nothing."], " Every answer is complete from the beginning of the stream. ");
  }
  if (missed)
    parts.push(
      [`${compact(missed)} records`],
      ` could not be read: ${Object.keys(stream.missed)
        .map((reason) => reason.replaceAll("_", " "))
        .join(", ")}. `,
    );
  if (stream.missing.length)
    parts.push(`${plural(stream.missing.length, "range")} of time may be incomplete (marked below). `);
  if (completeFrom != null) parts.push("An answer about an earlier time says that it is incomplete.");
  return sentence(target, ...parts);
}

// Say how far back the memory budget reaches, if a forecast is possible.
export function reach(target, stream) {
  const { forecast, unit, view, held } = stream;
  if (!isTime(unit) || view === "top")
    return sentence(target, "This view does not drop data by time, so there is no forecast.");
  if (forecast.reach == null) return sentence(target, `The budget's reach is unknown: ${forecast.why}.`);
  const first = stream.bars[0]?.start ?? stream.live.start;
  const spanned = (stream.live.end ?? stream.bars.at(-1).end) - first;
  const full = forecast.reach <= spanned;
  const disk = held.spilled ? ", and older generations stay on disk" : "";
  if (toMs(forecast.reach, unit) > 1e4 * 31_557_600_000)
    return sentence(target, "At this rate the budget reaches back ", ["more than 10,000 years"], ".");
  return sentence(
    target,
    "At this rate the budget reaches back ",
    [length(forecast.reach, unit)],
    ` of event time${full ? disk : `; so far it holds ${length(spanned, unit)}`}.`,
    ` (${plural(forecast.generations, "newest generation")}: ${pace(forecast.bytesPerTime, unit)}.)`,
  );
}

function pace(bytesPerTime, unit) {
  const hour = (bytesPerTime / toMs(1, unit)) * 3_600_000;
  return `${bytes(hour)} per hour of event time`;
}

// Say in one sentence where records wait. The slow part is the one behind the full queue.
export function bottleneck(stream) {
  const { lagTotal, inFlight, credits, state, degradedBy, trouble } = stream;
  if (degradedBy) return "Nothing is read any more, because the stream was given up.";
  if (trouble) return `No records can be read (${trouble.state}), so the number of waiting records is unknown.`;
  if (lagTotal === 0) return "The stream keeps up: all records are read.";
  if (credits && inFlight >= 0.9 * credits)
    return `${compact(lagTotal)} records wait in Kafka. All credits are in use: the collectors or the sinks are slow.`;
  return `${compact(lagTotal)} records wait in Kafka. Credits are free: reading is slow (${state}).`;
}
