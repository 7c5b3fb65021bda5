// Connects all parts of the page: the service's events change the state, and the state is drawn.

import { forgetToken, setToken, token } from "./access.js";
import { Brush } from "./brush.js";
import { byId, element, sentence, table, write } from "./element.js";
import { Feed } from "./feed.js";
import { bytes, clock, compact, moment, number, plural } from "./format.js";
import { Panels } from "./panels.js";
import { asksRanges, Query } from "./query.js";
import * as route from "./route.js";
import { State } from "./state.js";
import { empty, forgotten, holds, WHAT } from "./story.js";
import { STATES, Timeline } from "./timeline.js";
import { View } from "./views.js";

const state = new State();
const timeline = new Timeline(byId("plot"));
const brush = new Brush(timeline, (from, to, done) => query.follow(from, to, done));
const query = new Query({
  show: (from, to) => brush.show(from, to),
  say: (range) => route.say({ stream: chosen, ...range }),
});
const panels = new Panels(state);
const view = new View();
let chosen = null;
let lostAt = null;
let pending = false;

// Draw at most once per animation frame, and only while the page is visible.
function draw() {
  if (pending || document.hidden) return;
  pending = true;
  requestAnimationFrame(() => {
    pending = false;
    drawNow();
  });
}

function drawNow() {
  if (!state.now) return;
  tabs();
  const stream = state.streams.get(chosen);
  byId("stream").hidden = !stream;
  byId("loading").hidden = Boolean(stream);
  if (!stream) {
    const silent = state.now.streams.find(({ name }) => name === chosen);
    if (silent) write(byId("loading-said"), `The stream ${chosen} does not answer yet: ${silent.silent}`);
    return;
  }
  notice(stream);
  const none = stream.live.start == null && !stream.bars.length;
  document.body.dataset.state = lostAt ? "reconnecting" : stream.degradedBy ? "degraded" : none ? "empty" : "running";
  document.title = `${stream.name} · Firnline`;
  sentence(byId("story-title"), [stream.name], ` keeps ${WHAT[stream.view]}`);
  holds(byId("holds"), stream);
  forgotten(byId("forgotten"), stream);
  empty(stream, none);
  byId("timeline").hidden = none;
  query.of(stream);
  if (none) byId("query").hidden = true;
  brush.enabled = asksRanges(stream.view);
  timeline.plot.classList.toggle("askable", brush.enabled);
  if (!none) timeline.draw(stream);
  brush.draw();
  caption(stream);
  if (byId("timeline").querySelector("details").open) generations(stream);
  view.of(stream);
  panels.draw(stream);
  byId("stats-link").href = `/${stream.name}/get-stats`;
  write(byId("as-of"), `As of ${clock(state.now.at)}.`);
}

function tabs() {
  const key = JSON.stringify([state.names, chosen]);
  const list = byId("streams");
  if (list.dataset.key === key) return;
  list.dataset.key = key;
  const link = (name) =>
    element("a", { href: route.address({ stream: name }), "aria-current": name === chosen ? "page" : null }, name);
  list.replaceChildren(...state.names.map((name) => element("li", {}, link(name))));
}

function notice(stream) {
  const parts = [];
  if (lostAt)
    parts.push(
      ["The connection is lost."],
      ` This picture is from ${clock(state.now.at)}. The page has been trying to reconnect since ${clock(lostAt)}.`,
    );
  else if (stream.degradedBy)
    parts.push(
      [`${stream.name} was given up: `],
      `${stream.degradedBy}. Its last good answers stay readable. Restart the service to try again.`,
    );
  else if (stream.silent)
    parts.push(
      [`${stream.name} does not answer: `],
      `${stream.silent}. This picture is from ${clock(stream.silentSince)}.`,
    );
  else if (stream.trouble)
    parts.push(
      [`No records can be read since ${clock(stream.trouble.since)}: `],
      `${stream.trouble.state}. ${stream.trouble.reasons.join("; ")}. `,
      stream.lastRecordAt == null
        ? "No record was ever read."
        : `The answers stay as they were at ${clock(stream.lastRecordAt)}, when the newest record was read.`,
    );
  else if (stream.starting)
    parts.push(
      ["Reading its checkpoint"],
      stream.checkpoint?.loading
        ? `: ${stream.checkpoint.loading[0]} of ${plural(stream.checkpoint.loading[1], "generation")}.`
        : "…",
    );
  else if (stream.checkpoint?.problem)
    parts.push(
      ["Checkpoints cannot be written: "],
      `${stream.checkpoint.problem}. A restart would begin with the last saved checkpoint.`,
    );
  const box = byId("notice");
  box.hidden = !parts.length;
  box.dataset.kind = lostAt || stream.degradedBy || stream.trouble ? "bad" : "mild";
  sentence(box, ...parts);
}

function caption(stream) {
  const { coverage, unit, generations: count, bars } = stream;
  const high = {
    rate: "its events per unit of time",
    events: "its number of events",
    bytes: "its size in bytes",
  }[timeline.kind.height];
  const wide = timeline.straight
    ? "The width of a bar is the time that it covers."
    : "All bars have the same width, because their times differ too much.";
  const parts = [
    `Each bar is a generation: a slice of the stream that is kept as one piece. ${wide} The height is ${high}. `,
  ];
  if (count > bars.length && bars.length)
    parts.push(`${number(count)} generations are drawn as ${number(bars.length)} bars. `);
  const first = bars[0]?.start ?? stream.live.start;
  if (coverage.finalUntil > first)
    parts.push(
      "Sets that begin before ",
      [moment(coverage.finalUntil, unit)],
      " do not change any more; a late event may still add a set.",
    );
  else if (coverage.finalUntil != null) parts.push("A late event may still change every set.");
  sentence(byId("timeline-said"), ...parts);
}

function generations(stream) {
  const all = [...stream.gone, ...stream.bars, stream.live].filter(({ start }) => start != null).reverse();
  const rows = all.map((bar) => [
    STATES[bar.state] + (bar.reason ? ` (${bar.reason})` : ""),
    moment(bar.start, stream.unit),
    moment(bar.end, stream.unit),
    compact(bar.events),
    bar.answers == null ? "" : compact(bar.answers),
    bytes(bar.state === "gone" ? 0 : bar.bytes),
    bytes(bar.disk),
  ]);
  table(
    byId("generations"),
    "Generations, newest first",
    [["state"], ["from"], ["to"], ["events", "n"], [stream.noun, "n"], ["in memory", "n"], ["on disk", "n"]],
    rows,
  );
}

// Show the stream that the address names, and query the range that it names, once the stream is there.
function follow() {
  const wanted = route.read();
  const names = state.names ?? [];
  const next = names.includes(wanted.stream) ? wanted.stream : names[0];
  if (next !== chosen) {
    chosen = next;
    timeline.clear();
    brush.show(null, null);
  }
  drawNow();
  const stream = state.streams.get(chosen);
  if (stream && asksRanges(stream.view) && wanted.from != null && wanted.to != null && wanted.stream === chosen) {
    if (wanted.by) query.choose(wanted.by);
    query.follow(wanted.from, wanted.to, true);
  }
}

function link(text, kind) {
  const pill = byId("link");
  write(pill, text);
  pill.dataset.kind = kind;
}

let feed;
function watch() {
  feed?.stop();
  feed = new Feed({
    on(event, value) {
      if (event === "memory") state.takeMemory(value);
      if (event !== "now") return;
      const first = !state.now || lostAt;
      state.takeNow(value);
      lostAt = null;
      byId("unauthorized").hidden = true;
      const trouble = state.streams.get(chosen)?.trouble;
      link(trouble ? trouble.state : "live", trouble ? "bad" : "good");
      if (first) follow();
      else draw();
    },
    down(error) {
      if (error.status === 401 || error.status === 403) return unauthorized(error);
      lostAt ??= Date.now() / 1000;
      link("reconnecting", "bad"); // a constant text, so that a screen reader reads it once
      if (!state.now) write(byId("loading-said"), `The service does not answer (${error.message}). Trying again.`);
      return drawNow();
    },
  });
}

function unauthorized(error) {
  document.body.dataset.state = "unauthorized";
  for (const id of ["stream", "loading", "notice"]) byId(id).hidden = true;
  byId("unauthorized").hidden = false;
  link("needs a token", "mild");
  if (token()) write(byId("token-said"), `The service refused this token: ${error.message}.`);
  forgetToken();
  byId("token").focus();
}

byId("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  setToken(byId("token").value.trim());
  byId("token").value = "";
  write(byId("token-said"), "");
  watch();
});
byId("empty-copy").addEventListener("click", () => navigator.clipboard?.writeText(byId("empty-command").textContent));
for (const name of ["height", "width"]) {
  for (const input of document.querySelectorAll(`input[name=${name}]`)) {
    input.addEventListener("change", () => {
      timeline.kind[name] = input.value;
      timeline.redraw();
    });
  }
}
byId("timeline").querySelector("details").addEventListener("toggle", drawNow);
addEventListener("hashchange", follow);
document.addEventListener("visibilitychange", draw);
watch();
