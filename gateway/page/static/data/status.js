// The state of a stream in a word, with a kind for its colour: good, mild, bad or quiet. Used by tabs and cards.

import { age, duration } from "../lib/format.js";

const FAR = 2; // seconds of reading: with less than that unread, a stream is not said to catch up
const LEAST_LAG = 1_000;
const LATELY_S = 10;

const listed = (numbers) => `shard${numbers.length === 1 ? "" : "s"} ${numbers.join(", ")}`;

// Return who has the shards of a stream in a cluster in some words; nothing if it is in none.
export function shardsOf(stream) {
  const shards = stream.shards ?? [];
  const here = shards.filter(({ state }) => state === "here").length;
  const troubled = shards.filter(({ problems }) => problems.length).length;
  const more = troubled ? `, ${troubled} with problems` : "";
  return shards.length ? `${here} of ${shards.length} shards here${more}` : "";
}

// Return whether no record was an event. Without an answer there may still be events that wait for one.
export const eventless = (stream) => stream.events === 0 && !stream.buffered && !stream.apart;

// `rates` is what State.rates gives, or null. The word does not flicker: it follows rates over ten seconds.
export function statusOf(stream, rates, now) {
  if (stream.degradedBy) return { kind: "bad", word: "given up", detail: stream.degradedBy };
  if (stream.silent) return { kind: "bad", word: "no answer", detail: stream.silent };
  if (stream.trouble) {
    const stale = stream.lastRecordAt == null ? "" : `, stale for ${age(now - stream.lastRecordAt)}`;
    return { kind: "bad", word: stream.trouble.state, detail: `${stream.trouble.reasons.join("; ")}${stale}` };
  }
  const shards = stream.shards ?? [];
  const lost = shards.filter(({ state }) => state === "nowhere").map(({ shard }) => shard);
  if (lost.length) return { kind: "bad", word: "shards absent", detail: `no process answers for ${listed(lost)}` };
  const late = shards.filter(({ state }) => state === "catching up").map(({ shard }) => shard);
  if (late.length)
    return {
      kind: "mild",
      word: "catching up",
      detail: `${listed(late)} ${late.length === 1 ? "reads" : "read"} what came before`,
    };
  if (stream.starting) return { kind: "mild", word: "starting", detail: "reading its checkpoint" };
  const rate = rates?.records ?? 0;
  if (stream.lagTotal > Math.max(LEAST_LAG, FAR * rate)) {
    const left = rate > 0 ? `, about ${duration((stream.lagTotal / rate) * 1000)} left` : "";
    return { kind: "mild", word: "catching up", detail: `${stream.lagTotal} records are not read yet${left}` };
  }
  if (/transaction|dead letters/.test(stream.state)) return { kind: "mild", word: "waiting", detail: stream.state };
  if (stream.state === "waiting for the topic") return { kind: "quiet", word: "no topic yet", detail: stream.state };
  if (!stream.records) return { kind: "quiet", word: "empty", detail: "no record has arrived yet" };
  if (eventless(stream)) return { kind: "mild", word: "no events", detail: "no record was an event" };
  const lately = rates == null && now - stream.lastRecordAt < LATELY_S; // just after a visit no rate is known
  if (rate > 0 || lately) return { kind: "good", word: "reading", detail: "reads records as they come" };
  return { kind: "good", word: "at the end", detail: "all records are read" };
}
