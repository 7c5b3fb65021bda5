// What the address says after its #: the stream, and the range that is asked about. A link that is copied reproduces it.

export function read() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const parameters = new URLSearchParams(query);
  const time = (name) => (/^-?\d+$/.test(parameters.get(name) ?? "") ? Number(parameters.get(name)) : null);
  return { stream: decodeURIComponent(path), from: time("from"), to: time("to"), by: parameters.get("by") };
}

export function address({ stream, from = null, to = null, by = null }) {
  const parameters = new URLSearchParams();
  if (from != null && to != null) {
    parameters.set("from", whole(from));
    parameters.set("to", whole(to));
  }
  if (by) parameters.set("by", by);
  return `#/${encodeURIComponent(stream)}${parameters.size ? `?${parameters}` : ""}`;
}

// Replaces, and adds nothing to the history: dragging is no journey.
export function say(where) {
  const wanted = address(where);
  if (location.hash !== wanted) history.replaceState(null, "", wanted);
}

// Whole digits, also where nanoseconds are beyond what a double tells apart.
export const whole = (value) => BigInt(Math.round(value)).toString();
