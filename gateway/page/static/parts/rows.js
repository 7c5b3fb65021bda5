// A table of many rows: only those in sight are in the document. A click on a title sorts by its column. Rows can be
// found by a text.

import { element } from "../lib/element.js";
import { compared } from "../lib/exact.js";

const ALL = 200; // with at most this many rows, all of them are in the document
const BEYOND = 12; // rows above and below the visible ones

export class Rows {
  constructor(target) {
    this.target = target;
    this.rows = [];
    this.sought = "";
    target.addEventListener("scroll", () => this.place(), { passive: true });
    new ResizeObserver(() => this.place()).observe(target);
  }

  // `columns` are { title, kind, text, key }: `text(row, at)` is the cell, and `key(row)` what is sorted by; without a
  // key the column cannot be sorted. `sort` is [column, 1 or -1], or null for the order of the rows.
  show({ caption, columns, rows, sort = null }) {
    this.caption = caption;
    this.columns = columns;
    this.given = rows;
    this.texts = [];
    if (this.sortedBy !== columns.map(({ title }) => title).join()) this.sort = sort;
    this.sortedBy = columns.map(({ title }) => title).join();
    this.order();
  }

  order() {
    const [column, way] = this.sort ?? [null, 1];
    const key = column == null ? null : this.columns[column].key;
    const all = this.given.map((row, at) => [row, at]);
    const numbered = this.sought ? all.filter(([row, at]) => this.textOf(row, at).includes(this.sought)) : all;
    if (key) numbered.sort(([one, at], [other, place]) => way * (compared(key(one), key(other)) || at - place));
    this.rows = numbered;
    this.make();
  }

  make() {
    this.head = this.columns.map(({ title, kind, key }, at) => {
      const sorted = this.sort?.[0] === at ? (this.sort[1] > 0 ? "ascending" : "descending") : null;
      const button = key && element("button", { type: "button", class: "sort", onclick: () => this.by(at) }, title);
      return element("th", { scope: "col", class: kind, "aria-sort": sorted }, button ?? title);
    });
    this.body = element("tbody", {});
    const table = element(
      "table",
      { "aria-rowcount": this.rows.length + 1 },
      element("caption", {}, this.caption),
      element("thead", {}, element("tr", { "aria-rowindex": 1 }, ...this.head)),
      this.body,
    );
    this.box = element("div", { class: "sizer" }, table);
    this.target.replaceChildren(this.box);
    this.from = this.to = -1;
    this.high = 0;
    this.place();
  }

  // Show only the rows that have a text in a cell; all rows for an empty text. A time is found by its date.
  find(text) {
    this.sought = text.trim().toLowerCase();
    if (!this.given) return;
    this.order();
    this.target.scrollTop = 0;
  }

  textOf(row, at) {
    const read = (cell) => (cell instanceof Element ? (cell.dataset.date ?? cell.textContent) : String(cell ?? ""));
    this.texts[at] ??= this.columns.map(({ text }) => read(text(row, at)).toLowerCase()).join("\n");
    return this.texts[at];
  }

  // Draw the same rows anew, as after the choice of another zone.
  again() {
    this.texts = [];
    this.order();
  }

  by(at) {
    const [column, way] = this.sort ?? [null, 0];
    this.sort = column === at ? [at, -way] : [at, 1];
    this.order();
    this.target.scrollTop = 0;
    this.head[at].firstChild.focus();
  }

  // Put the rows in sight into the document, between empty space as high as the others.
  place() {
    if (!this.body || this.target.hidden) return;
    const count = this.rows.length;
    if (!this.high && count) {
      this.fill(0, Math.min(count, count <= ALL ? count : 40));
      this.high = this.body.firstChild.getBoundingClientRect().height;
    }
    if (count <= ALL || !this.high) return;
    const first = Math.floor(this.target.scrollTop / this.high) - BEYOND;
    const seen = Math.ceil(this.target.clientHeight / this.high) + 2 * BEYOND;
    const from = Math.max(0, Math.min(first, count - seen));
    this.fill(from, Math.min(count, from + seen));
    this.box.style.paddingTop = `${from * this.high}px`;
    this.box.style.paddingBottom = `${(count - this.to) * this.high}px`;
  }

  fill(from, to) {
    if (this.from === from && this.to === to) return;
    [this.from, this.to] = [from, to];
    const made = this.rows
      .slice(from, to)
      .map(([row, at], place) =>
        element(
          "tr",
          { "aria-rowindex": from + place + 2 },
          ...this.columns.map(({ kind, text }) => element("td", { class: kind }, text(row, at))),
        ),
      );
    this.body.replaceChildren(...made);
  }
}
