// Formats numbers, sizes, times and durations for people. Times are UTC, in the stream's time unit.

const grouped = new Intl.NumberFormat("en");
const MS = { s: 1000, ms: 1, us: 1e-3, ns: 1e-6 };
const LATEST_MS = 8.64e15; // the latest time that Date can hold

export const number = (value) => grouped.format(value);

export function plural(count, one, many = `${one}s`) {
  return `${number(count)} ${count === 1 ? one : many}`;
}

export function compact(value) {
  if (Math.abs(value) < 10_000) return number(Math.round(value));
  for (const [size, name] of [
    [1e12, " trillion"],
    [1e9, " billion"],
    [1e6, " million"],
  ]) {
    if (Math.abs(value) >= size) return `${trimmed(value / size)}${name}`;
  }
  return number(Math.round(value));
}

// Format a rate: a whole number above ten, otherwise one decimal digit.
export const rate = (value) => (value >= 10 || value === 0 ? number(Math.round(value)) : value.toFixed(1));

export function bytes(value) {
  if (value < 1024) return `${Math.round(value)} B`;
  const names = ["KiB", "MiB", "GiB", "TiB"];
  let at = -1;
  do {
    value /= 1024;
    at += 1;
  } while (value >= 1024 && at < names.length - 1);
  return `${trimmed(value)} ${names[at]}`;
}

function trimmed(value) {
  return Math.abs(value) >= 100 ? grouped.format(Math.round(value)) : String(Number(value.toPrecision(3)));
}

// Format a duration by its two largest units.
export function duration(ms) {
  if (!Number.isFinite(ms)) return "unknown";
  if (ms < 1) return "less than 1 ms";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${Number((ms / 1000).toPrecision(3))} s`;
  const units = [
    ["year", 31_557_600],
    ["day", 86_400],
    ["h", 3600],
    ["min", 60],
    ["s", 1],
  ];
  let seconds = Math.round(ms / 1000);
  const at = units.findIndex(([, size]) => seconds >= size);
  const first = Math.floor(seconds / units[at][1]);
  seconds -= first * units[at][1];
  const named = (count, name) =>
    `${number(count)} ${name}${name.length > 2 && name !== "min" && count !== 1 ? "s" : ""}`;
  const second = at + 1 < units.length ? Math.floor(seconds / units[at + 1][1]) : 0;
  return second && first < 100
    ? `${named(first, units[at][0])} ${named(second, units[at + 1][0])}`
    : named(first, units[at][0]);
}

export const isTime = (unit) => unit in MS;
export const toMs = (value, unit) => value * (MS[unit] ?? 1);
export const length = (value, unit) => (isTime(unit) ? duration(value * MS[unit]) : number(Math.round(value)));

// Format a time to the second, or to the millisecond if `fine`. A time that Date cannot hold stays a number.
export function moment(value, unit, fine = false) {
  if (value == null) return "";
  if (!isTime(unit)) return number(value);
  const ms = toMs(value, unit);
  if (Math.abs(ms) > LATEST_MS) return String(value);
  const text = new Date(ms).toISOString().replace("T", " ").replace("Z", "");
  return fine ? text : text.replace(/\.\d+$/, "");
}

// Parse a typed time: an integer in the stream's unit, or a date and time in UTC or the given zone. null if neither.
export function parsed(text, unit) {
  const plain = text.trim().replaceAll(",", "");
  if (/^[+-]?\d{1,19}$/.test(plain)) return Number(plain);
  if (!isTime(unit)) return null;
  const zoned =
    /(z|[+-]\d\d:?\d\d)$/i.test(plain) && plain.includes(":")
      ? plain
      : `${plain}${plain.includes(":") ? "Z" : "T00:00Z"}`;
  const ms = Date.parse(zoned.replace(" ", "T"));
  return Number.isNaN(ms) ? null : Math.round(ms / MS[unit]);
}

export const clock = (seconds) => new Date(seconds * 1000).toISOString().slice(11, 19);
