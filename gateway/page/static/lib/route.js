// Reads and writes the part of the address after #: the stream, its part ("" for the data, "records" or "inside") and
// the queried range. A copied link shows all of them again.

export const PARTS = ["", "records", "inside"];

export function read() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const parameters = new URLSearchParams(query);
  const time = (name) => (/^-?\d+$/.test(parameters.get(name) ?? "") ? BigInt(parameters.get(name)) : null);
  const [stream, part = ""] = path.split("/").map(decoded);
  const known = PARTS.includes(part) ? part : "";
  return { stream, part: known, from: time("from"), to: time("to"), by: parameters.get("by") };
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a broken escape is no stream's name, and the page says so
  }
}

export function address({ stream, part = "", from = null, to = null, by = null }) {
  const parameters = new URLSearchParams();
  if (from != null && to != null) {
    parameters.set("from", from);
    parameters.set("to", to);
  }
  if (by) parameters.set("by", by);
  const path = [stream, ...(part ? [part] : [])].map(encodeURIComponent).join("/");
  return `#/${path}${parameters.size ? `?${parameters}` : ""}`;
}

// Replace the address without a new history entry: a drag would add hundreds of entries.
export function say(where) {
  const wanted = address(where);
  if (location.hash !== wanted) history.replaceState(null, "", wanted);
}
