// The history that the service keeps: read once for a stream, and then continued by the live events.

import { json } from "../lib/access.js";
import { paused } from "../lib/pause.js";

const EVERY_MS = 10_000;
const POINTS = 360;
const ROWS = ["at", "records", "answers", "refused", "late", "lag", "memory"];

export class Past {
  // `changed()` is called after new points have come.
  constructor(changed) {
    this.changed = changed;
    this.kept = new Map();
  }

  // Return the history of the last seconds, as { at, records, …, marks }, or null until it is read. It is read
  // again every ten seconds while it is asked for.
  of(name, last) {
    const key = `${name} ${last}`;
    const known = this.kept.get(key) ?? { body: null, asked: -Infinity };
    this.kept.set(key, known);
    if (performance.now() - known.asked > EVERY_MS && !document.hidden && !paused()) {
      known.asked = performance.now();
      this.read(name, last, known);
    }
    return known.body;
  }

  async read(name, last, known) {
    try {
      known.body = await json(`/streams/${name}/history?last=${last}&points=${POINTS}`);
      this.changed();
    } catch {
      // The live events report a service that is away; the history stays as it was.
    }
  }

  forget() {
    this.kept.clear();
  }
}

// Return the history as it was until the page was opened, and from then on as the page has seen it, once a second.
export function continued(body, recent) {
  if (!recent.at.length) return body;
  const first = recent.at[0];
  const end = body.at.findIndex((at) => at >= first);
  const until = end < 0 ? body.at.length : end;
  const joined = { ...body };
  for (const row of ROWS) joined[row] = [...body[row].slice(0, until), ...recent[row]];
  return joined;
}
