// Formats numbers, sizes, times and durations for people. Times are in the stream's time unit, and shown in the zone of
// the page.

import { iso } from "./zone.js";

const grouped = new Intl.NumberFormat("en");
const MS = { s: 1000, ms: 1, us: 1e-3, ns: 1e-6 };
const DIGITS = { s: 0, ms: 3, us: 6, ns: 9 }; // of a fraction of a second
const [FIRST_S, LAST_S] = [-62_167_219_200, 253_402_300_799]; // the years 0 to 9999

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

// Return a size as { value, unit }, for a tile.
export function scaled(value) {
  const [figure, unit] = bytes(value).split(" ");
  return { value: figure, unit };
}

// Return a rate as [value, unit], for a tile: ["302", "/s"]. An unknown rate has no unit.
export function perSecond(value) {
  return value == null ? ["…", ""] : [value >= 100_000 ? compact(value) : rate(value), "/s"];
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

// Format an age in seconds, without a fraction that would change at every look.
export const age = (seconds) => (seconds < 1 ? "0 s" : duration(Math.floor(seconds) * 1000));

// Format a time as how long before another one it is, both in seconds since 1970.
export function ago(seconds, at) {
  const passed = at - seconds;
  if (passed <= -1) return `in ${age(-passed)}`;
  return passed < 2 ? "just now" : `${age(passed)} ago`;
}

export const isTime = (unit) => unit in MS;
export const toMs = (value, unit) => Number(value) * (MS[unit] ?? 1);
// Return a length as what a rate is per, or what one bucket has: "second", "5 min".
const WORDS = { "1 s": "second", "1 min": "minute", "1 h": "hour", "1 day": "day" };
export const each = (value, unit) => WORDS[length(value, unit)] ?? length(value, unit);

export const length = (value, unit) => (isTime(unit) ? duration(toMs(value, unit)) : number(value));

// Format an integer time to the second, or with all digits of its unit if `fine`. A time before the year 0 or after
// 9999 stays a number.
export function moment(value, unit, fine = false, inUtc = false) {
  if (value == null) return "";
  if (!isTime(unit)) return number(value);
  const per = 10n ** BigInt(DIGITS[unit]);
  const rest = ((BigInt(value) % per) + per) % per;
  const seconds = Number((BigInt(value) - rest) / per);
  if (seconds < FIRST_S || seconds > LAST_S) return String(value);
  const whole = inUtc ? new Date(seconds * 1000).toISOString() : iso(seconds * 1000);
  const text = whole.slice(0, 19).replace("T", " ");
  return fine ? `${text}.${String(rest).padStart(DIGITS[unit], "0").padEnd(3, "0")}` : text;
}

// Return a time with all digits as the API takes it, in UTC whatever the zone of the page is.
export const utc = (value, unit) => {
  const text = moment(value, unit, true, true);
  return /:/.test(text) ? `${text.replace(" ", "T")}Z` : text;
};

export const clock = (seconds) => iso(seconds * 1000).slice(11, 19);
