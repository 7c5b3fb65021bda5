// What lies inside a stream: the way of a record from the source to the answers, in steps, and what waits at each.

import { byId, element, gauge, table, write } from "../lib/element.js";
import { age, compact, duration, number, perSecond, plural } from "../lib/format.js";
import { drawGraph, graphNote } from "./graph.js";
import { bottleneck } from "./story.js";

export const FULL = 0.9;

export function drawInside(stream, rates, shares) {
  const target = byId("flow");
  if (!target.children.length)
    target.append(
      element("p", {}),
      element("ol", { class: "steps" }),
      element("div", { class: "head" }, element("h3", {}, "Actors"), graphNote()),
      element("div", { class: "scroll graph", tabindex: 0, role: "region", "aria-label": "Actors" }),
      element(
        "details",
        {},
        element("summary", {}, "Mailboxes of the actors"),
        element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Mailboxes" }),
      ),
    );
  const [said, list, , graph, rest] = target.children;
  write(said, bottleneck(stream));
  const steps = stepsOf(stream, rates);
  const key = steps.map((step) => step.name).join();
  if (list.dataset.key !== key) {
    list.dataset.key = key;
    list.replaceChildren(...steps.map(made));
  }
  steps.forEach((step, at) => {
    const [name, figure, bar, note] = list.children[at].children;
    list.children[at].dataset.kind = step.kind ?? "";
    write(name, step.name);
    write(figure.children[0], step.value);
    write(figure.children[1], step.unit);
    bar.hidden = step.share == null;
    bar.firstChild.style.width = `${Math.max(0, Math.min(1, step.share ?? 0)) * 100}%`;
    write(note, step.note);
  });
  drawGraph(graph, stream, rates, shares);
  if (rest.open) mailboxes(rest.lastChild, stream);
}

const made = () =>
  element(
    "li",
    {},
    element("h3", {}),
    element("p", { class: "number" }, element("b", {}), element("span", {})),
    gauge(0),
    element("p", { class: "quiet" }),
  );

// Return the depth of the mailboxes of an actor as a share, and the number of its waiting messages.
function waiting(stream, actor, state = null) {
  const own = stream.actors.filter((each) => each.actor === actor && (state == null || each.state === state));
  const depth = own.reduce((sum, { data }) => sum + data, 0);
  const room = own.reduce((sum, each) => sum + each.data_capacity, 0);
  return { count: own.reduce((sum, each) => sum + each.count, 0), depth, share: room ? depth / room : 0 };
}

function stepsOf(stream, rates) {
  const { held, live, checkpoint, lagTotal } = stream;
  const topic = stream.source.startsWith("topic");
  const [read, unit] = perSecond(rates?.records);
  const used = stream.credits ? stream.inFlight / stream.credits : 0;
  const active = waiting(stream, "SetCollector", "active");
  const output = waiting(stream, "Publisher");
  const busy = lagTotal > 0 && !stream.trouble;
  const slow = !busy ? "" : used < FULL ? "reading" : output.share > active.share ? "output" : "live";
  const kind = (step) => (slow === step ? "mild" : "");
  const steps = [
    {
      name: topic ? "Kafka" : "Source",
      value: stream.trouble ? stream.trouble.state : topic ? compact(lagTotal) : "–",
      unit: topic && !stream.trouble ? "not read yet" : "",
      note: topic ? plural(stream.partitions, "partition") : stream.source,
      kind: stream.trouble ? "bad" : "",
    },
    {
      name: "Reading",
      value: read,
      unit,
      share: used,
      note: `${compact(stream.inFlight)} of ${compact(stream.credits)} credits in use`,
      kind: kind("reading"),
    },
  ];
  if (stream.view === "sets" || stream.buffered || stream.apart)
    steps.push({
      name: "Order of time",
      value: compact(stream.buffered),
      unit: "wait",
      note: stream.apart ? `${compact(stream.apart)} are ahead of the clock` : "until no earlier event can come",
    });
  steps.push(
    {
      name: "Live slice",
      value: compact(live.events),
      unit: "events",
      share: active.share,
      note: active.depth ? `${plural(active.depth, "batch", "batches")} wait` : "no batch waits",
      kind: kind("live"),
    },
    {
      name: "Frozen",
      value: number(held.generations),
      unit: "generations",
      note: held.spilled ? `${number(held.spilled)} on disk alone` : "all in memory",
    },
  );
  if (checkpoint)
    steps.push({
      name: "Checkpoint",
      value: checkpoint.at == null ? "none" : age(stream.at - checkpoint.at),
      unit: checkpoint.at == null ? "" : "old",
      note: checkpoint.problem ?? `took ${duration(checkpoint.seconds * 1000)}`,
      kind: checkpoint.problem ? "bad" : "",
    });
  if (output.count)
    steps.push({
      name: "Output",
      value: number(output.depth),
      unit: "results wait",
      share: output.share,
      note: "to every sink, in order",
      kind: kind("output"),
    });
  return steps;
}

// Return the shard of an actor's stream, such as "events.3", or that it is of the whole service.
function placeOf(own) {
  if (!own) return "service: ";
  const [, shard] = own.split(".");
  return shard == null ? "" : `shard ${shard}: `;
}

function mailboxes(target, stream) {
  const named = ({ actor, state, count, stream: own }) =>
    `${placeOf(own)}${actor}${state ? `, ${state}` : ""}${count > 1 ? ` (${number(count)})` : ""}`;
  const rows = stream.actors.map((each) => [
    named(each),
    number(each.data),
    compact(each.data_capacity),
    number(each.control),
  ]);
  const columns = [["actor"], ["data", "n"], ["room", "n"], ["control", "n"]];
  table(target, "Waiting messages of each lane", columns, rows);
}
