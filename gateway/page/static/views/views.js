// Shows the answers of the views top, uniques, words and segments. Reads them from the API every two seconds,
// while the page is visible.

import { Chart } from "../charts/charts.js";
import { csv, json } from "../lib/access.js";
import { byId, element, gauge, sentence, table, write } from "../lib/element.js";
import { least, most } from "../lib/exact.js";
import { compact, moment, number, toMs } from "../lib/format.js";
import { Rows } from "../parts/rows.js";
import { batchColumns, newestBatches } from "./batches.js";
import { FUNNEL } from "./funnel.js";

const EVERY_MS = 2_000;
const PERIODS = 120;
const LENGTH_MS = { minute: 6e4, hour: 3.6e6, day: 8.64e7, week: 6.048e8, month: 2.6784e9, year: 3.16224e10 };

const VIEWS = {
  funnel: FUNNEL,
  top: {
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
  },
  uniques: {
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
        view.chart = new Chart(chart, "Unique users by period", [["unique users", "--aged", compact]], {
          bars: true,
          period: LENGTH_MS[view.choice] / 1000,
        });
      }
      view.chart.set([rows.map(({ start }) => start), rows.map(({ unique }) => unique)]);
      const cells = rows
        .toReversed()
        .map((row) => [
          moment(row.start, "s"),
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
  },
  words: {
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
  },
  segments: {
    title: "Batches",
    choices: () => ["newest", "pending"],
    legend: "Which",
    async load({ name, live, bars }, which) {
      if (which === "pending") return json(`/${name}/pending?limit=50`);
      const all = [...bars, live].filter(({ start }) => start != null);
      if (!all.length) return { segments: [] };
      const [first, end] = [least(...all.map(({ start }) => start)), most(...all.map((bar) => bar.end))];
      return { segments: await newestBatches(name, first, end) };
    },
    draw({ segments, pending }, target, view) {
      if (pending) {
        view.table = null;
        table(
          target,
          "Batches that are not complete",
          [["batch", "n"], ["missing segments"]],
          pending.map(({ batch, missing }) => [number(batch), missing.join(", ")]),
        );
        return pending.length
          ? `${compact(pending.length)}${pending.length === 50 ? " or more" : ""} batches wait for segments.`
          : "No batch waits for segments.";
      }
      const rows = segments.slice(-50).toReversed();
      if (!view.table) {
        const box = element("div", {
          class: "scroll rows",
          tabindex: 0,
          role: "region",
          "aria-label": "Batches by id",
        });
        target.replaceChildren(box);
        view.table = new Rows(box);
      }
      const key = rows.map(({ batch, order }) => `${batch} ${order}`).join();
      if (view.drawn !== key) {
        view.drawn = key;
        view.table.show({ caption: "Finished batches, by id", columns: batchColumns(view.stream.name), rows });
      }
      return rows.length
        ? "Each finished batch was written as one line, with its numbers in ascending order."
        : "No batch is finished yet.";
    },
  },
};

// Return the columns of the table of ids; a bar behind an id shows its value, from the smallest to the largest one.
function idColumns(rows) {
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

export class View {
  // Show the view of `stream`, if it has one beside its ranges.
  of(stream) {
    const known = VIEWS[stream.view];
    byId("view").hidden = !known;
    const fresh = this.stream?.name !== stream.name;
    this.stream = stream;
    if (!known || !fresh) return;
    this.chart?.destroy();
    this.chart = this.drawn = this.table = null;
    byId("view-body").replaceChildren();
    write(byId("view-title"), known.title);
    const choices = known.choices(stream);
    this.choice = choices[0];
    const option = (name) =>
      element(
        "label",
        {},
        element("input", {
          type: "radio",
          name: "choice",
          value: name,
          checked: name === this.choice,
          onchange: () => this.choose(name),
        }),
        element("span", {}, name),
      );
    byId("view-switches").replaceChildren(
      element("fieldset", {}, element("legend", {}, known.legend), ...choices.map(option)),
    );
    this.load();
  }

  // Show the ids that have the sought text. If none of those that were read has it, ask the service for just this id.
  async found() {
    const sought = this.search.value.trim();
    let rows = this.rows.filter(({ id }) => id.includes(sought));
    if (!rows.length && sought) {
      const one = await json(`/${this.stream.name}/${encodeURIComponent(sought)}`).catch(() => null);
      if (sought !== this.search.value.trim()) return;
      if (one) rows = [{ id: one.id, value: BigInt(one.value), rank: one.rank }];
    }
    const caption = sought
      ? `${compact(rows.length)} of ${compact(this.rows.length)} ids have this text`
      : "The largest value first";
    this.table.show({ caption, columns: idColumns(rows), rows });
  }

  choose(name) {
    this.choice = name;
    this.chart?.destroy(); // another period has another width of a bar
    this.chart = null;
    this.drawn = null;
    if (this.stream.view !== "top") byId("view-body").replaceChildren();
    this.load();
  }

  async load() {
    clearTimeout(this.timer);
    const { stream, choice } = this;
    const known = VIEWS[stream.view];
    if (!known) return;
    try {
      const body = document.hidden ? null : await known.load(stream, choice);
      if (stream.name !== this.stream.name || choice !== this.choice) return;
      if (body) sentence(byId("view-said"), known.draw(body, byId("view-body"), this));
    } catch (error) {
      if (stream.name === this.stream.name) sentence(byId("view-said"), `No answer: ${error.message}.`);
    }
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.load(), EVERY_MS);
  }
}
