// What each view keeps, in words, and the length of the times that a stream holds.

export const NOUNS = {
  sets: "sets",
  top: "ids",
  segments: "finished batches",
  uniques: "frames",
  words: "events",
  funnel: "sequences",
};

export const WHAT = {
  sets: "complete sets of events in time order",
  top: "the ids with the largest values",
  segments: "sorted segments, merged into batches",
  uniques: "unique users by minute, hour, day and longer",
  words: "counts of events, by type and by word",
  funnel: "sequences of steps by key, in order of time",
};

// Return the length of the times that the stream holds, or null if it holds nothing.
export function heldSpan({ bars, live }) {
  const first = bars[0]?.start ?? live.start;
  const last = live.end ?? bars.at(-1)?.end;
  return first == null || last == null ? null : last - first;
}
