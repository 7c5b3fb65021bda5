// Queries a range by the public API and shows the answer as a table, with a curl command and a link that repeat it.

import { answer, curl } from "./access.js";
import { byId, element, table, write } from "./element.js";
import { compact, isTime, moment, number } from "./format.js";

const AT_ONCE = 100;

// For each view that answers ranges: the path of the query, and how the answer becomes a table. The service reads the
// times of the path, in any form that a person may type.
const KINDS = {
  sets: {
    path: ({ name }, from, to) =>
      `/${name}/get-sets?startTime=${encodeURIComponent(from)}&endTime=${encodeURIComponent(to)}&limit=${AT_ONCE}`,
    rows: (body) => body.sets,
    columns: (stream) => [["set", "n"], ...stream.steps.map((step) => [step, "n"])],
    cells: (row, at, stream) => [
      number(at + 1),
      ...Object.values(row).map(({ timestamp }) => moment(timestamp, stream.unit, true)),
    ],
    noun: "set",
  },
  words: {
    path: ({ name }, from, to) =>
      `/${name}/CountWords?startTime=${encodeURIComponent(from)}&endTime=${encodeURIComponent(to)}&limit=${AT_ONCE}`,
    rows: (body) => Object.entries(body).sort((one, other) => other[1] - one[1]),
    columns: () => [["word"], ["count", "n"]],
    cells: ([word, count]) => [word, number(count)],
    noun: "word",
  },
  uniques: {
    path: ({ name }, from, to, by) =>
      `/${name}?granularity=${by}&start=${encodeURIComponent(from)}&end=${encodeURIComponent(to)}`,
    rows: (body) => body.uniques,
    columns: () => [["begins"], ["unique users", "n"], ["frames", "n"], ["state"]],
    cells: (row) => [
      moment(row.start, "s"),
      row.exact ? number(row.unique) : `${number(row.lower)} to ${number(row.upper)}`,
      number(row.frames),
      row.final ? "final" : "may change",
    ],
    noun: "period",
  },
};

// Return a time of the stream as text for a path. Numbers of sets are in the stream's unit, of other views in seconds.
function instant(time, { unit, view }) {
  const text = moment(time, unit, true);
  return view === "sets" || !isTime(unit) || !text.includes(" ") ? String(time) : `${text.replace(" ", "T")}Z`;
}

export const asksRanges = (view) => view in KINDS;

export class Query {
  // `show(from, to)` draws a range on the timeline; `say(range)` writes it into the address.
  constructor({ show, say }) {
    this.show = show;
    this.say = say;
    this.asked = 0;
    this.form = byId("range");
    this.fields = this.form.elements;
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    this.fields.granularity.addEventListener("change", () => this.submit());
    byId("range-newest").addEventListener("click", () => this.newest());
    byId("range-clear").addEventListener("click", () => this.clear());
    byId("answer-more").addEventListener("click", () => this.more());
    byId("answer-curl").addEventListener("click", () => this.copy(curl(this.path), "The command is copied."));
    byId("answer-link").addEventListener("click", () => this.copy(location.href, "The link is copied."));
  }

  // Choose the stream to query.
  of(stream) {
    if (this.stream?.name !== stream.name) this.reset();
    if (`${this.stream?.granularities}` !== `${stream.granularities}`) this.offer(stream.granularities);
    this.stream = stream;
    byId("query").hidden = !asksRanges(stream.view);
    byId("granularity").hidden = stream.view !== "uniques";
  }

  // Offer the lengths of periods that the stream keeps.
  offer(names) {
    this.fields.granularity.replaceChildren(...names.map((name) => element("option", { value: name }, name)));
  }

  // Choose a length of periods, if the stream keeps it.
  choose(name) {
    if (this.stream.granularities.includes(name)) this.fields.granularity.value = name;
  }

  reset() {
    this.asked += 1; // an answer that arrives from now on belongs to another stream
    byId("answer").hidden = true;
    for (const name of ["from", "to"]) this.fields[name].value = "";
  }

  clear() {
    this.reset();
    this.show(null, null);
    this.say({});
  }

  // Show a dragged range in the fields, and query it at the end of the drag.
  follow(from, to, done) {
    this.fields.from.value = moment(from, this.stream.unit, true);
    this.fields.to.value = moment(to, this.stream.unit, true);
    if (!done) return;
    this.mark();
    this.place([from, to]);
    this.ask(instant(from, this.stream), instant(to, this.stream));
  }

  // Query what is typed. The service reads it, so that the page has no grammar of its own.
  submit() {
    const typed = ["from", "to"].map((name) => this.fields[name].value.trim());
    const wrong = typed.map((text) => !/\d|^now$/.test(text));
    this.mark(...wrong);
    if (wrong.includes(true))
      return this.report(
        "A time is needed in both fields: a date such as 2026-01-31 12:00:00, now, -5m, or a number as the API has it.",
        true,
      );
    return this.ask(...typed.map((text) => (/^[+-]?[\d,]+$/.test(text) ? text.replaceAll(",", "") : text)));
  }

  mark(from = false, to = false) {
    this.fields.from.setAttribute("aria-invalid", String(from));
    this.fields.to.setAttribute("aria-invalid", String(to));
  }

  // Show the range on the timeline and in the address, in the stream's unit.
  place([from, to]) {
    this.range = [from, to]; // only sets have further pages, and their numbers are in the stream's unit
    this.show(from, to);
    this.say({ from, to, by: this.by() });
  }

  by() {
    return this.stream.view === "uniques" ? this.fields.granularity.value : null;
  }

  newest() {
    const { live, bars } = this.stream;
    const start = live.start ?? bars.at(-1)?.start;
    if (start == null) return;
    this.follow(start, live.end ?? bars.at(-1).end, true);
  }

  async ask(from, to) {
    this.path = KINDS[this.stream.view].path(this.stream, from, to, this.by());
    this.range = [from, to];
    this.shown = [];
    await this.load(this.path);
  }

  // Ask for the next page of the range that was answered: a time such as -5m has moved on.
  async more() {
    const path = KINDS[this.stream.view].path(this.stream, ...this.range, this.by());
    await this.load(`${path}&cursor=${encodeURIComponent(this.next)}`);
  }

  async load(path) {
    this.asked += 1;
    const mine = this.asked;
    const began = performance.now();
    try {
      const { body, range } = await answer(path);
      const took = performance.now() - began;
      if (mine !== this.asked) return;
      this.shown.push(...KINDS[this.stream.view].rows(body));
      this.next = body.next;
      if (range && !range.includes(null)) this.place(range);
      this.fill(took);
    } catch (error) {
      if (mine !== this.asked) return;
      this.mark(/start/i.test(error.where ?? ""), /end/i.test(error.where ?? ""));
      this.report(`No answer: ${error.message}.`, true);
    }
  }

  fill(took) {
    const { noun, columns, cells } = KINDS[this.stream.view];
    const count = this.shown.length;
    const cut = count === AT_ONCE && this.stream.view === "words" ? ", the most frequent" : "";
    const found = count
      ? `${compact(count)} ${noun}${count === 1 ? "" : "s"}${cut}`
      : `No ${noun} begins in this range`;
    const summary = this.next ? `The first ${compact(count)} ${noun}s` : found;
    this.report(`${summary}, in ${took < 10 ? took.toFixed(1) : Math.round(took)} ms.`);
    byId("answer-more").hidden = !this.next;
    byId("answer-table").hidden = !count;
    table(
      byId("answer-table"),
      `${noun[0].toUpperCase()}${noun.slice(1)}s of the range`,
      columns(this.stream),
      this.shown.map((row, at) => cells(row, at, this.stream)),
    );
  }

  report(text, wrong = false) {
    byId("answer").hidden = false;
    write(byId("answer-said"), text);
    write(byId("answer-copied"), "");
    for (const id of ["answer-table", "answer-more", "answer-curl", "answer-link"]) byId(id).hidden = wrong;
    byId("answer-said").classList.toggle("bad", wrong);
  }

  async copy(text, said) {
    try {
      await navigator.clipboard.writeText(text);
      write(byId("answer-copied"), said);
    } catch {
      write(byId("answer-copied"), text); // the browser forbids the copy, so the text is shown for a copy by hand
    }
  }
}
