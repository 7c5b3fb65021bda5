// The time zone of all times on the page: UTC, the browser's own, or a named one. The choice stays in this browser.

const KEY = "firnline-zone";
const QUARTER_MS = 900_000;
const MOST = 4_000; // offsets that are remembered

export const LOCAL = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
const listeners = new Set();
const offsets = new Map();
let zone = known(localStorage.getItem(KEY)) ?? "UTC";
let formatter = formatterOf(zone);

export const now = () => zone;
// Call the listener when another zone is chosen. Returns a function that ends this.
export function onZone(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

// Return every zone that the browser knows.
export const zones = () => ["UTC", ...Intl.supportedValuesOf("timeZone").filter((name) => name !== "UTC")];

// Choose a zone. Returns whether the browser knows it.
export function choose(name) {
  const wanted = known(name);
  if (!wanted) return false;
  zone = wanted;
  formatter = formatterOf(zone);
  offsets.clear();
  localStorage.setItem(KEY, zone);
  for (const listener of listeners) listener();
  return true;
}

function known(name) {
  try {
    return name && new Intl.DateTimeFormat("en", { timeZone: name }).resolvedOptions().timeZone;
  } catch {
    return null;
  }
}

function formatterOf(name) {
  const parts = {
    year: "numeric",
    month: "2-digit",
    day: "2-digit",
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
  };
  return new Intl.DateTimeFormat("en-US", { timeZone: name, hourCycle: "h23", era: "short", ...parts });
}

// Return the ms that the zone is ahead of UTC at a time in ms since 1970.
export function offsetAt(ms) {
  if (zone === "UTC" || !Number.isFinite(ms)) return 0;
  const quarter = Math.floor(ms / QUARTER_MS);
  let offset = offsets.get(quarter);
  if (offset != null) return offset;
  const at = quarter * QUARTER_MS;
  const found = Object.fromEntries(formatter.formatToParts(at).map(({ type, value }) => [type, value]));
  const year = found.era === "BC" ? 1 - Number(found.year) : Number(found.year);
  const shown = new Date(0);
  shown.setUTCFullYear(year, Number(found.month) - 1, Number(found.day));
  shown.setUTCHours(Number(found.hour), Number(found.minute), Number(found.second));
  offset = shown.getTime() - at;
  if (offsets.size > MOST) offsets.clear();
  offsets.set(quarter, offset);
  return offset;
}

// Return a time in ms as an ISO text of the zone, without the zone: 2026-01-31T12:00:00.000.
export const iso = (ms) => new Date(ms + offsetAt(ms)).toISOString().slice(0, -1);

// Return the zone's offset at a time as +01:00, or Z for UTC.
export function suffix(ms) {
  if (zone === "UTC") return "Z";
  const minutes = Math.round(offsetAt(ms) / 60_000);
  const two = (value) => String(value).padStart(2, "0");
  return `${minutes < 0 ? "-" : "+"}${two(Math.floor(Math.abs(minutes) / 60))}:${two(Math.abs(minutes) % 60)}`;
}

// Return what is typed with the zone's offset, if it is a date or a time without one. The service would take it as UTC.
export function withZone(text) {
  const typed = /^(\d{4}-\d\d-\d\d)(?:[ T](\d\d:\d\d(?::\d\d(?:\.\d+)?)?))?$/.exec(text);
  if (!typed || zone === "UTC") return text;
  const [, date, time = "00:00"] = typed;
  const wall = Date.parse(`${date}T${time.slice(0, 8)}Z`);
  if (Number.isNaN(wall)) return text;
  const guess = wall - offsetAt(wall);
  return `${date}T${time}${suffix(wall - offsetAt(guess))}`;
}

// Return a time in seconds since 1970 as date and time of the zone.
export const stamp = (seconds) =>
  iso(seconds * 1000)
    .slice(0, 19)
    .replace("T", " ");
