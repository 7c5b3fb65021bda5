// The actors of a stream as a graph: what waits in their mailboxes, what they pass on, and which thread takes the time.

import { element, set, svg, write } from "../lib/element.js";
import { compact, number, perSecond } from "../lib/format.js";

const [WIDE, HIGH] = [168, 92];
const [APART_X, APART_Y] = [244, 128];
const BUSY = 0.7; // of a processor

// Place, name, actor, state, thread and what it does. A place is [column, row].
const NODES = [
  { at: [1, 0], key: "front", title: "FrontEnd", actor: "FrontEnd", thread: "reading", does: "reads and orders" },
  {
    at: [2, 0],
    key: "live",
    title: "SetCollector",
    actor: "SetCollector",
    state: "active",
    thread: "active",
    does: "live",
  },
  { at: [3, 0], key: "manager", title: "Manager", actor: "Manager", thread: "control", does: "answers, drops" },
  { at: [4, 0], key: "out", title: "Publisher", actor: "Publisher", thread: "output", does: "writes results" },
  {
    at: [1, 1],
    key: "dead",
    title: "DeadLetterWriter",
    actor: "DeadLetterWriter",
    thread: "dead-letters",
    does: "refused records",
  },
  {
    at: [2, 1],
    key: "aged",
    title: "SetCollector",
    actor: "SetCollector",
    state: "aged",
    thread: "aged",
    does: "frozen",
  },
  { at: [3, 1], key: "keeper", title: "Keeper", actor: "Keeper", thread: "disk", does: "saves checkpoints" },
  { at: [0, 1], key: "writer", title: "Writer", actor: "Writer", thread: "input", does: "writes posted records" },
];
const EDGES = [
  "source front",
  "front live",
  "live manager",
  "manager out",
  "front dead",
  "live aged",
  "manager keeper",
  "writer source",
];

export function drawGraph(target, stream, rates, shares) {
  const nodes = [sourceOf(stream), ...NODES.map((node) => ofActor(node, stream, shares)).filter(Boolean)];
  const key = `${stream.name} ${nodes.map((node) => node.key).join()}`;
  if (target.dataset.key !== key) {
    target.dataset.key = key;
    target.replaceChildren(made(nodes));
  }
  const labels = labelsOf(stream, rates);
  const drawing = target.firstChild;
  for (const node of nodes) fill(drawing.querySelector(`[data-node=${node.key}]`), node);
  for (const label of drawing.querySelectorAll("[data-edge]")) write(label, labels[label.dataset.edge] ?? "");
  const words = nodes.map(({ title, said, queue }) => `${title}: ${[said, queue].filter(Boolean).join(", ")}`);
  set(drawing, { "aria-label": words.join(". ") });
}

function sourceOf(stream) {
  const topic = stream.source.startsWith("topic");
  return {
    at: [0, 0],
    key: "source",
    title: topic ? "Kafka" : "Source",
    said: topic ? stream.source.replace(/^topic /, "") : stream.source,
    queue: topic ? (stream.trouble ? stream.trouble.state : `${compact(stream.lagTotal)} not read yet`) : "",
    kind: stream.trouble ? "bad" : "",
    outside: true,
  };
}

function ofActor(node, stream, shares) {
  const own = stream.actors.filter((each) => each.actor === node.actor && (!node.state || each.state === node.state));
  if (!own.length) return null;
  const sum = (member) => own.reduce((total, each) => total + (each[member] ?? 0), 0);
  const [count, depth, room] = [sum("count"), sum("data"), sum("data_capacity")];
  const share = shares(node.thread === "control" ? "control" : `${stream.name}/${node.thread}`);
  return {
    ...node,
    said: `${node.does}${count > 1 ? ` × ${number(count)}` : ""}`,
    queue: depth ? `${compact(depth)} of ${compact(room)} wait` : "nothing waits",
    full: room ? depth / room : 0,
    share,
    kind: sum("held") ? "bad" : share > BUSY || (room && depth / room > BUSY) ? "mild" : "",
  };
}

function labelsOf(stream, rates) {
  const [read, unit] = perSecond(rates?.records);
  const [made, per] = perSecond(rates?.made);
  const [refused, each] = perSecond(rates?.refused);
  return {
    "source front": `${read} ${unit}`,
    "front live": `${stream.credits ? Math.round((100 * stream.inFlight) / stream.credits) : 0} % credits`,
    "live manager": `${made} ${per}`,
    "front dead": `${refused} ${each}`,
  };
}

const corner = ([column, row]) => [column * APART_X + 1, row * APART_Y + 1];

function made(nodes) {
  const places = new Map(nodes.map(({ key, at }) => [key, corner(at)]));
  const width = Math.max(...[...places.values()].map(([x]) => x)) + WIDE + 1;
  const height = Math.max(...[...places.values()].map(([, y]) => y)) + HIGH + 1;
  const drawn = svg("svg", { class: "actors", role: "img", viewBox: `0 0 ${width} ${height}` });
  drawn.style.width = `${width / 16}rem`; // as large as the text around it
  for (const edge of EDGES) {
    const [from, to] = edge.split(" ").map((key) => places.get(key));
    if (from && to) drawn.append(...arrow(edge, from, to));
  }
  drawn.append(...nodes.map(box));
  return drawn;
}

function arrow(edge, [x, y], [left, top]) {
  const down = x === left;
  const up = top < y;
  const [fromX, fromY] = down ? [x + WIDE / 2, up ? y : y + HIGH] : [x + WIDE, y + HIGH / 2];
  const [toX, toY] = down ? [left + WIDE / 2, up ? top + HIGH : top] : [left, top + HIGH / 2];
  const head = down ? `m-4 ${up ? 6 : -6}l4 ${up ? -6 : 6}l4 ${up ? 6 : -6}` : "m-6 -4l6 4l-6 4";
  const text = down
    ? { x: fromX + 8, y: (fromY + toY) / 2 + 4 }
    : { x: (fromX + toX) / 2, y: fromY - 8, "text-anchor": "middle" };
  return [
    svg("path", { class: "edge", d: `M${fromX} ${fromY}L${toX} ${toY}${head}` }),
    svg("text", { class: "flow", "data-edge": edge, ...text }),
  ];
}

function box(node) {
  const [x, y] = corner(node.at);
  const text = (line, name) => svg("text", { class: name, x: 12, y: line });
  return svg(
    "g",
    { class: `node${node.outside ? " outside" : ""}`, "data-node": node.key, transform: `translate(${x} ${y})` },
    svg("rect", { class: "box", width: WIDE, height: HIGH, rx: 8 }),
    text(22, "title"),
    text(40, "said"),
    text(57, "queue"),
    svg("rect", { class: "track", x: 12, y: 68, width: WIDE - 70, height: 5, rx: 2.5 }),
    svg("rect", { class: "used", x: 12, y: 68, width: 0, height: 5, rx: 2.5 }),
    svg("text", { class: "share", x: WIDE - 12, y: 74, "text-anchor": "end" }),
  );
}

function fill(target, node) {
  const [, title, said, queue, track, used, share] = target.children;
  set(target, { "data-kind": node.kind ?? "" });
  write(title, node.title);
  write(said, cut(node.said));
  write(queue, node.queue);
  const known = node.share != null;
  for (const each of [track, used, share]) each.classList.toggle("none", !known);
  if (!known) return;
  set(used, { width: ((WIDE - 70) * node.share).toFixed(1) });
  write(share, `${node.share < 0.095 ? (node.share * 100).toFixed(1) : Math.round(node.share * 100)} %`);
}

const cut = (text) => (text.length > 20 ? `${text.slice(0, 19)}…` : text);

export const graphNote = () =>
  element("p", { class: "quiet" }, "The bar of an actor is the share of a processor that its thread takes.");
