// The bar on top: pause, the time zone, and whether times are dates or relative. All are for the whole page.

import { byId, element, write } from "../lib/element.js";
import { onPause, pause, paused } from "../lib/pause.js";
import { isRelative, showRelative } from "../lib/when.js";
import { choose, LOCAL, now, onZone, zones } from "../lib/zone.js";

export class Bar {
  // `redraw()` draws the page anew in another zone, `draw()` what has changed; `resume()` shows what came meanwhile.
  constructor({ redraw, draw, resume }) {
    this.button = byId("pause");
    this.select = byId("zone");
    this.times = byId("times");
    this.button.addEventListener("click", () => pause());
    onPause((still) => {
      this.say();
      if (!still) resume();
    });
    this.offer([...new Set(["UTC", LOCAL, now()])]);
    for (const kind of ["pointerdown", "focus", "keydown"])
      this.select.addEventListener(kind, () => this.offer(zones()), { once: true });
    this.select.addEventListener("change", () => choose(this.select.value));
    onZone(redraw);
    this.times.addEventListener("click", () => {
      showRelative(!isRelative());
      this.say();
      draw();
    });
    this.say();
  }

  offer(names) {
    if (this.offered >= names.length) return;
    this.offered = names.length;
    const others = names.filter((name) => name !== "UTC" && name !== LOCAL);
    const option = (name, text = name) => element("option", { value: name, selected: name === now() }, text);
    const own = LOCAL === "UTC" ? [] : [option(LOCAL, `local: ${LOCAL}`)];
    const rest = others.map((name) => option(name));
    this.select.replaceChildren(option("UTC"), ...own, ...rest);
    this.select.value = now();
  }

  say() {
    write(this.button, paused() ? "Resume" : "Pause");
    this.button.setAttribute("aria-pressed", String(paused()));
    this.times.setAttribute("aria-pressed", String(isRelative()));
  }
}
