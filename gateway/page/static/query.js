// A range as a question: asked of the API as any program would, shown as a table, with the curl and the link that repeat it.

import { curl, json } from "./access.js";
import { byId, element, table, write } from "./element.js";
import { compact, moment, number, parsed, toMs } from "./format.js";
import * as route from "./route.js";

const AT_ONCE = 100;
export const GRANULARITIES = ["minute", "hour", "day", "week", "month", "year"];

// What can be asked of a range, by view: where, and how what comes back is shown.
const KINDS = {
  sets: {
    path: ({ name }, from, to) => `/${name}/get-sets?startTime=${route.whole(from)}&endTime=${route.whole(to)}&limit=${AT_ONCE}`,
    rows: (body) => body.sets,
    columns: (stream) => [["set", "n"], ...stream.steps.map((step) => [step, "n"])],
    cells: (row, at, stream) => [number(at + 1), ...Object.values(row).map(({ timestamp }) => moment(timestamp, stream.unit, true))],
    noun: "set",
  },
  words: {
    path: ({ name, unit }, from, to) => `/${name}/CountWords?startTime=${instant(from, unit)}&endTime=${instant(to, unit)}&limit=${AT_ONCE}`,
    rows: (body) => Object.entries(body).sort((one, other) => other[1] - one[1]),
    columns: () => [["word"], ["count", "n"]],
    cells: ([word, count]) => [word, number(count)],
    noun: "word",
  },
  uniques: {
    path: ({ name, unit }, from, to, by) => `/${name}?granularity=${by}&start=${instant(from, unit)}&end=${instant(to, unit)}`,
    rows: (body) => body.uniques,
    columns: () => [["begins"], ["unique users", "n"], ["frames", "n"], ["state"]],
    cells: (row) => [moment(row.start, "s"), row.exact ? number(row.unique) : `${number(row.lower)} to ${number(row.upper)}`, number(row.frames), row.final ? "final" : "may change"],
    noun: "period",
  },
};

const instant = (time, unit) => new Date(toMs(time, unit)).toISOString();

export const asksRanges = (view) => view in KINDS;

export class Query {
  // `show(from, to)` puts a range on the timeline; `say(range)` puts it into the address.
  constructor({ show, say }) {
    this.show = show;
    this.say = say;
    this.form = byId("range");
    this.fields = this.form.elements;
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    this.fields.granularity.append(...GRANULARITIES.map((name) => element("option", { value: name }, name)));
    this.fields.granularity.addEventListener("change", () => this.submit());
    byId("range-newest").addEventListener("click", () => this.newest());
    byId("range-clear").addEventListener("click", () => this.clear());
    byId("answer-more").addEventListener("click", () => this.more());
    byId("answer-curl").addEventListener("click", () => this.copy(curl(this.path), "The command is copied."));
    byId("answer-link").addEventListener("click", () => this.copy(location.href, "The link is copied."));
  }

  // The stream that is asked from now on.
  of(stream) {
    if (this.stream?.name !== stream.name) this.reset();
    this.stream = stream;
    byId("query").hidden = !asksRanges(stream.view);
    byId("granularity").hidden = stream.view !== "uniques";
  }

  reset() {
    this.asked = (this.asked ?? 0) + 1; // an answer that comes now is of another stream
    byId("answer").hidden = true;
    for (const name of ["from", "to"]) this.fields[name].value = "";
  }

  clear() {
    this.reset();
    this.show(null, null);
    this.say({});
  }

  // A range is being dragged: the fields follow, and at the end it is asked.
  follow(from, to, done) {
    this.fields.from.value = moment(from, this.stream.unit, true);
    this.fields.to.value = moment(to, this.stream.unit, true);
    if (done) this.ask(from, to);
  }

  submit() {
    const [from, to] = ["from", "to"].map((name) => {
      const time = parsed(this.fields[name].value, this.stream.unit);
      this.fields[name].setAttribute("aria-invalid", String(time == null));
      return time;
    });
    if (from == null || to == null) return this.told("A time is needed in both fields, such as 2026-01-31 12:00:00, or an integer in the stream's unit.", true);
    this.show(from, to);
    return this.ask(from, to);
  }

  newest() {
    const { live, bars } = this.stream;
    const start = live.start ?? bars.at(-1)?.start;
    if (start == null) return;
    const end = live.end ?? bars.at(-1).end;
    this.show(start, end);
    this.follow(start, end, true);
  }

  async ask(from, to) {
    const by = this.stream.view === "uniques" ? this.fields.granularity.value : null;
    this.say({ from, to, by });
    this.path = KINDS[this.stream.view].path(this.stream, from, to, by);
    this.shown = [];
    await this.load(this.path);
  }

  async more() {
    await this.load(`${this.path}&cursor=${encodeURIComponent(this.next)}`);
  }

  async load(path) {
    const mine = (this.asked = (this.asked ?? 0) + 1);
    const began = performance.now();
    try {
      const body = await json(path);
      const took = performance.now() - began;
      if (mine !== this.asked) return;
      this.shown.push(...KINDS[this.stream.view].rows(body));
      this.next = body.next;
      this.fill(took);
    } catch (error) {
      if (mine === this.asked) this.told(`No answer: ${error.message}.`, true);
    }
  }

  fill(took) {
    const { noun, columns, cells } = KINDS[this.stream.view];
    const count = this.shown.length;
    const more = this.next ? `The first ${compact(count)} ${noun}s` : count ? `${compact(count)} ${noun}${count === 1 ? "" : "s"}${count === AT_ONCE && this.stream.view === "words" ? ", the most frequent" : ""}` : `No ${noun} begins in this range`;
    this.told(`${more}, in ${took < 10 ? took.toFixed(1) : Math.round(took)} ms.`);
    byId("answer-more").hidden = !this.next;
    byId("answer-table").hidden = !count;
    table(byId("answer-table"), `${noun[0].toUpperCase()}${noun.slice(1)}s of the range`, columns(this.stream), this.shown.map((row, at) => cells(row, at, this.stream)));
  }

  told(text, wrong = false) {
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
      write(byId("answer-copied"), text); // without leave to copy, it is there to be copied by hand
    }
  }
}
