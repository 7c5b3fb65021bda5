// Tiles: a label, a number with its unit, and a line below. They are made once, and only what has changed is written.

import { element, gauge, write } from "../lib/element.js";

// `tiles` are { key, label, value, unit, note, title, kind, share }: `title` is that of the note, and `share` from 0 to
// 1 draws a bar below the number.
export function drawTiles(target, tiles) {
  const key = tiles.map((tile) => `${tile.key}${tile.share == null ? "" : "%"}`).join();
  if (target.dataset.key !== key) {
    target.dataset.key = key;
    target.replaceChildren(...tiles.map(made));
  }
  tiles.forEach((tile, at) => {
    const [label, figure, note] = target.children[at].children;
    target.children[at].dataset.kind = tile.kind ?? "";
    write(label, tile.label);
    write(figure.children[0], tile.value);
    write(figure.children[1], tile.unit ?? "");
    write(note.lastChild, tile.note ?? "");
    if (note.title !== (tile.title ?? "")) note.title = tile.title ?? "";
    if (tile.share != null) {
      const fill = note.querySelector(".fill");
      fill.style.width = `${Math.max(0, Math.min(1, tile.share)) * 100}%`;
      fill.classList.toggle("high", tile.share > 1);
    }
  });
}

function made(tile) {
  return element(
    "div",
    { class: "tile" },
    element("dt", {}, tile.label),
    element("dd", { class: "number" }, element("b", {}), element("span", {})),
    element("dd", { class: "note" }, tile.share == null ? null : gauge(0), element("span", {})),
  );
}
