// The drawing of a funnel: a bar for each step, with how many sequences reached it, were lost before it, and how long
// the step took.

import { json } from "../lib/access.js";
import { element, gauge, table, write } from "../lib/element.js";
import { compact, duration, number } from "../lib/format.js";
import { when } from "../lib/when.js";

const WAITING = 20; // open sequences
const OVER = { "all time": "", "last hour": "?startTime=-1h", "last day": "?startTime=-1d" };
const RANGE = "chosen range";

export const FUNNEL = {
  title: "Steps",
  choices: () => [...Object.keys(OVER), RANGE],
  range: RANGE,
  legend: "Counted over",
  async load({ name }, over, [from, to] = []) {
    const query = over === RANGE ? `?startTime=${from}&endTime=${to}` : OVER[over];
    const [totals, { sequences }] = await Promise.all([
      json(`/${name}${query}`),
      json(`/${name}/sequences${query || "?"}&state=open&limit=${WAITING}`),
    ]);
    return { ...totals, sequences };
  },
  draw({ steps, complete, open, lapsed, sequences }, target, view) {
    if (!target.children.length) view.parts = parts(target, view);
    const { list, waiting } = view.parts;
    const key = JSON.stringify(steps);
    if (view.drawn !== key) {
      view.drawn = key;
      list.replaceChildren(...steps.map((step) => drawn(step, steps[0].reached)));
    }
    wait(waiting, sequences, view.stream);
    if (!steps[0]?.reached) return "No sequence in that time.";
    const rest = `${compact(open)} may still go on, ${compact(lapsed)} have lapsed`;
    return `${compact(complete)} sequences are complete, ${rest}.`;
  },
};

// Make the places of the steps, of the story of a key, and of the sequences that wait.
function parts(target, view) {
  const region = (label) => element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": label });
  const made = {
    list: element("ol", { class: "funnel" }),
    story: region("The events of a key"),
    waiting: region("Open sequences"),
  };
  const tell = ({ target: { value } }) => told(made.story, value, view.stream);
  const key = element("input", { type: "search", spellcheck: "false", onchange: tell });
  target.replaceChildren(
    made.list,
    element("label", { class: "search" }, "The events of the key ", key),
    made.story,
    made.waiting,
  );
  return made;
}

// Show the open sequences that began first: the next ones that lapse.
function wait(target, sequences, { steps, unit }) {
  const at = (time) => when(time, unit);
  table(
    target,
    sequences.length ? "The open sequences that lapse next" : "No sequence is open",
    [["key"], ...steps.map((step) => [step, "n"]), ["lapses at", "n"]],
    sequences.map((row) => [row.key, ...steps.map((step) => at(row.steps[step])), at(row.lapsesAt)]),
  );
}

// Show the events of a key: in which sequence each stands, or why in none.
async function told(target, key, { name, unit }) {
  delete target.dataset.table;
  if (!key) return target.replaceChildren();
  try {
    const { events } = await json(`/${name}/keys/${encodeURIComponent(key)}`);
    return table(
      target,
      events.length ? `The events of ${key}` : `No event of ${key} is held`,
      [["time", "n"], ["step"], ["sequence", "n"], ["state"], ["why in none"]],
      events.map((each) => [
        when(each.time, unit, true),
        each.step,
        each.sequence ?? "",
        each.state,
        each.reason ?? "",
      ]),
    );
  } catch (error) {
    return write(target, `No answer: ${error.message}.`);
  }
}

const percent = (share) => (share == null ? "" : `${Number((share * 100).toPrecision(3))} %`);
const spoken = (seconds) => duration(seconds * 1000);

function drawn(step, first) {
  const left = [
    step.open ? `${number(step.open)} may still go on` : "",
    step.lapsed ? `${number(step.lapsed)} have lapsed here` : "",
  ].filter(Boolean);
  const took =
    step.p50 == null
      ? ""
      : `half of them within ${spoken(step.p50)}, p95 ${spoken(step.p95)}, at most ${spoken(step.max)}`;
  return element(
    "li",
    {},
    element(
      "p",
      { class: "head" },
      element("span", { class: "number" }, element("b", {}, number(step.reached)), element("span", {}, step.step)),
      element("span", { class: "quiet" }, [percent(step.ofFirst), left.join(", ")].filter(Boolean).join(" · ")),
    ),
    gauge(first ? step.reached / first : 0),
    element("p", { class: "quiet" }, took),
  );
}
