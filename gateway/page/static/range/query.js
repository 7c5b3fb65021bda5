// Queries a range by the public API: tiles and a table of the answer, its export, and commands that repeat the request.

import { answer, ask, curl, json, token } from "../lib/access.js";
import { byId, element, write } from "../lib/element.js";
import { compact, moment, toMs } from "../lib/format.js";
import { isDate } from "../lib/when.js";
import { suffix, withZone } from "../lib/zone.js";
import { Rows } from "../parts/rows.js";
import { drawTiles } from "../parts/tiles.js";
import { ANSWERS, AT_ONCE, instant } from "./answers.js";
import { drawDurations, figuresOf, tilesOf } from "./figures.js";

const PARTS = [
  "answer-filter",
  "answer-table",
  "answer-more",
  "answer-export",
  "answer-copy",
  "answer-tiles",
  "answer-chart",
];

export const asksRanges = (view) => view in ANSWERS;

export class Query {
  // `show(from, to)` draws a range on the picture; `say(range)` writes it into the address.
  constructor({ show, say }) {
    this.show = show;
    this.say = say;
    this.asked = 0;
    this.table = new Rows(byId("answer-table"));
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
    byId("answer-find").addEventListener("input", ({ target }) => {
      this.table.find(target.value);
      this.found();
    });
    byId("answer-curl").addEventListener("click", () => this.copy(curl(this.path), "The command is copied."));
    byId("answer-python").addEventListener("click", () => this.copy(this.python(), "The lines are copied."));
    byId("answer-link").addEventListener("click", () => this.copy(location.href, "The link is copied."));
    byId("answer-file").addEventListener("click", () => this.file());
    byId("answer-export").addEventListener("click", (event) => this.exported(event));
  }

  get kind() {
    return ANSWERS[this.stream.view];
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
    byId("answer-find").value = "";
    this.table.find("");
    for (const name of ["from", "to"]) this.fields[name].value = "";
  }

  clear() {
    this.reset();
    this.show(null, null);
    this.say({});
  }

  // Show a dragged range in the fields, and query it at the end of the drag.
  follow(from, to, done, newest = false) {
    this.fields.from.value = this.written(from);
    this.fields.to.value = this.written(to);
    if (!done) return;
    this.mark();
    this.place([from, to]);
    this.query(instant(from, this.stream), instant(to, this.stream), newest);
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
    return this.query(...typed.map((text) => (/^[+-]?[\d,]+$/.test(text) ? text.replaceAll(",", "") : withZone(text))));
  }

  // Write a time as the fields have it: with the zone's offset, unless it is UTC.
  written(time) {
    const { unit } = this.stream;
    const text = moment(time, unit, true);
    const ends = isDate(text, unit) ? suffix(toMs(time, unit)) : "Z";
    return ends === "Z" ? text : `${text}${ends}`;
  }

  mark(from = false, to = false) {
    this.fields.from.setAttribute("aria-invalid", String(from));
    this.fields.to.setAttribute("aria-invalid", String(to));
  }

  // Show the range on the picture and in the address, in the stream's unit.
  place([from, to]) {
    this.range = [from, to]; // only sets have further pages, and their numbers are in the stream's unit
    this.show(from, to);
    this.say({ from, to, by: this.by() });
  }

  by() {
    return this.stream.view === "uniques" ? this.fields.granularity.value : null;
  }

  // Query the newest answers, and show the newest first.
  async newest() {
    const mine = ++this.asked;
    try {
      const [from, to] = await this.kind.newest(this.stream);
      if (mine === this.asked) this.follow(from, to, true, true);
    } catch (error) {
      if (mine === this.asked) this.report(`No answer: ${error.message}.`, true);
    }
  }

  async query(from, to, newest = false) {
    this.path = this.kind.path(this.stream, from, to, this.by());
    this.typed = [from, to];
    this.range = [from, to];
    this.shown = [];
    this.sort = newest ? (this.kind.first ?? null) : null;
    this.table.sortedBy = null;
    await this.load(`${this.path}${this.kind.limit}`);
  }

  // Ask for the next page of the range that was answered: a time such as -5m has moved on.
  async more() {
    const path = this.kind.path(this.stream, ...this.range, this.by());
    await this.load(`${path}${this.kind.limit}&cursor=${encodeURIComponent(this.next)}`);
  }

  async load(path) {
    const mine = ++this.asked;
    const began = performance.now();
    try {
      const { body, range } = await answer(path);
      const took = performance.now() - began;
      if (mine !== this.asked) return;
      this.shown.push(...this.kind.rows(body));
      this.next = body.next;
      if (range && !range.includes(null)) this.place(range);
      this.fill(took);
      const figures = this.shown.length ? await figuresOf(this.stream, this.range) : null;
      if (mine === this.asked) this.sums(figures);
    } catch (error) {
      if (mine !== this.asked) return;
      this.mark(/start/i.test(error.where ?? ""), /end/i.test(error.where ?? ""));
      this.report(`No answer: ${error.message}.`, true);
    }
  }

  fill(took) {
    const { noun } = this.kind;
    const count = this.shown.length;
    const many = `${compact(count)} ${noun}${count === 1 ? "" : "s"}`;
    const cut = count === AT_ONCE && this.stream.view === "words" ? ", the most frequent" : "";
    const found = count ? `${many}${cut}` : `No ${noun} begins in this range`;
    this.report(`${this.next ? `The first ${many}` : found}, in ${took < 10 ? took.toFixed(1) : Math.round(took)} ms.`);
    byId("answer-more").hidden = !this.next;
    write(byId("answer-more"), `${compact(AT_ONCE)} more`);
    for (const id of ["answer-table", "answer-filter"]) byId(id).hidden = !count;
    for (const link of byId("answer-export").querySelectorAll("a"))
      link.href = `${this.path}&format=${link.dataset.form}`;
    if (!count) return;
    const caption = `${noun[0].toUpperCase()}${noun.slice(1)}s of the range`;
    this.table.show({ caption, columns: this.kind.columns(this.stream), rows: this.shown, sort: this.sort });
    this.found();
  }

  // Say how many rows have the sought text.
  found() {
    const { rows, sought } = this.table;
    write(byId("answer-found"), sought ? `${compact(rows.length)} of ${compact(this.shown.length)}` : "");
  }

  sums(figures) {
    const { shown: rows, range } = this;
    const known = rows.length && range.every((time) => /^-?\d+$/.test(String(time)));
    byId("answer-tiles").hidden = !known;
    byId("answer-chart").hidden = true;
    if (!known) return;
    drawTiles(byId("answer-tiles"), tilesOf(this.stream, { rows, range, figures }));
    if (this.stream.view === "sets") drawDurations(byId("answer-chart"), this.stream, rows);
  }

  // Show the same range again, as after the choice of another zone.
  again() {
    if (!this.stream || byId("answer").hidden || !this.range?.every((time) => typeof time === "bigint")) return;
    const [from, to] = this.range;
    this.fields.from.value = this.written(from);
    this.fields.to.value = this.written(to);
    if (this.shown?.length) this.table.again();
  }

  report(text, wrong = false) {
    byId("answer").hidden = false;
    write(byId("answer-said"), text);
    write(byId("answer-copied"), "");
    for (const id of PARTS) byId(id).hidden = wrong || id === "answer-tiles" || id === "answer-chart";
    byId("answer-said").classList.toggle("bad", wrong);
  }

  python() {
    const call = this.kind.python(this.stream, ...this.typed, this.by());
    return `import firnline  # FIRNLINE_URL=${location.origin}\n\nrows = ${call}\nfor each in rows:\n    print(each)\n`;
  }

  // A link cannot send a token, so with one the answer is fetched and saved from the page.
  async exported(event) {
    const link = event.target.closest("a");
    if (!link || !token()) return;
    event.preventDefault();
    const response = await ask(link.getAttribute("href"));
    if (!response.ok) {
      write(byId("answer-copied"), `The service answered ${response.status}.`);
      return;
    }
    const url = URL.createObjectURL(await response.blob());
    element("a", { href: url, download: `${this.stream.name}.${link.dataset.form}` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  }

  // Make a copy of the answer that does not change, for programs that read an address as a file.
  async file() {
    try {
      const { url } = await json(`/answers?of=${encodeURIComponent(`${this.path}&format=csv`)}`);
      const how = "polars and DuckDB read it as a file, for five minutes";
      const condition = token() ? ", if they send the header Authorization with a token" : "";
      await this.copy(`${location.origin}${url}`, `The address of a copy as CSV is copied. ${how}${condition}.`);
    } catch (error) {
      write(byId("answer-copied"), `No copy: ${error.message}.`);
    }
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
