// The cards about memory, partitions, checkpoints and troubles.

import { byId, element, sentence, table, write } from "../lib/element.js";
import { age, bytes, compact, duration, number, plural, rate } from "../lib/format.js";
import { whenAt } from "../lib/when.js";
import { reach } from "./story.js";

const RATE_S = 10;
const DAY_S = 86_400;
const MOST_SAVED = 60;
const MOST_TROUBLES = 100;
const TROUBLES = new Set(["started", "failed", "restarted", "given up", "troubled", "recovered"]);

export class Panels {
  constructor(state, past) {
    this.state = state;
    this.past = past;
    this.places = { name: null, seen: [] };
  }

  draw(stream) {
    const history = this.past.of(stream.name, DAY_S);
    this.partitions(stream);
    this.checkpoint(stream, history);
    this.troubles(stream, history);
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

  // Return the records that were read of each partition per second, over the last ten seconds.
  speeds(stream) {
    if (this.places.name !== stream.name) this.places = { name: stream.name, seen: [] };
    const { seen } = this.places;
    if (!seen.length || stream.at - seen.at(-1).at > 0.9)
      seen.push({ at: stream.at, offsets: new Map(stream.lag.map(([number, , offset]) => [number, offset])) });
    while (seen.length > 1 && seen[0].at < stream.at - RATE_S) seen.shift();
    const [first, last] = [seen[0], seen.at(-1)];
    const passed = last.at - first.at;
    return (number) => {
      const grown = last.offsets.get(number) - first.offsets.get(number);
      return passed > 1 && Number.isFinite(grown) && grown >= 0 ? grown / passed : null;
    };
  }

  partitions(stream) {
    const parts = this.parts("lag", () => [
      element("p", {}),
      element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Table of partitions" }),
    ]);
    // The watermark goes on unless a transaction is open, or one partition of several has records that are not read.
    const waits = stream.openTransactions || (stream.lagTotal && stream.partitions > 1);
    const back = waits ? stream.heldBackBy : null;
    sentence(
      parts[0],
      stream.lagTotal ? [`${compact(stream.lagTotal)} records`] : "All is read.",
      stream.lagTotal ? " are not read yet. " : " ",
      ...(back == null ? [] : ["Partition ", [String(back)], ` holds the watermark back: ${stream.heldBackBecause}.`]),
    );
    parts[1].hidden = !stream.lag.length;
    const speed = this.speeds(stream);
    const rows = stream.lag.map(([partition, count, offset]) => {
      const each = speed(partition);
      return [
        partition,
        offset == null ? "–" : number(offset),
        offset == null ? "–" : number(offset + count),
        number(count),
        each == null ? "…" : `${rate(each)} /s`,
        partition === back ? "holds the watermark" : "",
      ];
    });
    const more =
      stream.partitions > rows.length
        ? `the ${rows.length} partitions with the largest lag, of ${number(stream.partitions)}`
        : null;
    const columns = [
      ["partition", "n"],
      ["next offset", "n"],
      ["end", "n"],
      ["not read yet", "n"],
      ["read", "n"],
      ["note"],
    ];
    table(parts[1], "By number", columns, rows, more);
  }

  checkpoint(stream, history) {
    const parts = this.parts("checkpoint", () => [
      element("p", {}),
      element("dl", { class: "facts" }),
      element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Table of checkpoints" }),
    ]);
    const made = stream.checkpoint;
    for (const part of parts.slice(1)) part.hidden = !made;
    if (!made) {
      sentence(parts[0], ["Checkpoints are off."], " A restart reads the stream again from its beginning.");
      return;
    }
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
        "A restart begins with checkpoint ",
        [number(made.number)],
        made.copyProblem ? `, which has no copy: ${made.copyProblem}.` : ".",
      );
    facts(parts[1], [
      ["old", made.at == null ? "–" : age(stream.at - made.at)],
      ["took", made.at == null ? "–" : duration(made.seconds * 1000)],
      ["size", made.at == null ? "–" : bytes(made.bytes)],
      ["saved, failed", `${number(made.saved)}, ${number(made.failed)}`],
      ["started from", made.recoveredFrom ? number(made.recoveredFrom) : "the beginning"],
      ["unreadable", made.unread.join(", ") || "nothing"],
    ]);
    const saved = history?.checkpoints ?? [];
    parts[2].hidden = !saved.length;
    const rows = saved
      .slice(-MOST_SAVED)
      .toReversed()
      .map((each) => [number(each.number), whenAt(each.at), duration(each.seconds * 1000), bytes(each.bytes)]);
    const columns = [
      ["number", "n"],
      ["saved at", "n"],
      ["took", "n"],
      ["size", "n"],
    ];
    table(parts[2], "Newest first, one for each ten seconds", columns, rows);
  }

  // List what went wrong, and what ended it: the marks of the history, and the messages that no actor has handled.
  troubles(stream, history) {
    const parts = this.parts("letters", () => [
      element("p", {}),
      element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "List of troubles" }),
    ]);
    const { deadLetters } = this.state.now;
    const marks = (history?.marks ?? []).filter(({ kind }) => TROUBLES.has(kind));
    const lost = (deadLetters?.newest ?? []).filter((each) => each.stream === stream.name);
    const rows = [
      ...marks.map(({ at, kind, text }) => [at, kind, text]),
      ...lost.map(({ at, actor, kind, reason }) => [at, "lost", `${actor}, ${kind}: ${reason}`]),
    ].sort(([one], [other]) => other - one);
    if (stream.degradedBy && !rows.some(([, kind]) => kind === "given up"))
      rows.unshift([rows[0]?.[0] ?? stream.at, "given up", stream.degradedBy]); // the history has it within ten seconds
    const bad = rows.filter(([, kind]) => kind !== "started" && kind !== "recovered").length;
    sentence(
      parts[0],
      ...(bad ? [[plural(bad, "trouble")], " since the service started."] : ["None since the service started."]),
      stream.restarts ? ` This stream went back to its checkpoint ${plural(stream.restarts, "time")}.` : "",
      deadLetters?.count
        ? ` ${plural(deadLetters.count, "message")} between actors were lost in the whole service.`
        : "",
    );
    parts[1].hidden = !bad;
    const cells = rows.slice(0, MOST_TROUBLES).map(([at, kind, text]) => [whenAt(at), kind, text]);
    table(parts[1], "Newest first", [["time"], ["what"], ["more"]], cells);
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

// Write pairs of a name and a value.
function facts(target, rows) {
  if (target.children.length !== rows.length)
    target.replaceChildren(...rows.map(() => element("div", {}, element("dt", {}), element("dd", {}))));
  rows.forEach(([name, value], at) => {
    write(target.children[at].children[0], name);
    write(target.children[at].children[1], value);
  });
}
