// Joins the two kinds of live events into one object for each stream, and keeps a history to compute rates.

import { big } from "../lib/exact.js";
import { NOUNS } from "./nouns.js";

const KEPT_S = 600;
const BETWEEN_S = 0.95;
const WORK_S = 12;
const SMOOTH = 5; // points

const BAR = ["number", "state", "start", "end", "answers", "events", "bytes", "disk", "count"];
const GONE = ["number", "start", "end", "events", "bytes", "reason", "at"];

const TIMES = new Set(["start", "end"]);

const named = (names) => (values) =>
  Object.fromEntries(names.map((name, at) => [name, TIMES.has(name) ? big(values[at]) : values[at]]));
const bar = named(BAR);
const gone = named(GONE);

export class State {
  constructor() {
    this.memory = {};
    this.streams = new Map();
    this.history = new Map();
    this.work = [];
  }

  takeMemory(memory) {
    this.memory = memory;
  }

  takeNow(now) {
    const names = now.streams.map(({ name }) => name);
    this.now = now;
    this.streams = new Map(now.streams.filter((each) => each.held).map((each) => [each.name, this.joined(each, now)]));
    this.names = names;
    for (const stream of this.streams.values()) this.remember(stream, now.at);
    if (this.work.length && now.at < this.work.at(-1).at) this.work = [];
    this.work.push({ at: now.at, worked: now.worked ?? {} });
    while (this.work[0].at < now.at - WORK_S) this.work.shift();
  }

  joined(now, all) {
    const memory = this.memory[now.name] ?? { bars: [], gone: [] };
    const bars = memory.bars.map(bar).map((each) => ({ ...each, key: `h${each.number}` }));
    const live = { ...bar(now.active), key: `h${now.active[0]}` };
    const held = new Set([live, ...bars].map(({ number }) => number));
    const went = memory.gone.map(gone).map((each) => ({
      ...each,
      state: "gone",
      disk: 0,
      count: 1,
      key: `${held.has(each.number) ? "g" : "h"}${each.number}`,
    }));
    return {
      ...now,
      coverage: {
        completeFrom: big(now.coverage.completeFrom),
        completeTo: big(now.coverage.completeTo),
        finalUntil: big(now.coverage.finalUntil),
      },
      watermark: big(now.watermark),
      missing: now.missing.map(([reason, from, to, count]) => [reason, big(from), big(to), count]),
      bars,
      live,
      gone: went,
      noun: NOUNS[now.view] ?? "answers",
      degradedBy: all.degraded?.[now.name],
      restarts: all.restarts?.[now.name] ?? 0,
      actors: (all.actors ?? []).filter(({ stream }) => !stream || stream.split(".")[0] === now.name), // or a shard's
      at: all.at,
    };
  }

  remember(stream, at) {
    const points = this.history.get(stream.name) ?? [];
    const last = points.at(-1);
    if (last && (stream.records < last.records || at < last.at))
      points.length = 0; // the service has restarted
    else if (last && at - last.at < BETWEEN_S) return;
    const refused = Object.values(stream.rejects).reduce((sum, count) => sum + count, 0);
    points.push({
      at,
      records: stream.records,
      made: stream.made,
      refused,
      late: stream.late,
      lag: stream.trouble ? null : stream.lagTotal, // unknown while the brokers do not answer
      memory: stream.memory.accounted,
    });
    while (points[0].at < at - KEPT_S) points.shift();
    this.history.set(stream.name, points);
  }

  // Return the share of a processor that each thread has taken over the last seconds, by its name; null if unknown.
  // The threads of a stream's shards, such as words.2/active, count together.
  shares(seconds) {
    const last = this.work.at(-1);
    const first = this.work.find(({ at }) => at >= last.at - seconds);
    const passed = last && first ? last.at - first.at : 0;
    if (passed < 1) return () => null;
    return (thread) => {
      const own = Object.keys(last.worked).filter((each) => each.replace(/\.\d+\//, "/") === thread);
      const grown = own.length
        ? own.reduce((sum, each) => sum + last.worked[each] - (first.worked[each] ?? 0), 0)
        : NaN;
      return Number.isFinite(grown) && grown >= 0 ? Math.min(1, grown / passed) : null;
    };
  }

  // Return rates per second over the last `seconds`: { records, made, refused, late }, or null without a history.
  rates(name, seconds) {
    const points = this.history.get(name) ?? [];
    const last = points.at(-1);
    const first = points.find(({ at }) => at >= last.at - seconds);
    const passed = last && first ? last.at - first.at : 0;
    if (passed < Math.min(1, seconds / 2)) return null;
    const each = (key) => Math.max(0, last[key] - first[key]) / passed;
    return {
      records: each("records"),
      made: each("made"),
      refused: each("refused"),
      late: each("late"),
      seconds: passed,
    };
  }

  // Return the points of the last minutes, about one a second, in the form of the history that the service keeps.
  recent(name) {
    const points = this.history.get(name) ?? [];
    const rate = (key) =>
      points.slice(1).map((point, at) => {
        const before = points[Math.max(0, at + 1 - SMOOTH)]; // records come in bursts, which would be spikes
        return Math.max(0, point[key] - before[key]) / (point.at - before.at);
      });
    const level = (key) => points.slice(1).map((point) => point[key]);
    return {
      at: level("at"),
      records: rate("records"),
      answers: rate("made"),
      refused: rate("refused"),
      late: rate("late"),
      lag: level("lag"),
      memory: level("memory"),
    };
  }
}
