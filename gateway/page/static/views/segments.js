// The view segments: finished batches, each of which can be opened, and batches that wait for segments.

import { ask, json, refusal } from "../lib/access.js";
import { element, table } from "../lib/element.js";
import { least, most } from "../lib/exact.js";
import { compact, number, plural } from "../lib/format.js";
import { Rows } from "../parts/rows.js";
import { batchColumns, newestBatches } from "./batches.js";

const MOST_LETTERS = 20_000;

export const SEGMENTS = {
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
      view.line = element("div", { class: "opened", role: "region", "aria-label": "One batch", hidden: true });
      target.replaceChildren(box, view.line);
      view.table = new Rows(box);
    }
    const key = rows.map(({ batch, order }) => `${batch} ${order}`).join();
    if (view.drawn !== key) {
      view.drawn = key;
      view.table.show({
        caption: "Finished batches, by id",
        columns: batchColumns(view.stream.name, opener(view)),
        rows,
      });
    }
    return rows.length
      ? "Each finished batch was written as one line, with its numbers in ascending order. A click opens the line."
      : "No batch is finished yet.";
  },
};

// Return what a click on a batch does: it shows the numbers of the line. The link itself leads to the whole line.
const opener = (view) => async (event, batch) => {
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const { name } = view.stream;
  const { line } = view;
  line.hidden = false;
  try {
    const { text, cut } = await start(`/${name}/${batch.batch}`);
    const close = () => {
      line.hidden = true;
    };
    const numbers = text.split(",").map((each) => each.trim());
    const button = element("button", { type: "button", onclick: close }, "Close");
    const whole = element("a", { href: `/${name}/${batch.batch}` }, "the whole line");
    const here = cut ? `, the first ${number(numbers.length)} here: ` : ": ";
    const many = `${plural(batch.count, "number")} in ascending order${here}`;
    line.replaceChildren(
      element("div", { class: "head" }, element("h3", {}, `Batch ${number(batch.batch)}`), button),
      element("p", {}, many, whole),
      element("pre", { class: "numbers", tabindex: 0, "aria-label": "Numbers" }, numbers.join(" ")),
    );
    line.scrollIntoView({ block: "nearest" });
    button.focus({ preventScroll: true });
  } catch (error) {
    line.replaceChildren(element("p", { class: "bad" }, `No answer: ${error.message}.`));
  }
};

// Return the beginning of a line. A line may have millions of numbers, so the rest is not read.
async function start(path) {
  const response = await ask(path);
  if (!response.ok) throw await refusal(response);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return { text: text.trim(), cut: false };
    text += value;
    if (text.length <= MOST_LETTERS) continue;
    await reader.cancel();
    return { text: text.slice(0, text.lastIndexOf(",", MOST_LETTERS)), cut: true };
  }
}
