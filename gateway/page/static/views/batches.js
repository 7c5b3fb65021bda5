// Finished batches of the view segments: the newest ones, and the columns of their table.

import { json } from "../lib/access.js";
import { element } from "../lib/element.js";
import { most } from "../lib/exact.js";
import { number } from "../lib/format.js";

const AT_ONCE = 400n;
const FIRST_ID = -(2n ** 63n);

// Return the batches with the largest ids, 50 or more if there are enough. Ids may be far apart, so the range of ids is
// widened until it has enough batches. If it then has too many for one answer, its start is found by bisection.
export async function newestBatches(name, first, end) {
  let [width, few, many] = [AT_ONCE, end, null];
  for (;;) {
    const after = many == null ? most(end - width, first - 1n) : many + (few - many) / 2n;
    const { segments } = await json(`/${name}?limit=${AT_ONCE}${after < FIRST_ID ? "" : `&after=${after}`}`);
    const enough = segments.length >= 50 || after < first;
    const whole = BigInt(segments.length) < AT_ONCE || few - after <= (few === end ? AT_ONCE : 1n);
    if (enough && whole) return segments;
    if (enough) many = after;
    else few = after;
    width *= 16n;
  }
}

// Return the columns of the table of finished batches. The id leads to the line of the batch; `open(event, row)` shows
// it.
export function batchColumns(name, open) {
  const opened = (row) =>
    element("a", { href: `/${name}/${row.batch}`, onclick: (event) => open(event, row) }, number(row.batch));
  const limit = (value) => (value == null ? "" : number(value));
  return [
    { title: "batch", kind: "n", text: opened, key: ({ batch }) => batch },
    { title: "order of completion", kind: "n", text: ({ order }) => `${number(order)}.`, key: ({ order }) => order },
    { title: "numbers", kind: "n", text: ({ count }) => number(count), key: ({ count }) => count },
    { title: "smallest", kind: "n", text: ({ first }) => limit(first) },
    { title: "largest", kind: "n", text: ({ last }) => limit(last) },
  ];
}
