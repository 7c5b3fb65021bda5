// The view top: the ids with the largest values, with a bar for each value. Any id can be found.

import { csv } from "../lib/access.js";
import { element, gauge } from "../lib/element.js";
import { least, most } from "../lib/exact.js";
import { compact, number } from "../lib/format.js";
import { Rows } from "../parts/rows.js";

export const TOP = {
  title: "The largest",
  choices: () => ["50", "200", "1000"],
  legend: "How many",
  async load({ name }, limit) {
    return csv(`/${name}?limit=${limit}&format=csv`);
  },
  draw([, ...rows], target, view) {
    if (!target.children.length) {
      view.search = element("input", { type: "search", spellcheck: "false", oninput: () => view.found() });
      const box = element("div", { class: "scroll rows", tabindex: 0, role: "region", "aria-label": "Ids" });
      target.append(element("label", { class: "search" }, "Find an id ", view.search), box);
      view.table = new Rows(box);
      view.sought = "";
    }
    const key = JSON.stringify(rows);
    if (view.drawn !== key) {
      view.drawn = key;
      view.rows = rows.map(([id, value], at) => ({ id, value: BigInt(value), rank: at + 1 }));
      view.found();
    }
    return rows.length
      ? `The ${compact(rows.length)} ids with the largest values, as of now. The last value of an id counts.`
      : "No id is held.";
  },
};

// Return the columns of the table of ids; a bar behind an id shows its value, from the smallest to the largest one.
export function idColumns(rows) {
  const values = rows.map(({ value }) => value);
  const [low, high] = rows.length ? [least(0n, ...values), most(1n, ...values)] : [0n, 1n];
  const share = (value) => Number(value - low) / Number(high - low);
  const barred = ({ id, value }) =>
    element("span", { class: "barred" }, gauge(share(value)), element("span", { class: "mono" }, id));
  return [
    { title: "rank", kind: "n rank", text: ({ rank }) => number(rank), key: ({ rank }) => rank },
    { title: "id", kind: "wide", text: barred, key: ({ id }) => id },
    { title: "value", kind: "n", text: ({ value }) => number(value), key: ({ value }) => value },
  ];
}
