// The part "Records": the newest records as the stream reads them, the refused ones, and one record with all of it.

import { json } from "../lib/access.js";
import { byId, element, sentence, table, write } from "../lib/element.js";
import { compact, isTime, number, plural } from "../lib/format.js";
import { paused } from "../lib/pause.js";
import { when, whenAt } from "../lib/when.js";
import { Rows } from "../parts/rows.js";

const EVERY_MS = 2_000;
const KINDS = { event: "good", refused: "bad", other: "quiet" };

export class Records {
  constructor() {
    this.table = new Rows(byId("records-table"));
    this.state = "";
    this.stream = null;
    this.asked = 0;
    for (const input of document.querySelectorAll("input[name=record-state]"))
      input.addEventListener("change", () => {
        this.state = input.value;
        this.fill();
      });
    byId("records-find").addEventListener("input", () => this.fill());
  }

  // Show the records of this stream, and read them again every two seconds.
  draw(stream) {
    if (this.stream?.name !== stream.name) {
      this.records = this.refused = this.drawn = null;
      this.asked = -EVERY_MS;
      byId("records-table").replaceChildren();
      byId("rejects").replaceChildren();
      this.close();
      write(byId("records-said"), "Reading the newest records…");
    }
    this.stream = stream;
    if (performance.now() - this.asked > EVERY_MS && !paused()) this.load(stream.name);
  }

  async load(name) {
    this.asked = performance.now();
    try {
      const [{ records }, rejects] = await Promise.all([json(`/${name}/records`), json(`/${name}/rejects`)]);
      if (this.stream.name !== name) return;
      this.records = records;
      this.refused = rejects.newest.map((each) => ({ ...each, state: "refused", value: each.head, time: null }));
      this.fill();
      this.rejects(rejects);
    } catch (error) {
      if (this.stream.name === name) write(byId("records-said"), `No answer: ${error.message}.`);
    }
  }

  fill() {
    if (!this.records) return;
    const sought = byId("records-find").value.trim().toLowerCase();
    const kept = this.state === "refused" ? this.refused : this.records; // the refused ones go further back
    const rows = kept.filter((each) => (!this.state || each.state === this.state) && has(each, sought));
    const all = kept.length;
    const newest = `newest ${this.state === "refused" ? "refused " : ""}${all === 1 ? "record" : "records"}`;
    const shown = rows.length === all ? `The ${compact(all)}` : `${compact(rows.length)} of the ${compact(all)}`;
    const said = `${shown} ${newest}, as this stream reads them. A click shows a whole record.`;
    write(byId("records-said"), all ? said : "None since the service started.");
    const key = JSON.stringify([rows.map(({ partition, offset }) => [partition, offset]), this.state, sought]);
    const box = byId("records-table");
    const inUse = this.drawn && (box.scrollTop > 4 || box.querySelector(":focus-visible")) && sought === this.sought;
    if (this.drawn === key || (inUse && this.chosen === this.state)) return undefined;
    [this.sought, this.chosen] = [sought, this.state];
    this.drawn = key;
    byId("records-table").hidden = !rows.length;
    this.table.show({ caption: "Newest first", columns: this.columns(rows), rows });
    return undefined;
  }

  columns(rows) {
    const { stream } = this;
    const place = (record) =>
      element(
        "button",
        { type: "button", class: "link", onclick: () => this.open(record) },
        `${record.partition} / ${number(record.offset)}`,
      );
    const columns = [
      { title: "partition / offset", kind: "n", text: place },
      { title: "written", kind: "n", text: ({ writtenAt }) => whenAt(writtenAt, true) },
      { title: "read as", kind: "", text: (record) => badge(record) },
      { title: "key", kind: "mono short", text: ({ key }) => key ?? "–" },
      { title: "record", kind: "mono cut", text: ({ value, length: size }) => (size == null ? "tombstone" : value) },
    ];
    if (isTime(stream.unit) && rows.some(({ time }) => time != null))
      columns.splice(2, 0, {
        title: "event time",
        kind: "n",
        text: ({ time }) => when(time, stream.unit, true),
      });
    return columns;
  }

  // Draw the tables anew, as after the choice of another zone.
  again() {
    this.drawn = null;
    this.fill();
  }

  open(record) {
    showRecord(byId("record"), record, this.stream, () => this.close());
  }

  close() {
    byId("record").hidden = true;
    byId("record").replaceChildren();
  }

  rejects({ rejects, newest, advice = {} }) {
    const target = byId("rejects");
    if (!target.children.length)
      target.append(
        element("p", {}),
        element("div", {}),
        element("p", { class: "quiet" }),
        element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "List of refused records" }),
      );
    const [said, reasons, help, samples] = target.children;
    const counts = Object.entries(rejects).sort(([, one], [, other]) => other - one);
    const all = counts.reduce((sum, [, count]) => sum + count, 0);
    const { other, apart } = this.stream;
    sentence(
      said,
      ...(all
        ? [[plural(all, "record")], " were refused, because they are not events."]
        : ["None. Every record was an event."]),
      other ? ` ${compact(other)} others are of no interest to the view, because their step has no name here.` : "",
      apart ? ` ${compact(apart)} events are kept apart: their times lie ahead of the clock.` : "",
    );
    for (const part of [reasons, help, samples]) part.hidden = !all;
    if (!all) return;
    const columns = [["reason"], ["records", "n"], ["share", "n"]];
    const share = (count) => `${Number(((100 * count) / all).toPrecision(2))} %`;
    table(
      reasons,
      "By reason",
      columns,
      counts.map(([reason, count]) => [plain(reason), number(count), share(count)]),
    );
    write(help, Object.values(advice).join(" "));
    help.hidden ||= !help.textContent;
    const key = JSON.stringify(newest.slice(0, 20).map(({ partition, offset }) => [partition, offset]));
    if (samples.dataset.key === key) return;
    samples.dataset.key = key;
    this.samples = this.samples?.target === samples ? this.samples : new Rows(samples);
    this.samples.show({ caption: "Newest first", columns: this.refusedColumns(), rows: newest.slice(0, 20) });
  }

  refusedColumns() {
    const place = (record) =>
      element(
        "button",
        {
          type: "button",
          class: "link",
          onclick: () => this.open({ ...record, state: "refused", value: record.head }),
        },
        `${record.partition} / ${number(record.offset)}`,
      );
    return [
      { title: "partition / offset", kind: "n", text: place },
      { title: "reason", kind: "clip", text: ({ reason }) => element("span", { title: plain(reason) }, plain(reason)) },
      { title: "record", kind: "mono cut", text: ({ head }) => head },
    ];
  }
}

const plain = (reason) => reason.replaceAll("_", " ");

const has = ({ key, value, offset, reason }, sought) =>
  !sought || [key, value, String(offset), reason].some((text) => text?.toLowerCase().includes(sought));

function badge({ state, reason }) {
  const text = state === "refused" ? plain(reason ?? "refused") : state;
  return element("span", { class: "badge", "data-kind": KINDS[state] }, text);
}

// Show one record: its place, times, key, headers and value. JSON is shown with line breaks.
export function showRecord(target, record, stream, close) {
  const { partition, offset, writtenAt, state, reason, time, key, headers, value } = record;
  const facts = [
    ["partition / offset", partition == null ? "unknown" : `${partition} / ${number(offset ?? 0)}`],
    ["written", writtenAt == null ? "unknown" : whenAt(writtenAt, true)],
    ["read as", state === "refused" ? `refused: ${plain(reason ?? "")}` : state],
    ...(time == null || !isTime(stream.unit) ? [] : [["event time", when(time, stream.unit, true)]]),
    ["length", record.length == null ? "a tombstone" : plural(record.length, "byte")],
    ["key", key ?? "none"],
  ];
  const rows = facts.map(([name, text]) => element("div", {}, element("dt", {}, name), element("dd", {}, text)));
  const cut = record.length != null && value.length < record.length ? " (the first bytes)" : "";
  const list = element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Headers" });
  table(
    list,
    headers.length ? plural(headers.length, "header") : "No headers",
    [["header"], ["value", "mono"]],
    headers.map((each) => [each.name, each.value ?? "null"]),
  );
  const button = element("button", { type: "button", onclick: close }, "Close");
  target.replaceChildren(
    element(
      "div",
      { class: "head" },
      element("h3", {}, `Record ${partition ?? ""} / ${number(offset ?? 0)}${cut}`),
      button,
    ),
    element("dl", { class: "facts wide-facts" }, ...rows),
    element("pre", { tabindex: 0, "aria-label": "Value" }, element("code", {}, pretty(value))),
    list,
  );
  target.hidden = false;
  target.scrollIntoView({ block: "nearest" });
  button.focus({ preventScroll: true });
}

function pretty(value) {
  if (!/^\s*[[{]/.test(value)) return value;
  try {
    return JSON.stringify(JSON.parse(value), null, 2).length > 4_000 || /\d{16}/.test(value)
      ? value // JSON.parse would round long numbers
      : JSON.stringify(JSON.parse(value), null, 2);
  } catch {
    return value; // not JSON, or the first bytes of it
  }
}
