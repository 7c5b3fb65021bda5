// The first page: the broker, and all streams as cards with state, rates, lag, held span, memory and a spark line.

import { heldSpan, NOUNS, WHAT } from "../data/nouns.js";
import { shardsOf, statusOf } from "../data/status.js";
import { byId, element, gauge, write } from "../lib/element.js";
import { age, compact, length, number, perSecond, plural, scaled } from "../lib/format.js";
import { address } from "../lib/route.js";
import { drawSpark, spark } from "../parts/spark.js";
import { drawTiles } from "../parts/tiles.js";

const LAST_S = 1_800;
const [CARD_REM, GAP_REM] = [21, 1];
const BAD = new Set(["failed", "restarted", "given up", "troubled"]);
const FACTS = ["lag", "answers", "held", "memory"];

export class Overview {
  constructor(state, past) {
    this.state = state;
    this.past = past;
    this.cards = new Map();
    new ResizeObserver(() => this.spread()).observe(byId("overview-cards"));
  }

  draw() {
    const { now, names } = this.state;
    const streams = names.map((name) => this.state.streams.get(name) ?? now.streams.find((each) => each.name === name));
    const all = streams.map((stream) => [stream, this.state.rates(stream.name, 10)]);
    const states = all.map(([stream, rates]) => statusOf(stream, rates, now.at));
    const bad = states.filter(({ kind }) => kind === "bad").length;
    write(byId("overview-title"), plural(names.length, "stream"));
    write(byId("overview-said"), bad ? `${number(bad)} of ${number(names.length)} in trouble.` : counted(states));
    drawTiles(byId("overview-tiles"), [brokerTile(streams, now), ...sums(all, now)]);
    const list = byId("overview-cards");
    const key = names.join();
    if (list.dataset.key !== key) {
      list.dataset.key = key;
      this.cards = new Map(names.map((name) => [name, card(name)]));
      list.replaceChildren(...[...this.cards.values()].map(({ root }) => root));
      this.spread();
    }
    all.forEach(([stream, rates], at) => {
      this.card(this.cards.get(stream.name), stream, rates, states[at]);
    });
  }

  // Fill the rows evenly: six cards of which five fit side by side stand as three and three.
  spread() {
    const list = byId("overview-cards");
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    const fit = Math.max(1, Math.floor((list.clientWidth / rem + GAP_REM) / (CARD_REM + GAP_REM)));
    const rows = Math.ceil(this.cards.size / fit);
    const columns = rows > 1 ? Math.ceil(this.cards.size / rows) : fit;
    list.style.gridTemplateColumns = `repeat(${columns}, minmax(0, 1fr))`;
  }

  card(parts, stream, rates, status) {
    const { now } = this.state;
    parts.root.dataset.kind = status.kind;
    write(parts.what, WHAT[stream.view] ?? stream.view);
    write(parts.badge, status.word);
    parts.badge.dataset.kind = status.kind;
    write(parts.detail, status.kind === "bad" || status.word === "catching up" ? status.detail : said(stream));
    if (!stream.held) return;
    const noun = NOUNS[stream.view] ?? "answers";
    const [value, unit] = perSecond(rates?.records);
    write(parts.rate, value);
    write(parts.unit, unit ? `records ${unit}` : "");
    write(parts.names.lag, "not read yet");
    write(
      parts.facts.lag,
      stream.trouble ? "unknown" : stream.source?.startsWith("topic") ? compact(stream.lagTotal) : "–",
    );
    write(parts.names.answers, `${noun} held`);
    write(parts.facts.answers, compact(stream.held.answers));
    const span = heldSpan(stream);
    write(parts.names.held, stream.view === "segments" ? "batch ids" : "event time held");
    write(parts.facts.held, span == null ? "nothing" : length(span, stream.unit));
    // Of the memory that is left for answers: beside it the budget has fixed costs and reserves.
    const share = stream.held.bytes / Math.max(1, stream.memory.budget - stream.memory.others);
    write(parts.names.memory, "of its memory");
    write(parts.facts.memory, share > 0 && share < 0.01 ? "< 1 %" : `${Math.round(share * 100)} %`);
    parts.gauge.firstChild.style.width = `${Math.min(1, share) * 100}%`;
    parts.gauge.firstChild.classList.toggle("high", share > 1);
    const history = this.past.of(stream.name, LAST_S);
    if (!history) return;
    const values = [...history.records, rates?.records ?? null];
    const at = [...history.at, now.at];
    const marks = history.marks.filter(({ kind }) => BAD.has(kind)).map((mark) => mark.at);
    const from = at.find((_, place) => values[place] != null) ?? now.at - LAST_S; // the line begins at the edge
    drawSpark(parts.spark, { at, values, from, to: now.at, marks: marks.filter((mark) => mark >= from) });
    write(parts.past, `records per second, last ${minutes(now.at - from)}`);
  }
}

const said = (stream) => [stream.source, shardsOf(stream)].filter(Boolean).join("; ");

function card(name) {
  const parts = { names: {}, facts: {} };
  parts.badge = element("span", { class: "badge" });
  parts.what = element("p", { class: "quiet what" });
  parts.rate = element("b", {});
  parts.unit = element("span", {});
  parts.spark = spark();
  parts.past = element("p", { class: "past" });
  parts.gauge = gauge(0);
  const facts = FACTS.map((fact) => {
    parts.names[fact] = element("dt", {});
    parts.facts[fact] = element("dd", {});
    return element("div", {}, parts.names[fact], parts.facts[fact], fact === "memory" ? parts.gauge : null);
  });
  parts.detail = element("p", { class: "detail" });
  parts.root = element(
    "li",
    { class: "card stream" },
    element(
      "div",
      { class: "head" },
      element("h2", {}, element("a", { href: address({ stream: name }) }, name)),
      parts.badge,
    ),
    parts.what,
    element("p", { class: "number" }, parts.rate, parts.unit),
    parts.spark,
    parts.past,
    element("dl", { class: "facts" }, ...facts),
    parts.detail,
  );
  return parts;
}

function counted(states) {
  const counts = new Map();
  for (const { word } of states) counts.set(word, (counts.get(word) ?? 0) + 1);
  return `${[...counts].map(([word, count]) => `${number(count)} ${word}`).join(", ")}.`;
}

// The broker is away if the source of a stream that reads a topic says so.
function brokerTile(streams, now) {
  const readers = streams.filter(({ source }) => source?.startsWith("topic"));
  const away = readers.filter(({ trouble }) => trouble && trouble.state !== "absent");
  const base = { key: "broker", label: "Kafka" };
  if (!readers.length) return { ...base, value: "not used", note: "no stream reads a topic" };
  if (!away.length) return { ...base, value: "answers", note: plural(readers.length, "topic"), kind: "good" };
  const since = Math.min(...away.map(({ trouble }) => trouble.since));
  const note = `${number(away.length)} of ${plural(readers.length, "topic")}, for ${age(now.at - since)}`;
  return { ...base, value: away[0].trouble.state, note, kind: "bad" };
}

function sums(all, now) {
  const known = all.filter(([stream]) => stream.held);
  const sum = (of) => known.reduce((total, each) => total + of(each), 0);
  const measured = known.some(([, rates]) => rates);
  const [value, unit] = perSecond(measured ? sum(([, rates]) => rates?.records ?? 0) : null);
  const refused = sum(([stream]) => Object.values(stream.rejects).reduce((total, count) => total + count, 0));
  const resident = Math.max(0, ...known.map(([stream]) => stream.memory.rss));
  const budget = sum(([stream]) => stream.memory.budget);
  const lag = sum(([stream]) => stream.lagTotal);
  const restarts = Object.values(now.restarts ?? {}).reduce((total, count) => total + count, 0);
  const failures = (now.deadLetters?.count ?? 0) + restarts;
  const total = sum(([stream]) => stream.records);
  return [
    { key: "rate", label: "Read", value, unit, note: `${compact(total)} records so far` },
    known.some(([{ trouble }]) => trouble)
      ? { key: "lag", label: "Not read yet", value: "unknown", note: "until the broker answers" }
      : { key: "lag", label: "Not read yet", value: compact(lag), unit: "records", note: lag ? "" : "all is read" },
    {
      key: "memory",
      label: "Memory",
      ...scaled(resident),
      note: `of ${scaled(budget).value} ${scaled(budget).unit}`,
      share: budget ? resident / budget : 0,
    },
    {
      key: "refused",
      label: "Refused",
      value: compact(refused),
      unit: "records",
      note: total ? `${percent(refused / total)} of all` : "",
    },
    {
      key: "failures",
      label: "Failures",
      value: number(failures),
      note: restarts ? plural(restarts, "restart") : "since the start",
      kind: failures ? "bad" : "",
    },
  ];
}

// Return a length in whole minutes, which do not change at every look.
const minutes = (seconds) => (seconds < 90 ? "minute" : age(60 * Math.round(seconds / 60)));

const percent = (share) => `${Number((share * 100).toPrecision(2))} %`;
