// The drawing of a funnel: a bar for each step, with how many sequences reached it, were lost before it, and how long
// the step took.

import { json } from "./access.js";
import { element, gauge } from "./element.js";
import { compact, duration, number } from "./format.js";

const OVER = { "all time": "", "last hour": "?startTime=-1h", "last day": "?startTime=-1d" };

export const FUNNEL = {
  title: "Steps",
  choices: () => Object.keys(OVER),
  legend: "Counted over",
  load: ({ name }, over) => json(`/${name}${OVER[over]}`),
  draw({ steps, complete, open, lapsed }, target, view) {
    const key = JSON.stringify(steps);
    if (view.drawn !== key) {
      view.drawn = key;
      target.replaceChildren(element("ol", { class: "funnel" }, ...steps.map((step) => drawn(step, steps[0].reached))));
    }
    if (!steps[0]?.reached) return "No sequence in that time.";
    const rest = `${compact(open)} may still go on, ${compact(lapsed)} have lapsed`;
    return `${compact(complete)} sequences are complete, ${rest}.`;
  },
};

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
