// Shows the answers of a view beside its ranges. Reads them from the API every two seconds, while the page is visible.

import { json } from "../lib/access.js";
import { byId, element, sentence, write } from "../lib/element.js";
import { compact } from "../lib/format.js";
import { paused } from "../lib/pause.js";
import { FUNNEL } from "./funnel.js";
import { SEGMENTS } from "./segments.js";
import { idColumns, TOP } from "./top.js";
import { UNIQUES } from "./uniques.js";
import { WORDS } from "./words.js";

const EVERY_MS = 2_000;

// Each has a title, the choices with their legend, `load(stream, choice, range)` for the answer, and
// `draw(answer, target, view)`, which returns a line of text. `range` is the choice that stands for the chosen range.
const VIEWS = { funnel: FUNNEL, top: TOP, uniques: UNIQUES, words: WORDS, segments: SEGMENTS };

export class View {
  // Show the view of `stream`, if it has one beside its ranges.
  of(stream) {
    const known = VIEWS[stream.view];
    byId("view").hidden = !known;
    const fresh = this.stream?.name !== stream.name;
    this.stream = stream;
    if (!known || !fresh) return;
    this.chart?.destroy();
    this.chart = this.drawn = this.table = null;
    this.shown = false;
    byId("view-body").replaceChildren();
    write(byId("view-title"), known.title);
    const choices = known.choices(stream);
    this.choice = (this.range && known.range) || choices[0];
    const option = (name) =>
      element(
        "label",
        {},
        element("input", {
          type: "radio",
          name: "choice",
          value: name,
          checked: name === this.choice,
          disabled: name === known.range && !this.range,
          onchange: () => this.choose(name),
        }),
        element("span", {}, name),
      );
    byId("view-switches").replaceChildren(
      element("fieldset", {}, element("legend", {}, known.legend), ...choices.map(option)),
    );
    this.load();
  }

  // Show the ids that have the sought text. If none of those that were read has it, ask the service for just this id.
  async found() {
    const sought = this.search.value.trim();
    let rows = this.rows.filter(({ id }) => id.includes(sought));
    if (!rows.length && sought) {
      const one = await json(`/${this.stream.name}/${encodeURIComponent(sought)}`).catch(() => null);
      if (sought !== this.search.value.trim()) return;
      if (one) rows = [{ id: one.id, value: BigInt(one.value), rank: one.rank }];
    }
    const caption = sought
      ? `${compact(rows.length)} of ${compact(this.rows.length)} ids have this text`
      : "The largest value first";
    this.table.show({ caption, columns: idColumns(rows), rows });
  }

  // Follow the range that is chosen above, if the view can: { from, to }, or {} if there is none any more.
  follow({ from, to }) {
    this.range = from == null ? null : [from, to];
    const of = VIEWS[this.stream?.view]?.range;
    if (!of) return;
    const options = [...byId("view-switches").querySelectorAll("input")];
    const own = options.find(({ value }) => value === of);
    own.disabled = !this.range;
    if (!this.range && this.choice !== of) return;
    const chosen = this.range ? own : options[0];
    chosen.checked = true;
    this.choose(chosen.value);
  }

  // Draw the answer anew, as after the choice of another zone.
  again() {
    this.drawn = null;
    if (this.stream) this.load();
  }

  choose(name) {
    this.choice = name;
    this.shown = false;
    this.chart?.destroy(); // another period has another width of a bar
    this.chart = null;
    this.drawn = null;
    if (this.stream.view !== "top") byId("view-body").replaceChildren();
    this.load();
  }

  async load() {
    clearTimeout(this.timer);
    const { stream, choice, range } = this;
    const known = VIEWS[stream.view];
    if (!known) return;
    try {
      const body =
        document.hidden || (paused() && this.shown) ? null : await known.load(stream, choice, range ?? undefined);
      const other = choice === known.range && range !== this.range; // then it is loaded again already
      if (stream.name !== this.stream.name || choice !== this.choice || other) return;
      this.shown ||= Boolean(body);
      if (body) sentence(byId("view-said"), known.draw(body, byId("view-body"), this));
    } catch (error) {
      if (stream.name === this.stream.name) sentence(byId("view-said"), `No answer: ${error.message}.`);
    }
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.load(), EVERY_MS);
  }
}
