// The view words: counts by event type and by word, with a bar for each count.

import { json } from "../lib/access.js";
import { element, gauge } from "../lib/element.js";
import { number } from "../lib/format.js";

export const WORDS = {
  title: "Counts",
  choices: () => ["all time", "last minute", "last hour"],
  legend: "Counted over",
  async load({ name }, over) {
    const last = { "last minute": "&last=60", "last hour": "&last=3600" }[over] ?? "";
    const [types, words] = await Promise.all([
      json(`/${name}/CountByEventType?limit=20${last}`),
      json(`/${name}/CountWords?limit=20${last}`),
    ]);
    return { types, words };
  },
  draw({ types, words }, target) {
    if (!target.children.length) target.append(element("div", { class: "pair" }, element("div"), element("div")));
    const [left, right] = target.firstChild.children;
    counted(left, "By event type", "type", types);
    counted(right, "By word, the 20 most frequent", "word", words);
    return Object.keys(types).length
      ? "An event counts once for its type and once for each of its words."
      : "No event in that time.";
  },
};

function counted(target, caption, title, counts) {
  const rows = Object.entries(counts).sort((one, other) => other[1] - one[1]);
  const largest = Math.max(1, ...rows.map(([, count]) => count));
  const key = JSON.stringify(rows);
  if (target.dataset.key === key) return;
  target.dataset.key = key;
  const head = element(
    "tr",
    {},
    element("th", { scope: "col" }, title),
    element("th", { scope: "col", class: "n" }, "count"),
  );
  const body = rows.map(([name, count]) =>
    element(
      "tr",
      {},
      element("td", { class: "barred" }, gauge(count / largest), element("span", {}, name)),
      element("td", { class: "n" }, number(count)),
    ),
  );
  target.replaceChildren(
    element("table", {}, element("caption", {}, caption), element("thead", {}, head), element("tbody", {}, ...body)),
  );
}
