// Dead letters: refused records in a topic of their own. They are read when the part is opened, and when records are
// refused, and can be put back.

import { json, post } from "../lib/access.js";
import { byId, element, sentence, table, write } from "../lib/element.js";
import { number, plural } from "../lib/format.js";
import { whenAt } from "../lib/when.js";
import { showRecord } from "./records.js";

const EVERY_MS = 5_000;

export class DeadLetters {
  draw(stream) {
    if (this.stream?.name !== stream.name) {
      byId("dead").replaceChildren();
      this.form = null;
      this.refused = null;
      this.due = 0;
    }
    this.stream = stream;
    const refused = Object.values(stream.rejects).reduce((sum, count) => sum + count, 0);
    // A refused record is in the topic a little later, so the topic is read once more after the last change.
    if (this.refused !== refused) this.left = 2;
    this.refused = refused;
    if (!this.left || performance.now() < this.due || this.form?.hidden === false) return;
    this.left -= 1;
    this.due = performance.now() + EVERY_MS;
    this.load();
  }

  // Read them again at the next look: the part was left.
  leave() {
    this.stream = null;
  }

  async load() {
    const { name } = this.stream;
    if (this.make()) write(this.said, "Reading the topic of dead letters…");
    try {
      const found = await json(`/${name}/dead-letters`);
      if (this.stream?.name === name) this.show(found);
    } catch (error) {
      if (this.stream?.name === name) write(this.said, `No answer: ${error.message}.`);
    }
  }

  // Make the parts. Returns whether they are new.
  make() {
    if (byId("dead").children.length) return false;
    this.said = element("p", {});
    this.reasons = element("div", {});
    this.samples = element("div", {
      class: "scroll",
      tabindex: 0,
      role: "region",
      "aria-label": "List of dead letters",
    });
    this.done = element("p", { role: "status" });
    this.again = element("button", { type: "button", onclick: () => this.load() }, "Look again");
    this.all = element("button", { type: "button", class: "primary", onclick: () => this.sure() }, "Put back…");
    this.actions = element("div", { class: "actions" }, this.all, this.again);
    this.form = element("form", { class: "sure", hidden: true });
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.replay();
    });
    byId("dead").append(this.said, this.reasons, this.actions, this.form, this.done, this.samples);
    return true;
  }

  show({ topic, reasons, newest, more }) {
    this.counts = reasons;
    this.topic = topic;
    const counts = Object.entries(reasons).sort(([, one], [, other]) => other - one);
    const all = counts.reduce((sum, [, count]) => sum + count, 0);
    for (const part of [this.reasons, this.samples]) part.hidden = !all;
    this.actions.hidden = !topic;
    this.all.hidden = !all;
    if (!topic) {
      sentence(
        this.said,
        "This stream keeps none. With ",
        [`dead_letters: TOPIC`],
        " in its stanza, refused records go there.",
      );
      return;
    }
    sentence(
      this.said,
      ...(all ? [[`${number(all)}${more ? " or more" : ""}`], " wait in topic "] : ["None wait in topic "]),
      [topic],
      all ? ". Once the cause is mended, they can be put back to where they came from." : ".",
    );
    table(
      this.reasons,
      "By reason",
      [["reason"], ["records", "n"]],
      counts.map(([reason, count]) => [reason.replaceAll("_", " "), number(count)]),
    );
    this.samples.replaceChildren(this.listed(newest));
  }

  listed(newest) {
    const rows = newest.slice(0, 20).map((letter) => {
      const open = () =>
        showRecord(byId("record"), { ...letter, state: "refused" }, this.stream, () => {
          byId("record").hidden = true;
        });
      const place = letter.partition == null ? "unknown" : `${letter.partition} / ${number(letter.offset ?? 0)}`;
      return element(
        "tr",
        {},
        element("td", { class: "n" }, element("button", { type: "button", class: "link", onclick: open }, place)),
        element("td", { class: "n" }, whenAt(letter.writtenAt, true)),
        element("td", { class: "mono cut" }, letter.value),
      );
    });
    const head = ["partition / offset", "written", "record"].map((title, at) =>
      element("th", { scope: "col", class: at < 2 ? "n" : null }, title),
    );
    return element(
      "table",
      {},
      element("caption", {}, "Newest first"),
      element("thead", {}, element("tr", {}, ...head)),
      element("tbody", {}, ...rows),
    );
  }

  // Ask once more, because records are written to a topic of the user.
  sure() {
    const choices = Object.entries(this.counts).map(([reason, count]) =>
      element(
        "label",
        {},
        element("input", { type: "checkbox", name: "reason", value: reason, checked: true }),
        ` ${reason.replaceAll("_", " ")} (${number(count)})`,
      ),
    );
    const token = element("input", { name: "token", type: "password", autocomplete: "off", spellcheck: "false" });
    this.form.replaceChildren(
      element(
        "p",
        {},
        "At most 1,000, the oldest first. The stream reads them again, and refuses them again if nothing changed.",
      ),
      element("fieldset", {}, element("legend", {}, "Reasons"), ...choices),
      element("label", { class: "write-token", hidden: true }, "A token that may write ", token),
      element(
        "div",
        { class: "actions" },
        element("button", { type: "submit", class: "primary" }, "Put them back"),
        element("button", { type: "button", onclick: () => this.cancel() }, "Cancel"),
      ),
    );
    this.form.hidden = false;
    this.actions.hidden = true;
    this.form.querySelector("[type=submit]").focus();
  }

  cancel() {
    this.form.hidden = true;
    this.actions.hidden = false;
    this.all.focus();
  }

  async replay() {
    const { name } = this.stream;
    const boxes = [...this.form.querySelectorAll("[name=reason]")];
    const chosen = boxes.filter(({ checked }) => checked).map(({ value }) => value);
    if (!chosen.length) return write(this.done, "Choose a reason.");
    const body = chosen.length === boxes.length ? {} : { reasons: chosen };
    write(this.done, "Putting them back…");
    try {
      const { count } = await post(`/${name}/dead-letters/replay`, body, this.form.elements.token.value.trim() || null);
      write(this.done, `${plural(count, "record")} ${count === 1 ? "is" : "are"} back in the topic.`);
      this.cancel();
      await this.load();
    } catch (error) {
      write(this.done, `Nothing was put back: ${error.message}.`);
      if (error.status !== 401 && error.status !== 403) return undefined;
      const field = this.form.querySelector(".write-token");
      field.hidden = false;
      field.querySelector("input").focus();
    }
    return undefined;
  }
}
