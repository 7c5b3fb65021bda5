// The card "Over time": rates, lag and memory of the last minutes or hours, from the history that the service keeps.

import { Chart } from "../charts/charts.js";
import { continued } from "../data/past.js";
import { byId, table, write } from "../lib/element.js";
import { bytes, compact, duration, rate } from "../lib/format.js";
import { whenAt } from "../lib/when.js";
import { stamp } from "../lib/zone.js";

const KINDS = {
  failed: "bad",
  restarted: "bad",
  "given up": "bad",
  troubled: "bad",
  started: "mild",
  reloaded: "mild",
  recovered: "mild",
};
const TICK_MS = 900;
const NEAR_S = 600; // up to here the page adds what it has seen itself, once a second

export class Over {
  constructor(state, past) {
    this.state = state;
    this.past = past;
    this.last = 600;
    this.drawn = -TICK_MS;
    for (const input of document.querySelectorAll("input[name=past]"))
      input.addEventListener("change", () => {
        this.last = Number(input.value);
        this.name = null; // the charts are made anew, with another axis
        if (this.stream) this.draw(this.stream);
      });
    byId("marks").parentElement.addEventListener("toggle", () => {
      this.drawn = -TICK_MS;
      if (this.stream) this.draw(this.stream);
    });
  }

  make(stream) {
    for (const chart of this.charts ?? []) chart.destroy();
    this.name = stream.name;
    const rates = [
      ["records in", "--aged", rate],
      [`${stream.noun} out`, "--live", rate],
      ["refused", "--bad", rate],
      ["late", "--late", rate],
    ];
    this.charts = [
      new Chart(byId("rates"), "Records in, answers out, refused records and late events per second", rates),
      new Chart(byId("lags"), "Records not read yet", [["records", "--aged", compact]], { least: 10 }),
      new Chart(byId("memories"), "Bytes in use", [["bytes", "--aged", bytes]], { least: 1024, binary: true }),
    ];
  }

  draw(stream) {
    const same = this.stream?.name === stream.name && this.name === stream.name;
    this.stream = stream;
    if (same && performance.now() - this.drawn < TICK_MS) return undefined;
    this.drawn = performance.now();
    if (this.name !== stream.name) this.make(stream);
    const found = this.past.of(stream.name, this.last);
    if (!found) return write(byId("past-said"), "Reading the history…");
    const body = this.last > NEAR_S ? found : continued(found, this.state.recent(stream.name));
    const marks = body.marks.filter(({ kind }) => kind in KINDS).map(({ at, kind }) => [at, KINDS[kind]]);
    const [rates, lags, memories] = this.charts;
    rates.set([body.at, body.records, body.answers, body.refused, body.late], marks);
    lags.set([body.at, body.lag], marks);
    memories.set([body.at, body.memory], marks);
    const each = this.last > NEAR_S ? ` A point is ${duration(body.stepSeconds * 1000)}.` : "";
    write(byId("past-said"), `The history since ${stamp(body.began)}, of 24 h at most.${each}`);
    write(byId("marks").previousElementSibling, `What happened (${body.marks.length})`);
    if (byId("marks").parentElement.open)
      table(
        byId("marks"),
        "Newest first",
        [["time", "n"], ["what"], ["more"]],
        body.marks.toReversed().map(({ at, kind, text }) => [whenAt(at), kind, text]),
      );
    return undefined;
  }
}
