// The page of one stream: tiles, the histogram or the timeline of memory, the range, the view, and what lies inside.

import { DeadLetters } from "../cards/dead.js";
import { drawInside } from "../cards/inside.js";
import { Over } from "../cards/over.js";
import { Panels } from "../cards/panels.js";
import { Records } from "../cards/records.js";
import { drawShards } from "../cards/shards.js";
import { empty, forgotten, holds } from "../cards/story.js";
import { Brush } from "../charts/brush.js";
import { Histogram } from "../charts/histogram.js";
import { STATES, Timeline } from "../charts/timeline.js";
import { Touch } from "../charts/touch.js";
import { WHAT } from "../data/nouns.js";
import { statusOf } from "../data/status.js";
import { byId, sentence, table, write } from "../lib/element.js";
import { bytes, compact, moment, number, plural } from "../lib/format.js";
import * as route from "../lib/route.js";
import { when } from "../lib/when.js";
import { drawTiles } from "../parts/tiles.js";
import { asksRanges, Query } from "../range/query.js";
import { View } from "../views/views.js";
import { tiles, upper } from "./head.js";

export class StreamPage {
  constructor(state, past, draw) {
    this.state = state;
    this.redraw = draw;
    this.mode = "answers";
    this.timeline = new Timeline(byId("plot"));
    this.histogram = new Histogram(byId("histogram"), draw);
    this.brush = new Brush(this.histogram, (from, to, done) => this.query.follow(from, to, done));
    this.touch = new Touch(this.histogram, (event) => this.brush.begin(event, true));
    this.query = new Query({
      show: (from, to) => {
        this.histogram.reveal(from, to);
        this.brush.show(from, to);
      },
      say: (range) => {
        route.say({ stream: this.name, part: this.part, ...range });
        this.view.follow(range);
      },
    });
    this.over = new Over(state, past);
    this.panels = new Panels(state, past);
    this.records = new Records();
    this.dead = new DeadLetters();
    this.view = new View();
    this.part = "";
    this.listen();
  }

  // Show another stream from now on. Nothing of the stream before stays.
  choose(name) {
    this.name = name;
    this.timeline.clear();
    this.histogram.clear();
    this.brush.show(null, null);
    write(byId("empty-copied"), "");
  }

  // Query the range that the address names.
  ask(stream, { from, to, by }) {
    if (!asksRanges(stream.view) || from == null || to == null) return;
    if (by) this.query.choose(by);
    this.query.follow(from, to, true);
  }

  // Returns whether the stream has no event yet.
  draw(stream) {
    const none = stream.live.start == null && !stream.bars.length;
    this.head(stream);
    this.parts(stream);
    empty(stream, none);
    if (this.part === "records") {
      this.records.draw(stream);
      this.dead.draw(stream);
    } else this.dead.leave();
    if (this.part === "inside") {
      drawInside(stream, this.state.rates(stream.name, 10), this.state.shares(10));
      drawShards(stream);
      this.panels.draw(stream);
    }
    if (this.part === "") this.data(stream, none);
    return none;
  }

  data(stream, none) {
    byId("facts").hidden = none;
    byId("past").hidden = none && !stream.records;
    holds(byId("holds"), stream);
    forgotten(byId("forgotten"), stream);
    this.panels.memory(stream);
    const flat = !Histogram.shows(stream) && !stream.bars.length && !stream.gone.length;
    byId("timeline").hidden = none || flat; // one live generation is one bar, which shows nothing
    this.query.of(stream);
    if (none) byId("query").hidden = true;
    this.chart(stream);
    if (byId("timeline").querySelector("details").open) generations(stream);
    this.view.of(stream);
    byId("view").hidden ||= none;
    if (!byId("past").hidden) this.over.draw(stream);
  }

  // Show the chosen part alone, and say in the links what waits in the others.
  parts(stream) {
    byId("empty-records").firstChild.href = route.address({ stream: stream.name, part: "records" });
    for (const link of byId("parts").querySelectorAll("a")) {
      const { part } = link.dataset;
      link.href = route.address({ stream: stream.name, part });
      if (part === this.part) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
      byId(`part-${part || "data"}`).hidden = part !== this.part;
    }
    const refused = Object.values(stream.rejects).reduce((sum, count) => sum + count, 0);
    const count = (id, value, text) => {
      byId(id).hidden = !value;
      write(byId(id), value ? text : "");
    };
    count("parts-refused", refused, `${compact(refused)} refused`);
    const { trouble, degradedBy, checkpoint, outputProblem } = stream;
    const present = trouble || degradedBy || checkpoint?.problem || checkpoint?.copyProblem || outputProblem;
    count("parts-troubles", present, "trouble");
  }

  // Draw everything anew, as after the choice of another zone.
  forget() {
    this.timeline.redraw();
    this.histogram.redraw();
    this.query.again();
    this.view.again();
    this.records.again();
  }

  head(stream) {
    const rates = this.state.rates(stream.name, 10);
    const status = statusOf(stream, rates, stream.at);
    sentence(byId("story-title"), [stream.name], ` keeps ${WHAT[stream.view] ?? stream.view}`);
    write(byId("story-state"), status.word);
    byId("story-state").dataset.kind = status.kind;
    byId("story-state").title = status.detail;
    drawTiles(byId("tiles"), tiles(stream, rates));
  }

  chart(stream) {
    const counted = Histogram.shows(stream);
    const answers = counted && this.mode === "answers";
    const shown = answers ? this.histogram : this.timeline;
    byId("modes").hidden = !counted;
    byId("histogram").hidden = !answers;
    byId("plot").hidden = answers;
    for (const id of ["windows", "tools"]) byId(id).hidden = !answers;
    for (const id of ["heights", "widths"]) byId(id).hidden = answers;
    write(byId("mode-answers"), stream.noun);
    write(byId("timeline-title"), answers ? `${upper(stream.noun)} by event time` : "Timeline of memory");
    for (const item of byId("legend").querySelectorAll(".k-mark, .k-open")) item.hidden = !answers;
    this.brush.on(shown);
    this.brush.enabled = asksRanges(stream.view);
    shown.plot.classList.toggle("askable", this.brush.enabled);
    byId("timeline").classList.toggle("later", !counted);
    if (byId("timeline").hidden) return;
    if (answers) shown.tick(stream);
    else shown.draw(stream);
    this.brush.draw();
    if (answers) this.windowed(stream);
    else caption(byId("timeline-said"), stream, this.timeline);
  }

  windowed(stream) {
    const { window } = this.histogram;
    write(byId("timeline-said"), `${this.histogram.summary()} ${finality(stream)}`);
    byId("histogram").setAttribute(
      "aria-label",
      `${byId("timeline-title").textContent}. ${this.histogram.loaded ? "" : "Counting. "}` +
        "Plus and minus zoom, arrow keys move, Home shows all, End follows the newest.",
    );
    byId("tools").querySelector("[data-do=follow]").setAttribute("aria-pressed", String(window.follows));
    for (const input of document.querySelectorAll("input[name=window]"))
      input.checked = window.named === input.value && window.follows;
  }

  listen() {
    const each = (name, act) => {
      for (const input of document.querySelectorAll(`input[name=${name}]`))
        input.addEventListener("change", () => act(input.value));
    };
    for (const name of ["height", "width"])
      each(name, (value) => {
        this.timeline.kind[name] = value;
        this.timeline.redraw();
      });
    each("mode", (value) => {
      this.mode = value;
      this.redraw();
    });
    each("window", (value) => {
      this.histogram.window.follow(value === "all" ? "all" : Number(value), this.histogram.stream.unit);
      this.histogram.moved();
    });
    byId("tools").addEventListener("click", ({ target }) => {
      if (target.dataset.do) this.histogram.act(target.dataset.do === "follow" ? "toggle" : target.dataset.do);
    });
    byId("timeline").querySelector("details").addEventListener("toggle", this.redraw);
    byId("empty-copy").addEventListener("click", copied);
  }
}

// Copy the command. If the browser forbids that, as it does without HTTPS, the command is selected for a copy by hand.
async function copied() {
  const command = byId("empty-command");
  try {
    await navigator.clipboard.writeText(command.textContent);
    write(byId("empty-copied"), "The command is copied.");
  } catch {
    getSelection().selectAllChildren(command);
  }
}

// Say until when answers do not change any more.
function finality({ coverage, unit, bars, live, view }) {
  const first = bars[0]?.start ?? live.start;
  if (coverage.finalUntil > first)
    return `What begins before ${moment(coverage.finalUntil, unit)} does not change; a late event may add to it.`;
  return coverage.finalUntil == null
    ? ""
    : `A late event may still change ${view === "sets" ? "every set" : "all of it"}.`;
}

function caption(target, stream, timeline) {
  const { generations: count, bars } = stream;
  const high = {
    rate: "its events per unit of time",
    events: "its number of events",
    bytes: "its size in bytes",
  }[timeline.kind.height];
  const wide = timeline.straight
    ? "The width of a bar is the time that it covers."
    : "All bars have the same width, because their times differ too much.";
  const many =
    count > bars.length && bars.length ? ` ${number(count)} generations are drawn as ${number(bars.length)} bars.` : "";
  write(
    target,
    `Each bar is a generation: a slice of the stream that is kept as one piece. ${wide} The height is ${high}.${many}`,
  );
}

function generations(stream) {
  const all = [...stream.gone, ...stream.bars, stream.live].filter(({ start }) => start != null).reverse();
  const rows = all.map((bar) => [
    STATES[bar.state] + (bar.reason ? ` (${bar.reason})` : ""),
    when(bar.start, stream.unit),
    when(bar.end, stream.unit),
    compact(bar.events),
    bar.answers == null ? "" : compact(bar.answers),
    bytes(bar.state === "gone" ? 0 : bar.bytes),
    bytes(bar.disk),
  ]);
  table(
    byId("generations"),
    `${plural(all.length, "generation")}, newest first`,
    [["state"], ["from"], ["to"], ["events", "n"], [stream.noun, "n"], ["in memory", "n"], ["on disk", "n"]],
    rows,
  );
}
