// A time on the page: as a date, or as how long ago it is. The choice is for all tables and tiles, and stays in this
// browser. The other form is the title of each time. How long ago is measured to the time of the picture, by the
// service's clock: the browser's may differ, and a page that stands still shows the past.

import { element, write } from "./element.js";
import { ago, isTime, moment, toMs } from "./format.js";

const KEY = "firnline-times";
const EVERY_MS = 900;

let relative = localStorage.getItem(KEY) === "relative";
let pictured = 0; // the time of the picture in seconds since 1970
let refreshed = 0;

export const isRelative = () => relative;

export function showRelative(wanted) {
  relative = wanted;
  localStorage.setItem(KEY, wanted ? "relative" : "absolute");
  refresh(pictured, true);
}

// Return the chosen form of a time in ms since 1970, and the other one. `date` is its text as a date.
export function forms(ms, date) {
  const passed = ago(ms / 1000, pictured);
  return relative ? [passed, date] : [date, passed];
}

// Return whether the text of a time in a unit is a date: very large times are numbers.
export const isDate = (text, unit) => isTime(unit) && text.includes(":");

// Return the element of an integer time in a unit, or its text if it is no date.
export function when(value, unit, fine = false) {
  const date = moment(value, unit, fine);
  if (!isDate(date, unit)) return date;
  const ms = toMs(value, unit);
  const [shown, title] = forms(ms, date);
  return element("time", { datetime: new Date(ms).toISOString(), title, "data-ms": ms, "data-date": date }, shown);
}

// Return the element of a time in seconds since 1970, such as one of the service's clock.
export const whenAt = (seconds, fine = false) => (seconds == null ? "" : when(Math.round(seconds * 1000), "ms", fine));

// Write all times of the document anew, for a picture of a time in seconds since 1970: at most once a second, unless
// the form has changed.
export function refresh(at, changed = false) {
  pictured = at;
  if (!changed && performance.now() - refreshed < EVERY_MS) return;
  refreshed = performance.now();
  for (const each of document.querySelectorAll("time[data-ms]")) {
    const [shown, title] = forms(Number(each.dataset.ms), each.dataset.date);
    write(each, shown);
    if (each.title !== title) each.title = title;
  }
}
