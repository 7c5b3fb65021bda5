// The cards below the charts: memory, lag, checkpoints, refused records and failures.

import { json } from "../lib/access.js";
import { byId, element, sentence, table, write } from "../lib/element.js";
import { bytes, clock, compact, duration, number, plural } from "../lib/format.js";
import { reach, since } from "./story.js";

const LEAST_BETWEEN_MS = 3_000;

export class Panels {
  constructor(state) {
    this.state = state;
    this.samples = { for: "", at: 0 };
  }

  draw(stream) {
    this.memory(stream);
    this.lag(stream);
    this.checkpoint(stream);
    this.rejects(stream);
    this.letters(stream);
  }

  memory(stream) {
    const { memory, held } = stream;
    const share = memory.accounted / memory.budget;
    const parts = this.parts("memory", () => [
      element("p", { class: "figure" }),
      element("div", { class: "stack", "aria-hidden": "true" }),
      element("p", {}),
      details(),
    ]);
    sentence(parts[0], [bytes(memory.accounted)], ` of ${bytes(memory.budget)}, ${Math.round(share * 100)} %`);
    const pieces = [
      ["k-others", memory.others],
      ["k-aged", held.bytes - stream.live.bytes],
      ["k-live", stream.live.bytes],
    ];
    const width = pieces.map(([, size]) => Math.max(0, size / memory.budget) * 100);
    if (!parts[1].children.length) parts[1].append(...pieces.map(([kind]) => element("span", { class: kind })));
    [...parts[1].children].forEach((child, at) => {
      child.style.width = `${width[at]}%`;
    });
    reach(parts[2], stream);
    const rows = [
      ["fixed costs and reserves", bytes(memory.others)],
      ["frozen generations", bytes(held.bytes - stream.live.bytes)],
      ["live generation", bytes(stream.live.bytes)],
      ["free", bytes(Math.max(0, memory.budget - memory.accounted))],
      ["on disk", bytes(held.fileBytes)],
      ["resident memory of the process (RSS)", bytes(memory.rss)],
      ["emergencies", number(memory.emergencies)],
    ];
    table(parts[3].lastChild, "This stream's share of the budget", [["part"], ["bytes", "n"]], rows);
  }

  lag(stream) {
    const parts = this.parts("lag", () => [
      element("p", {}),
      element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Partitions" }),
    ]);
    const back = stream.partitions > 1 || stream.openTransactions ? stream.heldBackBy : null;
    sentence(
      parts[0],
      stream.lagTotal ? [`${compact(stream.lagTotal)} records`] : "No partition lags.",
      stream.lagTotal ? " are in Kafka and not yet read. " : " ",
      ...(back == null ? [] : ["Partition ", [String(back)], ` holds the watermark back: ${stream.heldBackBecause}.`]),
    );
    parts[1].hidden = !stream.lag.length;
    const rows = stream.lag.map(([partition, count]) => [
      partition,
      number(count),
      partition === back ? "holds the watermark" : "",
    ]);
    const more =
      stream.partitions > rows.length
        ? `the ${rows.length} partitions with the largest lag, of ${number(stream.partitions)}`
        : null;
    table(parts[1], "Records not yet read", [["partition", "n"], ["lag", "n"], ["note"]], rows, more);
  }

  checkpoint(stream) {
    const parts = this.parts("checkpoint", () => [element("p", {}), details()]);
    const made = stream.checkpoint;
    parts[1].hidden = !made;
    if (!made)
      return sentence(parts[0], ["Checkpoints are off."], " A restart reads the stream again from its beginning.");
    if (made.problem)
      sentence(parts[0], ["The last one failed: "], `${made.problem}. The checkpoint before it is still valid.`);
    else if (made.at == null)
      sentence(
        parts[0],
        made.recoveredFrom
          ? `Started from checkpoint ${number(made.recoveredFrom)}. No newer one yet.`
          : "No checkpoint yet.",
      );
    else
      sentence(
        parts[0],
        "The newest checkpoint is ",
        [`${since(made.at, stream.at)} old`],
        `. It took ${duration(made.seconds * 1000)} and has ${bytes(made.bytes)}. A restart begins with it.`,
      );
    const rows = [
      ["number", number(made.number)],
      ["saved at", made.at == null ? "" : clock(made.at)],
      ["took", duration(made.seconds * 1000)],
      ["size", bytes(made.bytes)],
      ["saved since the start", number(made.saved)],
      ["failed", number(made.failed)],
      ["started from", made.recoveredFrom ? number(made.recoveredFrom) : "the beginning"],
      ["unreadable", made.unread.join(", ") || "nothing"],
    ];
    return table(parts[1].lastChild, "Checkpoints", [["property"], ["value", "n"]], rows);
  }

  rejects(stream) {
    const parts = this.parts("rejects", () => [
      element("p", {}),
      element("div", {}),
      element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Samples" }),
    ]);
    const counts = Object.entries(stream.rejects);
    const all = counts.reduce((sum, [, count]) => sum + count, 0);
    sentence(
      parts[0],
      ...(all
        ? [[plural(all, "record")], " were refused, because they are not events."]
        : ["None. Every record was an event."]),
      stream.late ? ` ${compact(stream.late)} events came late.` : "",
      stream.other
        ? ` ${compact(stream.other)} others are of no interest to the view, because their step has no name here.`
        : "",
      stream.apart ? ` ${compact(stream.apart)} events are kept apart: their times lie ahead of the clock.` : "",
    );
    for (const part of parts.slice(1)) part.hidden = !all;
    if (!all) return;
    table(
      parts[1],
      "By reason",
      [["reason"], ["records", "n"]],
      counts.map(([reason, count]) => [reason.replaceAll("_", " "), number(count)]),
    );
    this.sample(stream, all, parts[2]);
  }

  // Read the newest refused records if there are new ones, at most every three seconds.
  async sample(stream, all, target) {
    const wanted = `${stream.name} ${all}`;
    if (this.samples.for === wanted || Date.now() - this.samples.at < LEAST_BETWEEN_MS) return;
    this.samples = { for: wanted, at: Date.now() };
    try {
      const { newest, advice = {} } = await json(`/${stream.name}/rejects`);
      const rows = newest
        .slice(0, 5)
        .map(({ partition, offset, reason, head, length }) => [
          `${partition} / ${number(offset)}`,
          reason.replaceAll("_", " "),
          head.length < length ? `${head}…` : head,
        ]);
      const said = Object.values(advice).join(" ");
      table(
        target,
        `Newest first${said ? `. ${said}` : ""}`,
        [["partition / offset"], ["reason"], ["record", "mono"]],
        rows,
      );
    } catch (error) {
      write(target, `Samples cannot be read: ${error.message}`);
    }
  }

  letters(stream) {
    const parts = this.parts("letters", () => [
      element("p", {}),
      element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Dead letters" }),
    ]);
    const { deadLetters } = this.state.now;
    if (!deadLetters) return;
    sentence(
      parts[0],
      deadLetters.count ? [plural(deadLetters.count, "message")] : "None. Every message was handled.",
      deadLetters.count ? " between actors were lost, in the whole service." : "",
      stream.restarts ? ` This stream went back to its checkpoint ${plural(stream.restarts, "time")}.` : "",
    );
    parts[1].hidden = !deadLetters.newest.length;
    const rows = deadLetters.newest.map(({ at, stream: name, actor, kind, reason }) => [
      clock(at),
      `${name} ${actor}`,
      kind,
      reason,
    ]);
    table(parts[1], "Newest first", [["time", "n"], ["actor"], ["message"], ["reason"]], rows);
  }

  // Return the lasting elements of a card. They are made once.
  parts(id, make) {
    const target = byId(id);
    if (!target.children.length) target.append(...make());
    return [...target.children];
  }
}

function details(open = false) {
  return element("details", { open }, element("summary", {}, "As a table"), element("div", {}));
}
