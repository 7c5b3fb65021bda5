// The shards of a stream in a cluster: which process has each, how far it is behind, and what it holds.

import { byId, table } from "../lib/element.js";
import { bytes, compact } from "../lib/format.js";

const COLUMNS = [["shard", "n"], ["state"], ["not read", "n"], ["memory", "n"], ["process"], ["problems"]];

export function drawShards(stream) {
  const card = byId("shards");
  card.hidden = !stream.shards?.length;
  if (card.hidden) return;
  const rows = stream.shards.map((each) => [
    each.shard,
    each.state,
    each.lag == null ? "–" : compact(each.lag),
    each.bytes == null ? "–" : bytes(each.bytes),
    each.host == null ? "–" : `${each.host}:${each.port}, pid ${each.pid ?? "–"}`,
    each.problems.join("; "),
  ]);
  table(card.lastElementChild, "By number", COLUMNS, rows);
}
