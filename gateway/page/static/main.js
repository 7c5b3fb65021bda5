// Connects all parts of the page: the service's events change the state, and the state is drawn.

import { Past } from "./data/past.js";
import { State } from "./data/state.js";
import { statusOf } from "./data/status.js";
import { forgetToken, setToken, token } from "./lib/access.js";
import { byId, element, sentence, write } from "./lib/element.js";
import { Feed } from "./lib/feed.js";
import { clock, plural } from "./lib/format.js";
import { paused } from "./lib/pause.js";
import * as route from "./lib/route.js";
import { refresh } from "./lib/when.js";
import { now } from "./lib/zone.js";
import { Bar } from "./pages/bar.js";
import { Overview } from "./pages/overview.js";
import { StreamPage } from "./pages/page.js";

const state = new State();
const past = new Past(draw);
const overview = new Overview(state, past);
const page = new StreamPage(state, past, draw);
let chosen = null; // a stream's name, or null for the overview
let unknown = null; // the stream that the address names, if there is none of this name
let lostAt = null;
let pending = false;
let waiting = {}; // what has come while the page stands still

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
  byId("overview").hidden = chosen != null;
  byId("stream").hidden = !stream;
  byId("loading").hidden = chosen == null || Boolean(stream);
  write(byId("as-of"), `As of ${clock(state.now.at)}. Times are in ${now()}.`);
  notice(stream);
  refresh(state.now.at);
  if (chosen == null) {
    document.body.dataset.state = lostAt ? "reconnecting" : "running";
    document.title = "Overview · Firnline";
    byId("stats-link").href = "/streams";
    overview.draw();
    return;
  }
  if (!stream) {
    const silent = state.now.streams.find(({ name }) => name === chosen);
    if (silent) write(byId("loading-said"), `The stream ${chosen} does not answer yet: ${silent.silent}`);
    return;
  }
  const none = page.draw(stream);
  document.body.dataset.state = lostAt ? "reconnecting" : stream.degradedBy ? "degraded" : none ? "empty" : "running";
  document.title = `${stream.name} · Firnline`;
  byId("stats-link").href = `/${stream.name}/get-stats`;
}

// Each tab has a dot in the colour of its stream's state, and the state as text for screen readers.
function tabs() {
  const list = byId("streams");
  const key = JSON.stringify(state.names);
  if (list.dataset.key !== key) {
    list.dataset.key = key;
    const tab = (name, text) =>
      element(
        "li",
        {},
        element("a", { href: route.address({ stream: name }) }, text, element("span", { class: "dot" })),
      );
    list.replaceChildren(tab("", "Overview"), ...state.names.map((name) => tab(name, name)));
  }
  [null, ...state.names].forEach((name, at) => {
    const link = list.children[at].firstChild;
    if (name === chosen) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
    if (name == null) return;
    const stream = state.streams.get(name) ?? state.now.streams[at - 1];
    const { kind, word } = statusOf(stream, state.rates(name, 10), state.now.at);
    link.lastChild.dataset.kind = kind;
    if (link.title !== word) link.title = word;
  });
}

function notice(stream) {
  const parts = lostAt
    ? [
        ["The connection is lost."],
        ` This picture is from ${clock(state.now.at)}. The page has been trying to reconnect since ${clock(lostAt)}.`,
      ]
    : stream
      ? about(stream)
      : unknown
        ? [[`There is no stream ${unknown}.`], " These are all streams of the service."]
        : [];
  const box = byId("notice");
  box.hidden = !parts.length;
  box.dataset.kind = lostAt || stream?.degradedBy || stream?.trouble ? "bad" : "mild";
  sentence(box, ...parts);
}

function about(stream) {
  const { name, trouble, checkpoint } = stream;
  if (stream.degradedBy)
    return [
      [`${name} was given up: `],
      `${stream.degradedBy}. Its last good answers stay readable. Restart the service to try again.`,
    ];
  if (stream.silent)
    return [[`${name} does not answer: `], `${stream.silent}. This picture is from ${clock(stream.silentSince)}.`];
  if (trouble)
    return [
      [`No records can be read since ${clock(trouble.since)}: `],
      `${trouble.state}. ${trouble.reasons.join("; ")}. `,
      stream.lastRecordAt == null
        ? "No record was ever read."
        : `The answers stay as they were at ${clock(stream.lastRecordAt)}, when the newest record was read.`,
    ];
  if (stream.starting)
    return [
      ["Reading its checkpoint"],
      checkpoint?.loading ? `: ${checkpoint.loading[0]} of ${plural(checkpoint.loading[1], "generation")}.` : "…",
    ];
  if (checkpoint?.problem)
    return [
      ["Checkpoints cannot be written: "],
      `${checkpoint.problem}. A restart would begin with the last saved checkpoint.`,
    ];
  if (checkpoint?.copyProblem)
    return [
      ["A checkpoint has no copy: "],
      `${checkpoint.copyProblem}. Another machine would begin with an earlier one.`,
    ];
  if (stream.outputProblem) return [["Results wait: "], `${stream.outputProblem}.`];
  return [];
}

// Show what the address names: a stream, and a range of it, once the stream is there. Without a name it is the
// overview, or the only stream of a service with one.
function follow() {
  const wanted = route.read();
  const names = state.names ?? [];
  const only = names.length === 1 && !location.hash ? names[0] : null;
  const next = names.includes(wanted.stream) ? wanted.stream : only;
  unknown = next == null && names.length ? wanted.stream : null;
  if (next !== chosen || wanted.part !== page.part) {
    if (next !== chosen) page.choose(next);
    chosen = next;
    page.part = wanted.part;
    scrollTo(0, 0);
  }
  drawNow();
  const stream = state.streams.get(chosen);
  if (stream && wanted.stream === chosen) page.ask(stream, wanted);
}

function link(text, kind) {
  const pill = byId("link");
  write(pill, text);
  pill.dataset.kind = kind;
}

// The worst trouble of the chosen stream, or of all streams on the overview.
function troubled() {
  const seen = chosen == null ? [...state.streams.values()] : [state.streams.get(chosen)];
  return seen.find((stream) => stream?.trouble)?.trouble;
}

function take(event, value) {
  if (event === "memory") state.takeMemory(value);
  if (event !== "now") return;
  const first = !state.now || lostAt;
  if (lostAt) past.forget();
  state.takeNow(value);
  lostAt = null;
  byId("unauthorized").hidden = true;
  if (first) follow();
  else draw();
  const trouble = troubled();
  link(trouble ? trouble.state : "live", trouble ? "bad" : "good");
}

function resume() {
  const { memory, now } = waiting;
  waiting = {};
  if (memory) take("memory", memory);
  if (now) take("now", now);
}

let feed;
function watch() {
  feed?.stop();
  feed = new Feed({
    on(event, value) {
      if (paused() && state.now) waiting[event] = value;
      else take(event, value);
      if (event === "now" && paused()) link("paused", "mild");
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
  for (const id of ["overview", "stream", "loading", "notice"]) byId(id).hidden = true;
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
new Bar({ redraw: () => page.forget() || drawNow(), draw: drawNow, resume });
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address names a stream, so it must not become #main
  byId("main").focus();
});
addEventListener("hashchange", follow);
document.addEventListener("visibilitychange", draw);
watch();
