// The view uniques: a bar for each period, as wide as the period, and the same as a table.

import { Chart } from "../charts/charts.js";
import { json } from "../lib/access.js";
import { element, table } from "../lib/element.js";
import { compact, number, toMs } from "../lib/format.js";
import { when } from "../lib/when.js";

const PERIODS = 120;
const LENGTH_MS = { minute: 6e4, hour: 3.6e6, day: 8.64e7, week: 6.048e8, month: 2.6784e9, year: 3.16224e10 };

export const UNIQUES = {
  title: "Unique users",
  choices: ({ granularities }) => granularities,
  legend: "By",
  async load({ name, live, bars, unit }, by) {
    const end = toMs(live.end ?? bars.at(-1)?.end ?? 0, unit);
    const start = Math.max(0, end - PERIODS * LENGTH_MS[by]);
    return json(`/${name}?granularity=${by}&start=${new Date(start).toISOString()}`);
  },
  draw({ uniques }, target, view) {
    const rows = uniques.slice(-PERIODS).sort((one, other) => one.start - other.start);
    if (!view.chart) {
      const chart = element("div", { class: "chart" });
      view.rest = element(
        "details",
        {},
        element("summary", {}, "As a table"),
        element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Unique users by period" }),
      );
      target.append(chart, view.rest);
      view.chart = new Chart(chart, "Unique users by period", [["unique users", "--aged", compact]], { bars: true });
    }
    const lengths = rows.map(({ start, end }) => end - start);
    view.chart.set([rows.map(({ start }) => start), rows.map(({ unique }) => unique)], [], lengths);
    const cells = rows
      .toReversed()
      .map((row) => [
        when(row.start, "s"),
        number(row.unique),
        row.exact ? "exact" : `${number(row.lower)} to ${number(row.upper)}`,
        number(row.frames),
        row.final ? "final" : "may change",
      ]);
    table(
      view.rest.lastChild,
      "The newest first",
      [["begins"], ["unique users", "n"], ["95 % bounds", "n"], ["frames", "n"], ["state"]],
      cells,
    );
    if (!rows.length) return "No period yet.";
    const { unique, frames } = rows.at(-1);
    return `The newest period has ${compact(unique)} different users in ${compact(frames)} frames so far.`;
  },
};
