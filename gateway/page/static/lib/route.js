// Reads and writes the part of the address after #: the stream and the queried range. A copied link shows both again.

export function read() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const parameters = new URLSearchParams(query);
  const time = (name) => (/^-?\d+$/.test(parameters.get(name) ?? "") ? BigInt(parameters.get(name)) : null);
  return { stream: decodeURIComponent(path), from: time("from"), to: time("to"), by: parameters.get("by") };
}

export function address({ stream, from = null, to = null, by = null }) {
  const parameters = new URLSearchParams();
  if (from != null && to != null) {
    parameters.set("from", from);
    parameters.set("to", to);
  }
  if (by) parameters.set("by", by);
  return `#/${encodeURIComponent(stream)}${parameters.size ? `?${parameters}` : ""}`;
}

// Replace the address without a new history entry: a drag would add hundreds of entries.
export function say(where) {
  const wanted = address(where);
  if (location.hash !== wanted) history.replaceState(null, "", wanted);
}
